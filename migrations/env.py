"""Alembic runs this: it migrates over the connection that `migrations.upgrade` opened."""

from alembic import context


def migrate() -> None:
    """Run the revisions over the given connection, inside its transaction."""
    context.configure(
        connection=context.config.attributes["connection"],
        version_table="dq_alembic_version",
    )
    context.run_migrations()


migrate()
