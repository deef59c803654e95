"""How far a running job is within its epoch."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("batches_done", sa.Integer(), server_default="0", nullable=False)
    )
    op.execute("UPDATE compatibility SET oldest_revision = '0001'")
