"""Jobs to compare, which tests of reports share."""

import itertools

from models.spec import ExperimentSpec
from models.state import JobState
from service.queries.rows import ComparedJob

NONE = ExperimentSpec(hidden=(512, 512, 512))
BASE_FIGURES = (0.9471, 0.9462, 0.9480, 0.9477, 0.9466)


def make_jobs(figures, metric="valid_accuracy"):
    """Make jobs from {keep: figures}; seeds and job ids count up."""
    ids = itertools.count(1)
    return [
        ComparedJob(
            next(ids),
            JobState.SUCCEEDED,
            NONE.model_copy(update={"keep": keep, "seed": seed}),
            1,
            {metric: value},
        )
        for keep, values in figures.items()
        for seed, value in enumerate(values)
    ]


def make_example_jobs():
    jobs = make_jobs(
        {
            (1.0, 1.0, 1.0): BASE_FIGURES,
            (0.9, 0.8, 0.8): (0.9310, 0.9282, 0.9301, 0.9306, 0.9299),
            (0.95, 0.9, 0.9): (0.9468, 0.9470, 0.9461, 0.9479, 0.9470),
            (1.0, 0.5, 0.5): (0.9391, 0.9362),
        }
    )
    spec = NONE.model_copy(update={"seed": 9})
    return [
        *jobs,
        ComparedJob(90, JobState.FAILED, spec, None, {}),
        ComparedJob(91, JobState.FAILED, spec, None, {}),
        ComparedJob(95, JobState.QUEUED, spec, None, {}),
    ]


def make_configurations(changes, metric="valid_accuracy", seeds=5, spread=0.001, step=0.01):
    """Make jobs of NONE with each of these changes; each configuration's figure is higher."""
    return [
        ComparedJob(
            100 * number + seed,
            JobState.SUCCEEDED,
            NONE.model_copy(update={**change, "seed": seed}),
            1,
            {metric: 0.5 + step * number + spread * ((seed + number) % 3)},
        )
        for number, change in enumerate(changes)
        for seed in range(seeds)
    ]
