"""The queues dq is measured against, each with a task that does nothing and one that says when.

Each is set up as its documentation does first, with one process that runs tasks, on the same Redis.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

URL = os.environ.get("BENCH_REDIS_URL", "redis://localhost:6379/0")
#: Where the last task leaves the time at which it ran.
DONE = "bench:done"


def do_nothing() -> None:
    """Be the task that is timed."""


def say_when() -> None:
    """Be the last task: all before it are done, for there is one process, and it keeps order."""
    with Redis.from_url(URL) as client:
        client.set(DONE, repr(time.time()))


@dataclass(frozen=True)
class Peer:
    """A queue: how its worker is started, and how so many tasks and the last one are sent."""

    worker: tuple[str, ...]
    send: Callable[[int], None]


def _celery() -> Peer:
    from bench.peers_celery import nothing, when

    def send(number: int) -> None:
        for _ in range(number):
            nothing.delay()
        when.delay()

    return Peer(("celery", "-A", "bench.peers_celery", "worker", "-c", "1", "-l", "ERROR"), send)


def _rq() -> Peer:
    from rq import Queue

    queue = Queue("bench", connection=Redis.from_url(URL))

    def send(number: int) -> None:
        for _ in range(number):
            queue.enqueue(do_nothing, result_ttl=0)
        queue.enqueue(say_when, result_ttl=0)

    return Peer(("rq", "worker", "--quiet", "--url", URL, "bench"), send)


def _dramatiq() -> Peer:
    from bench.peers_dramatiq import nothing, when

    def send(number: int) -> None:
        for _ in range(number):
            nothing.send()
        when.send()

    return Peer(("dramatiq", "bench.peers_dramatiq", "-p", "1", "-t", "1"), send)


def _huey() -> Peer:
    from bench.peers_huey import nothing, when

    def send(number: int) -> None:
        for _ in range(number):
            nothing()
        when()

    words = ("huey_consumer", "bench.peers_huey.huey", "-k", "process", "-w", "1", "-q")
    return Peer(words, send)


PEERS: Mapping[str, Callable[[], Peer]] = {
    "Celery": _celery,
    "RQ": _rq,
    "Dramatiq": _dramatiq,
    "Huey": _huey,
}


def command(peer: Peer) -> list[str]:
    """Return the worker's command line, with the program of this very environment."""
    program, *words = peer.worker
    return [str(Path(sys.executable).with_name(program)), *words]
