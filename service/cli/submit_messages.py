"""What is said after a submit, besides its jobs."""

from service.cli.output import print_message
from service.formatting import format_ids, plural
from service.jobs import Submitted


def print_known(submitted: Submitted) -> None:
    """Say which jobs were there before, and why messages were not sent, if so."""
    if submitted.finished_before:
        jobs = f"{plural(len(submitted.finished_before), 'job')} finished before"
        print_message(f"{jobs}: {format_ids(submitted.finished_before)} (--force runs them again).")
    if submitted.open_before:
        jobs = f"{plural(len(submitted.open_before), 'job')} queued before"
        print_message(f"{jobs}: {format_ids(submitted.open_before)}.")
    for note in submitted.notes:
        print_message(note)
    print_unsent(submitted)


def print_unsent(submitted: Submitted) -> None:
    """Say why messages were not sent, if so."""
    if submitted.publish_error:
        why = submitted.publish_error.rstrip(".")
        print_message(f"Saved but not queued: {why}. Sent as soon as Redis answers.")
