"""Charts of comparisons and learning curves, for files and for the page."""
