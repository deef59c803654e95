"""The Celery side of a worker: messages in, one task."""
