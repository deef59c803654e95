"""The thread that keeps attempts alive, and tells their training when to stop."""

import logging
import os
import signal
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Self

from models.errors import DatabaseUnreachable, OutOfTime, Stalled
from models.metrics import EpochMetrics
from worker.execution.recorder import Claim, LeaseLost, Origin, Progress, Recorder, Released
from worker.lasting_trouble import LastingTrouble

if TYPE_CHECKING:  # it brings torch
    from worker.training.engine import Run

logger = logging.getLogger(__name__)
_TICK_SECONDS = 0.5
#: How long a training that was told to stop may take to reach its next batch.
_GRACE_SECONDS = 10.0


@dataclass
class _Pulse:
    """What one attempt has to tell SQL, and what SQL had to tell it."""

    #: The checkpoint that SQL points to, and the one it is just being told of.
    recorded: str | None
    announced: str | None = None
    origin: Origin | None = None
    epochs: list[EpochMetrics] = field(default_factory=list)
    checkpoint: tuple[str | None, int] = (None, 0)
    verdict: Exception | None = None
    #: The time it took so far; of a pack's time, its share.
    seconds: float = 0.0
    run: "Run | None" = None

    def read(self) -> Progress:
        self.announced = self.checkpoint[0]
        batches_done = self.run.batch if self.run else 0
        return Progress(tuple(self.epochs), *self.checkpoint, self.origin, batches_done)

    def forget(self, written: Progress) -> None:
        del self.epochs[: len(written.epochs)]
        if written.origin:
            self.origin = None
        if self.checkpoint[0] == written.checkpoint:
            self.checkpoint = None, 0
        self.recorded = written.checkpoint or self.recorded


