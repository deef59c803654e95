"""Standard names: jobs.publishes is publish_count, and the repair "rung" is "republished"."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE jobs RENAME COLUMN publishes TO publish_count")
    op.execute("UPDATE repairs SET action = 'republished' WHERE action = 'rung'")
    # A dq that uses the column's old name cannot work with these tables; none was released.
    op.execute("UPDATE compatibility SET oldest_revision = '0003'")
