"""What the GPU runs: the queue's consumer, and the training itself."""
