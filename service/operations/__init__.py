"""Running the service: checks, metrics, the database's tables, the local Redis and worker."""
