"""The history of the SQL tables: Alembic revisions, each complete in itself."""
