"""What `dq watch` says of the time that is left."""

from datetime import UTC, datetime

import pytest

from models.state import JobState
from service.queries.estimate import Estimate
from service.queries.rows import Progress
from service.queries.watching import Snapshot
from service.reports.progress_tables import describe_progress, describe_rest


def snapshot(seconds: float | None, workers: int) -> Snapshot:
    states = dict.fromkeys(JobState, 0) | {JobState.QUEUED: 2}
    progress = Progress(states=states, epochs_done=0, epochs=20, running=())
    return Snapshot(
        datetime.now(UTC), progress, Estimate(seconds, 1, max(1, workers)), workers, False
    )


@pytest.mark.parametrize(
    ("seconds", "workers", "words"),
    [
        (40.0, 2, "About 40 s left on 2 workers."),
        (0.1, 1, "About 1 s left on 1 worker."),
        (0.1, 0, "About 1 s once a worker runs."),
    ],
)
def test_the_time_left_is_only_said_of_workers_that_there_are(seconds, workers, words):
    assert describe_rest(snapshot(seconds, workers)) == words


def test_the_progress_of_no_jobs_is_words_too():
    none = Progress(states=dict.fromkeys(JobState, 0), epochs_done=0, epochs=0, running=())

    assert describe_progress(none) == "no jobs; 0 of 0 epochs"
