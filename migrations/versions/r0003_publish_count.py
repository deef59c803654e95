"""Standard names: jobs.publishes is publish_count, and the repair "rung" is "republished"."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE jobs RENAME COLUMN publishes TO publish_count")
    op.execute("UPDATE repairs SET action = 'republished' WHERE action = 'rung'")
    # A release that knows the column by its old name cannot work with these tables.
    op.execute("UPDATE compatibility SET oldest_revision = '0003'")
