"""Fills PostgreSQL with jobs and their epochs, as years of sweeps would."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product

import psycopg

from models.spec import TRAINER_VERSION, ExperimentSpec

SEEDS = 5
#: Jobs of one sweep: 40 configurations with 5 seeds each.
SWEEP = 200
_SEED = 7

_HIDDEN = [(width,) * layers for layers in (2, 3) for width in (128, 256, 512, 1024)]
_KEEP = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
_LR = (0.3, 0.1, 0.05, 0.03, 0.02, 0.01, 0.003)
_BATCH_SIZE = (50, 100, 200, 500)
_EPOCHS = (10, 12)
_MOMENTUM = (0.0, 0.5, 0.9)
_LR_DECAY = (1.0, 0.99, 0.98, 0.95, 0.9)


@dataclass(frozen=True)
class Size:
    """How many rows the tables got."""

    jobs: int
    configurations: int
    sweeps: int
    results: int
    epochs: int


def fill(url: str, jobs: int) -> Size:
    """Insert jobs, rounded to whole sweeps, with their epochs and results; then VACUUM, ANALYZE."""
    sweeps = max(2, jobs // SWEEP)
    with psycopg.connect(url, autocommit=True) as connection:
        # The rows are right by construction: checking 20 million foreign keys takes minutes.
        connection.execute("SET session_replication_role = replica")
        connection.execute(f"SELECT setseed(0.{_SEED})")
        _copy_configurations(connection, sweeps * SWEEP // SEEDS)
        for statement in _STATEMENTS:
            connection.execute(statement, {"jobs": sweeps * SWEEP, "version": TRAINER_VERSION})
        connection.execute("VACUUM ANALYZE")
        _check(connection)
        return Size(*(_count(connection, what) for what in _COUNTED))


def draw_specs(number: int) -> Iterator[ExperimentSpec]:
    """Yield different configurations in a random order that is always the same, with seed 0."""
    axes = (_HIDDEN, _KEEP, _KEEP, _LR, _BATCH_SIZE, _EPOCHS, _MOMENTUM, _LR_DECAY)
    combinations = list(product(*axes))
    random.Random(_SEED).shuffle(combinations)
    for chosen in islice(combinations, number):
        hidden, first, others, lr, batch_size, epochs, momentum, lr_decay = chosen
        yield ExperimentSpec(
            dataset="mnist",
            hidden=hidden,
            keep=(first, *(others,) * (len(hidden) - 1)),
            lr=lr,
            batch_size=batch_size,
            epochs=epochs,
            momentum=momentum,
            lr_decay=lr_decay,
        )


def _copy_configurations(connection: psycopg.Connection, number: int) -> None:
    """Copy configurations with an accuracy each: mostly 0.93 to 0.98, few above 0.98."""
    accuracies = random.Random(_SEED)
    connection.execute(_DRAWN)
    with connection.cursor().copy("COPY drawn FROM STDIN") as copy:
        for index, spec in enumerate(draw_specs(number)):
            accuracy = 0.99 - 0.06 * accuracies.betavariate(2, 3)
            document = json.dumps(spec.model_dump(mode="json"))  # as SQLAlchemy writes it
            row = (index, spec.configuration, spec.shape, document, spec.epochs, accuracy)
            copy.write_row(row)


def _check(connection: psycopg.Connection) -> None:
    """Assert that the database holds what dq itself would have written."""
    found = connection.execute("SELECT spec, configuration FROM jobs TABLESAMPLE SYSTEM (0.1)")
    for spec, configuration in found:
        read = ExperimentSpec.model_validate(spec)
        assert read.configuration == configuration
        assert read.model_dump(mode="json") == spec


def _count(connection: psycopg.Connection, what: str) -> int:
    row = connection.execute(f"SELECT count({what}".encode()).fetchone()
    return int(row[0]) if row else 0


_COUNTED = (
    "*) FROM jobs",
    "DISTINCT configuration) FROM jobs",
    "*) FROM sweeps",
    "*) FROM results",
    "*) FROM epochs",
)

_DRAWN = """
CREATE UNLOGGED TABLE drawn (
    number integer PRIMARY KEY, configuration text, shape text, spec text, epochs integer,
    accuracy float8
)
"""

_OWNERS = "INSERT INTO owners (name, used) VALUES ('', 0)"

_SWEEPS = f"""
INSERT INTO sweeps (id, submit_token, created_at)
SELECT s, md5(s::text), now() - make_interval(hours => %(jobs)s / {SWEEP} - s)
FROM generate_series(1, %(jobs)s / {SWEEP}) s
"""

# The newest 2 % are queued, the 200 before them run; 4 in 100 of the others failed or were
# cancelled.
# The seed is the last value of a spec, and 0 in `drawn`.
_JOBS = f"""
INSERT INTO jobs (
    id, sweep_id, ordinal, spec, configuration, shape, packed, suspect, state, attempt, worker,
    cancel_requested, crashes, progress_mark, epochs_done, checkpoint_epoch, priority, held,
    max_crashes, stall_seconds, keep_checkpoint, created_at, started_at,
    finished_at
)
SELECT
    i + 1, i / {SWEEP} + 1, i %% {SWEEP}, (left(spec, -2) || i %% {SEEDS} || '}}')::jsonb,
    configuration, shape, false, false, state, (state <> 'queued')::integer,
    CASE WHEN state <> 'queued' THEN 'gpu' || i %% 200 || '-1@host' END, false, 0, 0,
    CASE state WHEN 'succeeded' THEN epochs WHEN 'queued' THEN 0 ELSE 4 END, 0, 3, false, 3, 600,
    false, sweeps.created_at,
    CASE WHEN state <> 'queued' THEN sweeps.created_at + '1 minute' END,
    CASE WHEN state NOT IN ('queued', 'running') THEN sweeps.created_at + '20 minutes' END
