"""The first tables: sweeps, jobs, attempts, log lines, epochs, results, tags, workers, pauses."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_DOCUMENT = sa.JSON().with_variant(JSONB(), "postgresql")
#: What `--where` and `--sort` ask of a spec, word for word as they do: else no index is used.
_SPEC_VALUES = {
    "dataset": "coalesce((spec ->> 'dataset')::varchar, 'mnist')",
    "train_size": "(spec ->> 'train_size')::numeric(1000, 0)",
    "lr": "coalesce((spec ->> 'lr')::float8, 0.1)",
    "batch_size": "coalesce((spec ->> 'batch_size')::numeric(1000, 0), 1000)",
    "epochs": "coalesce((spec ->> 'epochs')::numeric(1000, 0), 10)",
    "input_keep": "coalesce((spec ->> 'input_keep')::float8, 1.0)",
    "mask": "coalesce((spec ->> 'mask')::varchar, 'batch')",
    "momentum": "coalesce((spec ->> 'momentum')::float8, 0.0)",
    "max_norm": "(spec ->> 'max_norm')::float8",
    "precision": "coalesce((spec ->> 'precision')::varchar, 'fp32')",
    "lr_decay": "coalesce((spec ->> 'lr_decay')::float8, 1.0)",
    "evaluation": "coalesce((spec ->> 'evaluation')::varchar, 'valid')",
    "seed": "coalesce((spec ->> 'seed')::numeric(1000, 0), 0)",
    "layers": "jsonb_array_length(spec -> 'hidden')",
    "hidden_0": "(spec #>> '{hidden, 0}')::numeric(1000, 0)",
    "hidden_1": "(spec #>> '{hidden, 1}')::numeric(1000, 0)",
    "hidden_2": "(spec #>> '{hidden, 2}')::numeric(1000, 0)",
    "keep_0": "(spec #>> '{keep, 0}')::float8",
    "keep_1": "(spec #>> '{keep, 1}')::float8",
    "keep_2": "(spec #>> '{keep, 2}')::float8",
}
_METRICS = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "seconds")


def upgrade() -> None:
    _create_jobs()
    if op.get_context().dialect.name == "postgresql":
        _index_specs()
    _create_what_jobs_leave()
    _create_what_dq_leaves()


def _create_jobs() -> None:
    op.create_table(
        "sweeps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("submit_token", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweeps")),
        sa.UniqueConstraint("submit_token", name=op.f("uq_sweeps_submit_token")),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(length=200), nullable=False),
        sa.Column("device_uuid", sa.String(length=64), nullable=True),
        sa.Column("memory_used", sa.BigInteger(), nullable=True),
        sa.Column("memory_total", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "pauses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pauses")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sweep_id", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=True),
        sa.Column("spec", _DOCUMENT, nullable=False),
        sa.Column("configuration", sa.String(length=16), nullable=False),
        sa.Column("shape", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.String(length=200), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("packed", sa.Boolean(), nullable=False),
        sa.Column("suspect", sa.Boolean(), nullable=False),
        sa.Column("crashes", sa.SmallInteger(), nullable=False),
        sa.Column("progress_mark", sa.Integer(), nullable=False),
        sa.Column("epochs_done", sa.Integer(), nullable=False),
        sa.Column("checkpoint", sa.String(length=200), nullable=True),
        sa.Column("checkpoint_epoch", sa.Integer(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("max_crashes", sa.SmallInteger(), nullable=False),
        sa.Column("stall_seconds", sa.Double(), nullable=False),
        sa.Column("timeout_seconds", sa.Double(), nullable=True),
        sa.Column("keep_checkpoint", sa.Boolean(), nullable=False),
        sa.Column("publish_due", sa.DateTime(timezone=True), nullable=False),
        sa.Column("publishes", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_jobs_state"),
        ),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweeps.id"], name=op.f("fk_jobs_sweep_id_sweeps")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("sweep_id", "ordinal", name=op.f("uq_jobs_sweep_id_ordinal")),
    )
    op.create_index("ix_jobs_configuration", "jobs", ["configuration"], unique=False)
    op.create_index("ix_jobs_state_id", "jobs", ["state", "id"], unique=False)
    op.create_index(
        "ix_jobs_queued_shape",
        "jobs",
        ["shape", "priority", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
        sqlite_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_jobs_open",
        "jobs",
        ["state", "publish_due"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
        sqlite_where=sa.text("state IN ('queued', 'running')"),
    )


def _index_specs() -> None:
    for name, value in _SPEC_VALUES.items():
        op.create_index(f"ix_jobs_spec_{name}", "jobs", [sa.text(f"({value})"), "id"])


def _create_what_jobs_leave() -> None:
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(length=200), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(length=12), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("provenance", _DOCUMENT, nullable=True),
        sa.Column("resumed_epoch", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_attempts")),
    )
    op.create_index(
        "ix_attempts_worker_started_at", "attempts", ["worker", "started_at"], unique=False
    )
    op.create_table(
        "log_lines",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_log_lines_job_id_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_lines")),
    )
    op.create_index(op.f("ix_log_lines_job_id"), "log_lines", ["job_id"], unique=False)
    op.create_table(
        "epochs",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("train_loss", sa.Double(), nullable=False),
        sa.Column("train_accuracy", sa.Double(), nullable=False),
        sa.Column("valid_loss", sa.Double(), nullable=False),
        sa.Column("valid_accuracy", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_epochs_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", "epoch", name=op.f("pk_epochs")),
    )
    op.create_table(
        "results",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("trainer_version", sa.Integer(), nullable=False),
        sa.Column("train_loss", sa.Double(), nullable=False),
        sa.Column("train_accuracy", sa.Double(), nullable=False),
        sa.Column("valid_loss", sa.Double(), nullable=False),
        sa.Column("valid_accuracy", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_results_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_results")),
    )
    for metric in _METRICS:
        op.create_index(f"ix_results_{metric}_job_id", "results", [metric, "job_id"], unique=False)
    op.create_table(
        "members",
        sa.Column("sweep_id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sweep_id"], ["sweeps.id"], name=op.f("fk_members_sweep_id_sweeps")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_members_job_id_jobs")),
        sa.PrimaryKeyConstraint("sweep_id", "job_id", name=op.f("pk_members")),
    )
    op.create_index(op.f("ix_members_job_id"), "members", ["job_id"], unique=False)
    op.create_table(
        "tags",
        sa.Column("tag", sa.String(length=100), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_tags_job_id_jobs")),
        sa.PrimaryKeyConstraint("tag", "job_id", name=op.f("pk_tags")),
    )
    op.create_index(op.f("ix_tags_job_id"), "tags", ["job_id"], unique=False)


def _create_what_dq_leaves() -> None:
    op.create_table(
        "repairs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(length=12), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repairs")),
    )
    compatibility = op.create_table(
        "compatibility",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("oldest_revision", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_compatibility")),
    )
    op.bulk_insert(compatibility, [{"id": 1, "oldest_revision": "0001"}])
