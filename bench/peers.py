"""The queues dq is measured against, each with a task that does nothing and a last one.

Each is set up as its documentation begins, with one process that runs tasks, on the same Redis.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from bench import peer_tasks
from bench.peer_tasks import do_nothing, note_time


@dataclass(frozen=True)
class Peer:
    """A queue: how its worker is started, and how a number of tasks and the last one are sent."""

    worker: tuple[str, ...]
    send: Callable[[int], None]


def _celery() -> Peer:
    from bench.peers_celery import last, nothing

    def send(number: int) -> None:
        for _ in range(number):
            nothing.delay()
        last.delay()

    return Peer(("celery", "-A", "bench.peers_celery", "worker", "-c", "1", "-l", "ERROR"), send)


def _rq() -> Peer:
    from rq import Queue

    queue = Queue("bench", connection=Redis.from_url(peer_tasks.URL))

    def send(number: int) -> None:
        for _ in range(number):
            queue.enqueue(do_nothing, result_ttl=0)
        queue.enqueue(note_time, result_ttl=0)

    return Peer(("rq", "worker", "--quiet", "--url", peer_tasks.URL, "bench"), send)


def _dramatiq() -> Peer:
    from bench.peers_dramatiq import last, nothing

    def send(number: int) -> None:
        for _ in range(number):
            nothing.send()
        last.send()

    return Peer(("dramatiq", "bench.peers_dramatiq", "-p", "1", "-t", "1"), send)


def _huey() -> Peer:
    from bench.peers_huey import last, nothing

    def send(number: int) -> None:
        for _ in range(number):
            nothing()
        last()

    words = ("huey_consumer", "bench.peers_huey.huey", "-k", "process", "-w", "1", "-q")
    return Peer(words, send)


PEERS: Mapping[str, Callable[[], Peer]] = {
    "Celery": _celery,
    "RQ": _rq,
    "Dramatiq": _dramatiq,
    "Huey": _huey,
}


def command(peer: Peer) -> list[str]:
    """Return the worker's command line, with the program of this environment."""
    program, *words = peer.worker
    return [str(Path(sys.executable).with_name(program)), *words]
