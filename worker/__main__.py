"""The worker's own command line, which `dq` starts: `python -m worker --help`."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from billiard.util import set_pdeathsig

from models.database import Database
from models.errors import DatasetUnavailable, DqError
from models.settings import Settings
from worker import logs

# Each command imports what it needs: torch takes seconds, and the processes without it stay small.


def main() -> int:
    """Run one command; return its exit code."""
    arguments = _parser().parse_args()
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        # `dq` starts this with Ctrl-C blocked: it would end the imports above with a traceback.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return command(arguments)
    except DqError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def add(name: str, help: str, command: Callable[[argparse.Namespace], int]) -> Any:
        added = commands.add_parser(name, help=help)
        added.set_defaults(command=command)
        return added

    supervise = add("supervise", "run jobs until told to stop", _supervise)
    supervise.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    supervise.add_argument("--workers", type=int)
    supervise.add_argument("--gpus", type=_numbers, default=(), metavar="0,1")
    supervise.add_argument("--pack", help="jobs to train together: auto, off, or at most N")
    supervise.add_argument("--with-parent", type=int, metavar="PID", help="end when it does")
    consume = add("consume", "be one Celery process of a supervisor", _consume)
    consume.add_argument("name")
    consume.add_argument("supervisor", type=int, metavar="PID")
    add("reconcile", "make one pass of the reconciler", _reconcile)
    add("describe", "print what torch sees, as JSON", _describe)
    fetch = add("fetch", "download the files of a data set", _fetch)
    fetch.add_argument("dataset")
    fetch.add_argument("--attempt", action="store_true", help="exit with 1, silently, in vain")
    add("verify", "check the files of a data set", _verify).add_argument("dataset")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _end_with(parent: int) -> bool:
    """Have this process told to stop when its parent dies; False if that died already."""
    set_pdeathsig(signal.SIGTERM)
    return os.getppid() == parent


def _supervise(arguments: argparse.Namespace) -> int:
    from worker.queue.app import make_publisher
    from worker.supervisor.devices import choose_devices
    from worker.supervisor.reconciler import Reconciler
    from worker.supervisor.registry import WorkerRegistry
    from worker.supervisor.supervisor import Supervisor

    if arguments.with_parent and not _end_with(arguments.with_parent):
        return 0
    logs.configure()
    settings = Settings.load()
    database = Database(settings.sql_url)
    database.check_schema()
    devices = choose_devices(arguments.device, arguments.workers, arguments.gpus)
    reconciler = Reconciler(database, make_publisher(settings), settings.lease_seconds)
    if arguments.pack:
        devices = [device.with_setting("DQ_PACK", arguments.pack) for device in devices]
    Supervisor(settings, devices, WorkerRegistry(database, devices), reconciler).run()
    return 0


def _consume(arguments: argparse.Namespace) -> int:
    from worker.queue.app import consume

    # If the supervisor is killed, its Celery processes stop, too, as if told to.
    if not _end_with(arguments.supervisor):
        return 0
    return consume(Settings.load(), arguments.name)


def _reconcile(_: argparse.Namespace) -> int:
    from worker.queue.app import make_publisher
    from worker.supervisor.reconciler import Reconciler

    settings = Settings.load()
    database = Database(settings.sql_url)
    repairs = Reconciler(database, make_publisher(settings), settings.lease_seconds).reconcile()
    print(json.dumps(asdict(repairs)))
    return 0


def _describe(_: argparse.Namespace) -> int:
    from worker.execution.provenance import describe

    print(json.dumps(describe()))
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from worker.download_bar import DownloadBars
    from worker.training.data.download import fetch

    try:
        with DownloadBars() as bars:
            fetch(arguments.dataset, Settings.load().data_dir, bars)
    except DatasetUnavailable:
        if arguments.attempt:
            return 1
        raise
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from worker.training.data.download import verify

    states = verify(arguments.dataset, Settings.load().data_dir)
    print(json.dumps([asdict(state) for state in states]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
