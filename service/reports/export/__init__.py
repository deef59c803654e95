"""Hands results to other programs: files, TensorBoard, MLflow."""
