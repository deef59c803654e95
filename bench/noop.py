"""A worker process of dq whose jobs train nothing: `python -m bench.noop NAME`.

All but the network and its training is dq's own: message, claim, heartbeat, metrics of one epoch,
result.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from celery import Celery, signals

from models.metrics import EpochMetrics
from models.settings import Settings
from models.spec import ExperimentSpec
from worker.queue import app

if TYPE_CHECKING:
    from worker.training.engine.run import Run


def _train(runs: "Mapping[Any, Run]", *_: object) -> Iterator[tuple[Any, EpochMetrics]]:
    for key, run in runs.items():
        run.epoch = run.spec.epochs
        yield key, EpochMetrics(1, 0.5, 0.5, 0.5, 0.5, 0.0)


def _start(spec: ExperimentSpec, *_: object) -> "Run":
    from worker.training.engine.run import Run
    from worker.training.randomness import Randomness

    return Run(spec, [], [], Randomness.of(spec.seed))


@signals.worker_process_init.connect  # the child alone: torch comes with it
def _train_nothing(**_: Any) -> None:
    from worker.training import engine

    engine.train, engine.start = _train, _start


def consume(name: str) -> int:
    """Be `python -m worker consume`, with this module imported by the child as well."""
    make = app.make_app

    def make_with_this(settings: Settings) -> Celery:
        made = make(settings)
        made.conf.include = [*made.conf.include, "bench.noop"]
        return made

    app.make_app = make_with_this
    return app.consume(Settings.load(), name)


if __name__ == "__main__":
    sys.exit(consume(sys.argv[1]))
