"""Who submitted a job, and how much of the workers each owner used."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("owner", sa.String(100), server_default=sa.text("''"), nullable=False)
    )
    op.create_table(
        "owners",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("used", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_owners"),
    )
    op.execute("INSERT INTO owners (name, used) SELECT DISTINCT owner, 0.0 FROM jobs")
    op.create_index(
        "ix_jobs_next",
        "jobs",
        ["owner", "priority", "id"],
        postgresql_where=sa.text("state = 'queued' AND held IS false"),
        sqlite_where=sa.text("state = 'queued' AND held IS 0"),
    )
    # A dq that submits without an owner's row would have its jobs wait for ever.
    op.execute("UPDATE compatibility SET oldest_revision = '0005'")
