"""The thread that keeps an attempt alive, and tells its training when to stop."""

import logging
import os
import signal
import time
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from models.errors import DatabaseUnreachable, OutOfTime, Stalled
from models.metrics import EpochMetrics
from worker.recorder import Cancelled, Claim, LeaseLost, Progress, Recorder, Released

logger = logging.getLogger(__name__)
_TICK_SECONDS = 0.5
#: How long a training that was told to stop may take to reach its next batch.
_GRACE_SECONDS = 10.0


class Heartbeat:
    """Renews the lease and writes progress, so that training never waits for the database.

    The training calls `check` before each batch. If it does not, for `stall_seconds` or after it
    was told to stop, the thread records the end itself and kills the process.
    """

    def __init__(self, recorder: Recorder, claim: Claim, stopping: Event) -> None:
        self._recorder, self._claim, self._stopping = recorder, claim, stopping
        self._thread = Thread(target=self._run, name=f"heartbeat of {claim}", daemon=True)
        self._done = Event()
        self._lock = Lock()  # guards _epochs and _checkpoint
        self._epochs: list[EpochMetrics] = []
        self._checkpoint: tuple[str | None, int] = (None, 0)
        #: The checkpoint that SQL points to, and the one it is just being told of.
        self.recorded_checkpoint = claim.checkpoint
        self._told_checkpoint: str | None = None
        self._started_at = self._checked_at = self._beaten_at = time.monotonic()
        self._verdict: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        unwritten = self.finish()
        if kind and not issubclass(kind, LeaseLost):
            self._recorder.insist(self._claim, unwritten)

    def check(self) -> None:
        """Raise Released, Cancelled, LeaseLost or OutOfTime if the training is to stop now."""
        self._checked_at = time.monotonic()
        if self._stopping.is_set():
            raise Released
        if self._verdict:
            raise self._verdict

    def report(self, metrics: EpochMetrics) -> None:
        """Hand over an epoch's metrics."""
        with self._lock:
            self._epochs.append(metrics)

    def report_checkpoint(self, name: str, epoch: int) -> None:
        """Hand over the checkpoint that was taken after so many epochs, all reported before."""
        with self._lock:
            self._checkpoint = name, epoch

    def checkpoints_in_use(self) -> set[str | None]:
        """Return those that SQL points to, or may in a moment."""
        with self._lock:
            return {self.recorded_checkpoint, self._told_checkpoint, self._checkpoint[0]}

    def finish(self) -> Progress:
        """Stop the thread; return the progress it has not written."""
        self._done.set()
        self._thread.join()
        return self._pending()

    def _run(self) -> None:
        while not self._done.wait(_TICK_SECONDS):
            try:
                self._beat()
            except DatabaseUnreachable as error:
                told = "%s: training goes on; %s"
                logger.warning(told, self._claim, error, extra=self._claim.ids)
            except (LeaseLost, Cancelled) as verdict:
                self._verdict = self._verdict or verdict
            self._watch()

    def _beat(self) -> None:
        progress = self._pending()
        beats_due = time.monotonic() - self._beaten_at > self._recorder.lease_seconds / 4
        if progress.epochs or beats_due:
            self._recorder.beat(self._claim, progress)
            self._beaten_at = time.monotonic()
            self._forget(progress)
        if self._recorder.is_cancelled(self._claim):
            raise Cancelled

    def _pending(self) -> Progress:
        with self._lock:
            self._told_checkpoint = self._checkpoint[0]
            return Progress(tuple(self._epochs), *self._checkpoint)

    def _forget(self, written: Progress) -> None:
        with self._lock:
            del self._epochs[: len(written.epochs)]
            if self._checkpoint[0] == written.checkpoint:
                self._checkpoint = None, 0
            self.recorded_checkpoint = written.checkpoint or self.recorded_checkpoint

    def _watch(self) -> None:
        """End what takes too long: gently at the next batch, or else together with the process."""
        now = time.monotonic()
        limit = self._claim.timeout_seconds
        if limit and now - self._started_at > limit:
            self._verdict = self._verdict or OutOfTime(
                f"not done after the {limit:g} s it may take"
            )
        silence = now - self._checked_at
        if silence > self._claim.stall_seconds:
            self._abandon(Stalled(f"no progress for {self._claim.stall_seconds:g} s"))
        elif self._verdict and silence > _GRACE_SECONDS:
            self._abandon(self._verdict)

    def _abandon(self, verdict: Exception) -> None:
        """Record the end on behalf of a training that is stuck, and kill the process."""
        logger.error("%s: stuck, the process ends itself", self._claim, extra=self._claim.ids)
        try:
            with self._recorder.closing(self._claim):
                raise verdict
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
