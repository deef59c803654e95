"""What is done to jobs: submit, cancel, retry, hold, release, delete, tag, note."""

from service.jobs.changes import (
    Change,
    cancel,
    drain,
    hold,
    pause,
    prioritize,
    release,
    resume,
    retry,
)
from service.jobs.submission import Submitted, submit
from service.jobs.submit_options import SubmitOptions

__all__ = [
    "Change",
    "SubmitOptions",
    "Submitted",
    "cancel",
    "drain",
    "hold",
    "pause",
    "prioritize",
    "release",
    "resume",
    "retry",
    "submit",
]