class Heartbeat:
    """Renews leases and writes progress, so that training never waits for the database.

    The training calls `check` before each batch. If it does not, for `stall_seconds` or after it
    was told to stop, the thread kills the process; of an attempt that is alone in it, it records
    the end first. Of several nobody knows which one is stuck: their leases are lost.
    """

    def __init__(self, recorder: Recorder, claims: Sequence[Claim], stopping: Event) -> None:
        self._recorder, self._stopping = recorder, stopping
        self._thread = Thread(target=self._run, name=f"heartbeat of {claims[0]}", daemon=True)
        self._trouble = LastingTrouble(logger, f"heartbeat of {claims[0]}")
        self._done = Event()
        self._lock = Lock()  # guards _pulses and what is in them
        self._writing = Lock()  # is held while SQL is told of them
        self._pulses = {claim: _Pulse(claim.checkpoint) for claim in claims}
        self._is_alone = len(claims) == 1
        self._is_ending = False
        self._looked_at = self._checked_at = self._beaten_at = time.monotonic()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def present(self) -> list[Claim]:
        """The attempts that have not left."""
        with self._lock:
            return list(self._pulses)

    def check(self) -> Mapping[Claim, Exception]:
        """Return which attempts are to stop now: Released, Cancelled, LeaseLost or OutOfTime."""
        self._checked_at = time.monotonic()
        is_stopping = self._stopping.is_set()
        with self._lock:
            if is_stopping:
                return {claim: Released() for claim in self._pulses}
            return {c: pulse.verdict for c, pulse in self._pulses.items() if pulse.verdict}

    def begin(self, origins: Mapping[Claim, Origin]) -> None:
        """Hand over where attempts begin, before the first of their epochs."""
        with self._lock:
            for claim, origin in origins.items():
                self._pulses[claim].origin = origin

    def follow(self, runs: "Mapping[Claim, Run]") -> None:
        """Write from now on how many batches of their epochs these runs have done."""
        with self._lock:
            for claim, run in runs.items():
                self._pulses[claim].run = run

    def report(self, claim: Claim, metrics: EpochMetrics) -> None:
        """Hand over an epoch's metrics."""
        with self._lock:
            self._pulses[claim].epochs.append(metrics)

    def report_checkpoint(self, claim: Claim, name: str, epoch: int) -> None:
        """Hand over the checkpoint that was taken after so many epochs, all reported before."""
        with self._lock:
            self._pulses[claim].checkpoint = name, epoch

    def checkpoints_in_use(self, claim: Claim) -> set[str | None]:
        """Return those that SQL points to, or may in a moment."""
        with self._lock:
            pulse = self._pulses[claim]
            return {pulse.recorded, pulse.announced, pulse.checkpoint[0]}

    @contextmanager
    def leaving(self, claims: Collection[Claim]) -> Iterator[Mapping[Claim, Progress]]:
        """Let go of attempts; give what is not written of them, while their end is recorded.

        That may take as long as the database is away, which is no fault of the others. They are
        present again if it fails.
        """
        self._is_ending = True
        with self._writing, self._lock:
            left = {claim: self._pulses.pop(claim) for claim in claims}
        try:
            yield {claim: pulse.read() for claim, pulse in left.items()}
        except Exception:
            with self._lock:
                self._pulses |= left
            raise
        finally:
            self._checked_at = time.monotonic()
            self._is_ending = False

    def _run(self) -> None:
        while not self._done.wait(_TICK_SECONDS):
            try:
                with self._writing:
                    self._beat()
                if self.present:  # else there was nothing to write
                    self._trouble.end()
            except DatabaseUnreachable as error:
                self._report(str(error))
            # Without this thread nobody would renew the leases or watch the training.
            except Exception as error:  # noqa: BLE001 - the worker's boundary
                self._report(repr(error), exc_info=True)
            self._watch()

    def _report(self, error: str, **options: Any) -> None:
        if present := self.present:
            company = " and those with it" if len(present) > 1 else ""
            message = "%s%s: training goes on; %s"
            ids = present[0].ids
            self._trouble.report(message, present[0], company, error, extra=ids, **options)

    def _beat(self) -> None:
        with self._lock:
            progress = {claim: pulse.read() for claim, pulse in self._pulses.items()}
        beats_due = time.monotonic() - self._beaten_at > self._recorder.lease_seconds / 4
        has_news = any(each.origin or each.epochs for each in progress.values())
        if progress and (beats_due or has_news):
            lost = self._recorder.beat_all(progress)
            self._beaten_at = time.monotonic()
            self._forget(progress, lost)
        for claim, verdict in self._recorder.judge(list(progress)).items():
            self._tell_to_stop(claim, verdict)

    def _forget(self, written: Mapping[Claim, Progress], lost: set[Claim]) -> None:
        for claim in lost:
            self._tell_to_stop(claim, LeaseLost())
        with self._lock:
            for claim in written.keys() - lost:
                self._pulses[claim].forget(written[claim])

    def _tell_to_stop(self, claim: Claim, verdict: Exception) -> None:
        with self._lock:
            if pulse := self._pulses.get(claim):
                pulse.verdict = pulse.verdict or verdict

    def _watch(self) -> None:
        """End what takes too long: gently at the next batch, or else together with the process."""
        now = time.monotonic()
        with self._lock:
            pulses = dict(self._pulses)
        for claim, pulse in pulses.items():
            pulse.seconds += (now - self._looked_at) / len(pulses)
            limit = claim.timeout_seconds
            if limit and pulse.seconds > limit:
                late = OutOfTime(f"not done after the {limit:g} s it may take")
                self._tell_to_stop(claim, late)
        self._looked_at = now
        for claim, pulse in pulses.items():
            self._end_if_stuck(claim, pulse, now - self._checked_at)

    def _end_if_stuck(self, claim: Claim, pulse: _Pulse, silence: float) -> None:
        if self._is_ending:
            return
        if silence > claim.stall_seconds:
            self._abandon(claim, Stalled(f"no progress for {claim.stall_seconds:g} s"))
        elif pulse.verdict and silence > _GRACE_SECONDS:
            self._abandon(claim, pulse.verdict)

    def _abandon(self, claim: Claim, verdict: Exception) -> None:
        """Record the end on behalf of a training that is stuck, and kill the process."""
        for each in self.present:
            logger.error("%s: stuck, the process ends itself", each, extra=each.ids)
        try:
            if self._is_alone:
                with self._recorder.closing(claim):
                    raise verdict
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
