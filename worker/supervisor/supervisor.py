"""Keeps one Celery process per device alive, and repairs what crashes leave behind."""

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
from worker.readiness import READY
from worker.stop_signals import DRAIN_SIGNAL
from worker.supervisor.devices import Device
from worker.supervisor.reconciler import Reconciler
from worker.supervisor.registry import WorkerRegistry, worker_name
from worker.throttled_log import ThrottledLog

logger = logging.getLogger(__name__)
_TICK_SECONDS = 0.2
_LONGEST_BACK_OFF_SECONDS = 60.0
#: A process told to stop has this long to give its job back; two seconds more, and all has ended.
_STOP_SECONDS = 8.0
#: A child that lost its job has this long to notice.
_STUCK_SECONDS = 10.0


@dataclass
class WorkerProcess:
    """The Celery process of one device, restarted whenever it dies."""

    device: Device
    popen: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    back_off_seconds: float = 0.0
    #: Whether it ends after its current job, and is not to be restarted.
    is_draining: bool = False
    #: What the process printed so far.
    printed: bytes = b""

    @property
    def is_ready(self) -> bool:
        """Whether both the process and its child said that they can take jobs."""
        return all(word in self.printed for word in READY)

    @property
    def is_alive(self) -> bool:
        """Whether the process was started and has not ended."""
        return self.popen is not None and self.popen.poll() is None

    def start(self) -> None:
        """Start the process in a new session, so that it can be killed with its child."""
        command = [sys.executable, "-P", "-m", "worker", "consume", worker_name(self.device)]
        command.append(str(os.getpid()))
        environment = {**os.environ, **self.device.environment}
        self.started_at = time.monotonic()
        try:
            # What it prints is for this process alone: that it is ready, and Celery's messages.
            self.popen = subprocess.Popen(
                command, env=environment, start_new_session=True, stdout=subprocess.PIPE, bufsize=0
            )
        except OSError as error:  # the host lacks memory, or has too many processes
            self._back_off(f"cannot be started: {error}")

    def listen(self) -> None:
        """Read what the process printed since."""
        if self.popen and self.popen.stdout and select([self.popen.stdout], [], [], 0)[0]:
            self.printed = (self.printed + self.popen.stdout.read(4096))[-4096:]

    def restart_if_dead(self) -> None:
        """Start the process again if it died, later each time it dies soon after its start."""
        if self.is_draining:
            return
        if self.popen and self.popen.poll() is not None:
            self._back_off(f"died (exit {self.popen.returncode})")
        if not self.popen and time.monotonic() - self.started_at >= self.back_off_seconds:
            self.start()

    def _back_off(self, why: str) -> None:
        """Note that the process ended, and how long after its start the next one may start."""
        logger.error("%s %s", self.device.name, why)
        longer = min(max(1.0, 2 * self.back_off_seconds), _LONGEST_BACK_OFF_SECONDS)
        lived = time.monotonic() - self.started_at
        self.back_off_seconds = longer if lived < _LONGEST_BACK_OFF_SECONDS else 0.0
        self.popen = None

    def drain(self) -> None:
        """Have the process end after its current job."""
        if not self.is_draining:
            self.is_draining = True
            self.signal(DRAIN_SIGNAL)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the Celery process; SIGKILL to its child as well."""
        with suppress(ProcessLookupError):
            if self.popen and number == signal.SIGKILL:
                os.killpg(self.popen.pid, number)
            elif self.popen:
                self.popen.send_signal(number)

    def kill_child(self, pid: int) -> None:
        """Kill a process if it is this one's child, which is then replaced by another."""
        with suppress(ProcessLookupError):
            if self.popen and os.getsid(pid) == self.popen.pid:
                name = self.device.name
                logger.warning("%s: killing %s, which is stuck on a lost job", name, pid)
                os.kill(pid, signal.SIGKILL)


class MaintenanceStep:
    """What the supervisor does every few seconds, whatever came of it the time before."""

    def __init__(self, name: str, do: Callable[[], object]) -> None:
        self._do = do
        self._log = ThrottledLog(logger, name)

    def attempt(self) -> None:
        """Do it; log a failure, and leave it to the next attempt."""
        try:
            self._do()
        except DqError as error:
            self._log.warn("%s", error)
        # If its thread ended, the worker would live and look well, and do nothing.
        except Exception as error:  # noqa: BLE001 - the worker's boundary
            self._log.warn("maintenance failed: %r", error, exc_info=True)
        else:
            self._log.recover()


class Supervisor:
    """The `dq worker` of one host."""

    def __init__(
        self,
        settings: Settings,
        devices: Sequence[Device],
        registry: WorkerRegistry,
        reconciler: Reconciler,
    ) -> None:
        self._settings = settings
        self._processes = [WorkerProcess(device) for device in devices]
        self._registry, self._reconciler = registry, reconciler
        self._stop = Event()
        self._is_ready = False

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then give all jobs back; a second signal kills."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)
        maintenance = Thread(target=self._maintain, name="maintenance", daemon=True)
        maintenance.start()
        while not self._stop.wait(_TICK_SECONDS) and not self._is_drained():
            for process in self._processes:
                process.restart_if_dead()
                process.listen()
            self._say_ready()
        self._shut_down()
        maintenance.join(timeout=1)
        MaintenanceStep("leave", self._registry.sign_off).attempt()

    def _say_ready(self) -> None:
        """Log once that jobs are taken, as soon as each process can."""
        if self._is_ready or not all(process.is_ready for process in self._processes):
            return
        self._is_ready = True
        count = len(self._processes)
        logger.info(
            "Ready: %s worker process%s on %s, packs %s; stop with Ctrl-C",
            count,
            "" if count == 1 else "es",
            ", ".join(sorted({process.device.model for process in self._processes})),
            self._processes[0].device.environment.get("DQ_PACK", self._settings.pack),
        )

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._stop.is_set():
            for process in self._processes:
                process.signal(signal.SIGKILL)
        self._stop.set()

    def _shut_down(self) -> None:
        logger.info("stopping: running jobs are given back (again to stop at once)")
        for process in self._processes:
            process.signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while self._alive() and time.monotonic() < deadline:
            time.sleep(_TICK_SECONDS)
        for process in self._alive():
            logger.warning("%s did not stop in time: killed", process.device.name)
            process.signal(signal.SIGKILL)

    def _alive(self) -> list[WorkerProcess]:
        return [process for process in self._processes if process.is_alive]

    def _is_drained(self) -> bool:
        return all(process.is_draining for process in self._processes) and not self._alive()

    def _maintain(self) -> None:
        steps = [
            MaintenanceStep("heartbeat", self._registry.beat),
            MaintenanceStep("drain", self._drain),
            MaintenanceStep("reconciler", self._reconciler.reconcile),
            MaintenanceStep("stuck children", self._kill_stuck_children),
        ]
        if self._settings.is_broker_embedded:
            embedded = EmbeddedRedis(self._settings.home)
            steps.insert(0, MaintenanceStep("embedded Redis", embedded.ensure_running))
        while True:
            for step in steps:
                step.attempt()
            if self._stop.wait(min(2.0, self._settings.lease_seconds / 4)):
                return

    def _drain(self) -> None:
        draining = self._registry.find_draining()
        for process in self._processes:
            if worker_name(process.device) in draining:
                process.drain()

    def _kill_stuck_children(self) -> None:
        for pid in self._registry.find_stuck_children(_STUCK_SECONDS):
            for process in self._processes:
                process.kill_child(pid)
