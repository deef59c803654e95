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
    is_open, is_next = "state IN ('queued', 'running')", "state = 'queued' AND held IS "
    _create_index("ix_jobs_open", ["state", "lease_until"], is_open, is_open)
    _create_index("ix_jobs_next", ["priority", "id"], f"{is_next}false", f"{is_next}0")
    # A dq that goes by the columns that are gone cannot work with these tables; none was released.
    op.execute("UPDATE compatibility SET oldest_revision = '0004'")


def _create_index(name: str, columns: list[str], on_postgresql: str, on_sqlite: str) -> None:
    op.create_index(
        name,
        "jobs",
        columns,
        postgresql_where=sa.text(on_postgresql),
        sqlite_where=sa.text(on_sqlite),
    )
