"""Keeps one Celery process per place alive, and puts right what crashes leave behind."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from select import select
from threading import Event, Thread
from types import FrameType

from models.embedded_redis import EmbeddedRedis
from models.errors import DqError
from models.settings import Settings
from worker.lasting_trouble import LastingTrouble
from worker.queue.app import DRAIN_SIGNAL
from worker.readiness import READY
from worker.supervisor.devices import Place
from worker.supervisor.reconciler import Reconciler
from worker.supervisor.registry import Roster, worker_name

logger = logging.getLogger(__name__)
_TICK_SECONDS = 0.2
_LAST_RESTART_SECONDS = 60.0
#: A process told to stop has this long to give its job back; two seconds more, and all has ended.
_STOP_SECONDS = 8.0
#: A child that lost its job has this long to notice.
_STRAY_SECONDS = 10.0


@dataclass
class Post:
    """A place, and the Celery process that holds it at the moment."""

    place: Place
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restart_seconds: float = 0.0
    #: Told to end after its current job, and not to be started again.
    is_draining: bool = False
    #: What the process printed so far.
    printed: bytes = b""

    @property
    def is_ready(self) -> bool:
        """Whether both the process and its child said that they can take jobs."""
        return all(word in self.printed for word in READY)

    def start(self) -> None:
        """Start the process in a session of its own, so that it can be killed with its child."""
        command = [sys.executable, "-P", "-m", "worker", "consume", worker_name(self.place)]
        command.append(str(os.getpid()))
        environment = {**os.environ, **self.place.environment}
        self.started_at = time.monotonic()
        try:
            # What it prints is for this process alone: that it is ready, and words of Celery's.
            self.process = subprocess.Popen(
                command, env=environment, start_new_session=True, stdout=subprocess.PIPE, bufsize=0
            )
        except OSError as error:  # the host lacks memory, or has too many processes
            self._put_off(f"cannot be started: {error}")

    def listen(self) -> None:
        """Read what the process printed since."""
        if self.process and self.process.stdout and select([self.process.stdout], [], [], 0)[0]:
            self.printed = (self.printed + self.process.stdout.read(4096))[-4096:]

    def revive(self) -> None:
        """Start the process again if it died, later each time it dies young."""
        if self.is_draining:
            return
        if self.process and self.process.poll() is not None:
            self._put_off(f"died (exit {self.process.returncode})")
        if not self.process and time.monotonic() - self.started_at >= self.restart_seconds:
            self.start()

    def _put_off(self, why: str) -> None:
        """Note an end, and how long after its start the next process may start."""
        logger.error("%s %s", self.place.name, why)
        is_young = time.monotonic() - self.started_at < _LAST_RESTART_SECONDS
        later = min(max(1.0, 2 * self.restart_seconds), _LAST_RESTART_SECONDS)
        self.restart_seconds = later if is_young else 0.0
        self.process = None

    def drain(self) -> None:
        """Have the process end after its current job."""
        if not self.is_draining:
            self.is_draining = True
            self.signal(DRAIN_SIGNAL)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the Celery process; SIGKILL to its child as well."""
        with suppress(ProcessLookupError):
            if self.process and number == signal.SIGKILL:
                os.killpg(self.process.pid, number)
            elif self.process:
                self.process.send_signal(number)

    def kill_child(self, pid: int) -> None:
        """Kill a child of the process; the process starts another."""
        with suppress(ProcessLookupError):
            if self.process and os.getsid(pid) == self.process.pid:
                logger.warning("%s: killing %s, which is stuck on a lost job", self.place.name, pid)
                os.kill(pid, signal.SIGKILL)


class Chore:
    """What the housekeeping does again and again, whatever came of it the time before."""

    def __init__(self, name: str, do: Callable[[], object]) -> None:
        self._do = do
        self._trouble = LastingTrouble(logger, name)

    def attempt(self) -> None:
        """Do it; what fails is logged, and tried again the next time."""
        try:
            self._do()
        except DqError as error:
            self._trouble.report("%s", error)
        # If its thread ended, the worker would live and look well, and do nothing.
        except Exception as error:  # noqa: BLE001 - the worker's boundary
            self._trouble.report("housekeeping failed: %r", error, exc_info=True)
        else:
            self._trouble.end()


class Supervisor:
    """The `dq worker` of one host."""

    def __init__(
        self, settings: Settings, places: Sequence[Place], roster: Roster, reconciler: Reconciler
    ) -> None:
        self._settings = settings
        self._posts = [Post(place) for place in places]
        self._roster, self._reconciler = roster, reconciler
        self._stop = Event()
        self._is_ready = False

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then give all jobs back; a second one kills."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)
        house = Thread(target=self._keep_house, name="housekeeping", daemon=True)
        house.start()
        while not self._stop.wait(_TICK_SECONDS) and not self._is_drained():
            for post in self._posts:
                post.revive()
                post.listen()
            self._say_ready()
        self._shut_down()
        house.join(timeout=1)
        Chore("leave", self._roster.leave).attempt()

    def _say_ready(self) -> None:
        """Say once that jobs are taken, as soon as each process can."""
        if self._is_ready or not all(post.is_ready for post in self._posts):
            return
        self._is_ready = True
        count, devices = len(self._posts), sorted({post.place.device for post in self._posts})
        pack = self._posts[0].place.environment.get("DQ_PACK", self._settings.pack)
        logger.info(
            "Ready: %s worker process%s on %s, packs %s; stop with Ctrl-C",
            count,
            "" if count == 1 else "es",
            ", ".join(devices),
            pack,
        )

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._stop.is_set():
            for post in self._posts:
                post.signal(signal.SIGKILL)
        self._stop.set()

    def _shut_down(self) -> None:
        logger.info("stopping: running jobs are given back (again to stop at once)")
        for post in self._posts:
            post.signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while self._alive() and time.monotonic() < deadline:
            time.sleep(_TICK_SECONDS)
        for post in self._alive():
            logger.warning("%s did not stop in time: killed", post.place.name)
            post.signal(signal.SIGKILL)

    def _alive(self) -> list[Post]:
        return [post for post in self._posts if post.process and post.process.poll() is None]

    def _is_drained(self) -> bool:
        return all(post.is_draining for post in self._posts) and not self._alive()

    def _drain(self) -> None:
        told = self._roster.draining()
        for post in self._posts:
            if worker_name(post.place) in told:
                post.drain()

    def _keep_house(self) -> None:
        chores = [
            Chore("heartbeat", self._roster.beat),
            Chore("drain", self._drain),
            Chore("reconciler", self._reconciler.reconcile),
            Chore("stuck children", self._kill_strays),
        ]
        if self._settings.is_broker_embedded:
            embedded = EmbeddedRedis(self._settings.home)
            chores.insert(0, Chore("embedded Redis", embedded.ensure_running))
        while True:
            for chore in chores:
                chore.attempt()
            if self._stop.wait(min(2.0, self._settings.lease_seconds / 4)):
                return

    def _kill_strays(self) -> None:
        for pid in self._roster.strays(_STRAY_SECONDS):
            for post in self._posts:
                post.kill_child(pid)
