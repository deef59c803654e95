"""The data sets: their files, and their images as tensors."""
