"""Workers claim the next job by its row: jobs.not_before, and an index in the queue's order."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("not_before", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_jobs_next",
        "jobs",
        ["priority", "id"],
        postgresql_where=sa.text("state = 'queued' AND held IS false"),
        sqlite_where=sa.text("state = 'queued' AND held IS 0"),
    )
    op.execute("UPDATE compatibility SET oldest_revision = '0003'")
