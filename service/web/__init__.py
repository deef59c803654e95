"""The page where people look: HTML and REST over the same reads as the command line."""
