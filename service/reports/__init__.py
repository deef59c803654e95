"""Rows and comparisons as tables, plots and files."""