FROM (
    SELECT i, CASE
        WHEN i >= %(jobs)s * 0.98 THEN 'queued'
        WHEN i >= %(jobs)s * 0.98 - 200 THEN 'running'
        WHEN random() < 0.03 THEN 'failed'
        WHEN random() < 0.01 THEN 'cancelled'
        ELSE 'succeeded'
    END AS state
    FROM generate_series(0, %(jobs)s - 1) i
    OFFSET 0
) drawn_jobs
JOIN drawn ON number = i / {SEEDS}
JOIN sweeps ON sweeps.id = i / {SWEEP} + 1
ORDER BY i
"""

# Every 20th sweep also asked for 20 jobs of the one before it.
_MEMBERS = f"""
INSERT INTO members (sweep_id, job_id)
SELECT s, (s - 2) * {SWEEP} + k
FROM generate_series(20, %(jobs)s / {SWEEP}, 20) s, generate_series(1, 20) k
"""

# Accuracies rise to the configuration's own, with a spread of 15 images over seeds.
_EPOCHS_OF_JOBS = f"""
INSERT INTO epochs
SELECT
    id, epoch, 1, 3.2 * (1 - accuracy) + 0.01 * random(), accuracy + 0.004, 3.5 * (1 - accuracy)
    + 0.01 * random(), accuracy, 60 + random()
FROM (
    SELECT jobs.id, e AS epoch,
        round((final - 0.15 * (1.0 / e - 1.0 / epochs))::numeric, 4)::float8 AS accuracy
    FROM (
        SELECT id, epochs_done, epochs, accuracy + random_normal(0, 0.0015) AS final
        FROM jobs JOIN drawn ON number = (id - 1) / {SEEDS}
        WHERE epochs_done > 0
        ORDER BY id
    ) jobs
    CROSS JOIN LATERAL generate_series(1, epochs_done) e
    OFFSET 0
) drawn_epochs
"""

_RESULTS = """
INSERT INTO results
SELECT job_id, epochs.attempt, %(version)s, train_loss, train_accuracy, valid_loss, valid_accuracy,
    seconds * epoch
FROM epochs JOIN jobs ON id = job_id AND epoch = epochs_done
WHERE state = 'succeeded'
ORDER BY job_id
"""

_WORKERS = """
INSERT INTO workers (id, host, pid, device, state, started_at, heartbeat_at)
SELECT 'gpu' || w || '-1@host', 'host' || w / 8, w, 'H100', 'active', now(), now()
FROM generate_series(0, 199) w
"""

_STATEMENTS = (
    _OWNERS,
    _SWEEPS,
    _JOBS,
    _MEMBERS,
    _EPOCHS_OF_JOBS,
    _RESULTS,
    _WORKERS,
    "DROP TABLE drawn",
)
