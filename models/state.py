"""The states of jobs and workers, and the outcomes of attempts."""

from enum import StrEnum


class JobState(StrEnum):
    """Whether a job waits, runs, or how it ended."""

    #: It waits for a worker; its message is in Redis or will be sent.
    QUEUED = "queued"
    #: A worker holds its lease.
    RUNNING = "running"
    #: Its result is recorded.
    SUCCEEDED = "succeeded"
    #: It ended without a result; `reason` says why, `dq retry` queues it again.
    FAILED = "failed"
    #: Somebody cancelled it, and no process runs it any more.
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether only a person can change it."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class WorkerState(StrEnum):
    """What a worker was told to do."""

    #: It takes jobs.
    ACTIVE = "active"
    #: It ends after its current job.
    DRAINING = "draining"


class Outcome(StrEnum):
    """How an attempt ended."""

    #: It recorded the job's result.
    SUCCEEDED = "succeeded"
    #: The experiment itself failed: an error, a divergence, a stall, a time limit.
    FAILED = "failed"
    #: Somebody cancelled the job.
    CANCELLED = "cancelled"
    #: The worker was told to stop and gave the job back.
    RELEASED = "released"
    #: The process died or fell silent until its lease ran out.
    LOST = "lost"
