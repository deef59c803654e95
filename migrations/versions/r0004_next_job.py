"""Workers claim the next job by its row: what was kept of its message goes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_jobs_open", "jobs")
    op.add_column("jobs", sa.Column("not_before", sa.DateTime(timezone=True)))
    op.drop_column("jobs", "publish_due")
    op.drop_column("jobs", "publish_count")
    is_open = sa.text("state IN ('queued', 'running')")
    op.create_index(
        "ix_jobs_open",
        "jobs",
        ["state", "lease_until"],
        postgresql_where=is_open,
        sqlite_where=is_open,
    )
    # A dq that goes by the columns that are gone cannot work with these tables; none was released.
    op.execute("UPDATE compatibility SET oldest_revision = '0004'")
