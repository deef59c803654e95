"""The thread that keeps attempts alive, and tells their training when to stop."""

import logging
import os
import signal
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any, Self

from models.errors import DatabaseUnreachable
from models.metrics import EpochMetrics
from worker.execution.claims import Claim
from worker.execution.ending import LEASE_LOST, RELEASED, Ending, fail
from worker.execution.recorder import AttemptStart, AttemptUpdate, Recorder
from worker.throttled_log import ThrottledLog
from worker.training.engine import Run

logger = logging.getLogger(__name__)
_TICK_SECONDS = 0.5
#: How long a training that was told to stop may take to reach its next batch.
_GRACE_SECONDS = 10.0


@dataclass
class _AttemptState:
    """What one attempt has yet to write to SQL, and how SQL says it must end."""

    #: The checkpoint that SQL points to, and the one that is being written to SQL.
    recorded: str | None
    announced: str | None = None
    start: AttemptStart | None = None
    epochs: list[EpochMetrics] = field(default_factory=list)
    checkpoint: tuple[str | None, int] = (None, 0)
    ending: Ending | None = None
    #: The time it took so far; of a pack's time, its share.
    seconds: float = 0.0
    run: Run | None = None

    def read(self) -> AttemptUpdate:
        self.announced = self.checkpoint[0]
        batches_done = self.run.batch if self.run else 0
        return AttemptUpdate(tuple(self.epochs), *self.checkpoint, self.start, batches_done)

    def forget(self, written: AttemptUpdate) -> None:
        del self.epochs[: len(written.epochs)]
        if written.start:
            self.start = None
        if self.checkpoint[0] == written.checkpoint:
            self.checkpoint = None, 0
        self.recorded = written.checkpoint or self.recorded


class Heartbeat:
    """Renews leases and writes progress, so that training never waits for the database.

    The training calls `check` before each batch. If it does not, for `stall_seconds` or after it
    was told to stop, the thread kills the process. It records the end first if the process runs one
    attempt. Of several, nobody knows which one is stuck: they lose their leases.
    """

    def __init__(self, recorder: Recorder, claims: Sequence[Claim], stopping: Event) -> None:
        self._recorder, self._stopping = recorder, stopping
        self._thread = Thread(target=self._run, name=f"heartbeat of {claims[0]}", daemon=True)
        self._log = ThrottledLog(logger, f"heartbeat of {claims[0]}")
        self._done = Event()
        self._lock = Lock()  # guards _attempts and what is in them
        self._writing = Lock()  # is held during each write to SQL
        self._attempts = {claim: _AttemptState(claim.checkpoint) for claim in claims}
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
    def claims(self) -> list[Claim]:
        """The attempts that have not left."""
        with self._lock:
            return list(self._attempts)

    def check(self) -> Mapping[Claim, Ending]:
        """Return which attempts are to stop now, and how they end."""
        self._checked_at = time.monotonic()
        is_stopping = self._stopping.is_set()
        with self._lock:
            if is_stopping:
                return dict.fromkeys(self._attempts, RELEASED)
            return {claim: each.ending for claim, each in self._attempts.items() if each.ending}

    def begin(self, starts: Mapping[Claim, AttemptStart]) -> None:
        """Report where attempts start, before the first of their epochs."""
        with self._lock:
            for claim, start in starts.items():
                self._attempts[claim].start = start

    def follow(self, runs: Mapping[Claim, Run]) -> None:
        """Write from now on how many batches of their epochs these runs have done."""
        with self._lock:
            for claim, run in runs.items():
                self._attempts[claim].run = run

    def report(self, claim: Claim, metrics: EpochMetrics) -> None:
        """Report an epoch's metrics."""
        with self._lock:
            self._attempts[claim].epochs.append(metrics)

    def report_checkpoint(self, claim: Claim, name: str, epoch: int) -> None:
        """Report the checkpoint that was written after this epoch, which was reported before."""
        with self._lock:
            self._attempts[claim].checkpoint = name, epoch

    def checkpoints_in_use(self, claim: Claim) -> set[str | None]:
        """Return the checkpoints that SQL points to, or may point to in a moment."""
        with self._lock:
            attempt = self._attempts[claim]
            return {attempt.recorded, attempt.announced, attempt.checkpoint[0]}

    @contextmanager
    def leaving(self, claims: Collection[Claim]) -> Iterator[Mapping[Claim, AttemptUpdate]]:
        """Give what is not written of attempts, and leave them alone while their end is recorded.

        Recording may take as long as the database is away; the other attempts do not count as
        stuck meanwhile. If it fails, the attempts are back.
        """
        self._is_ending = True
        with self._writing, self._lock:
            left = {claim: self._attempts.pop(claim) for claim in claims}
        try:
            yield {claim: attempt.read() for claim, attempt in left.items()}
        except Exception:
            with self._lock:
                self._attempts |= left
            raise
        finally:
            self._checked_at = time.monotonic()
            self._is_ending = False

    def _run(self) -> None:
        while not self._done.wait(_TICK_SECONDS):
            try:
                with self._writing:
                    self._beat()
                if self.claims:  # else there was nothing to write
                    self._log.recover()
            except DatabaseUnreachable as error:
                self._warn(str(error))
            # Without this thread nobody would renew the leases or watch the training.
            except Exception as error:  # noqa: BLE001 - the worker's boundary
                self._warn(repr(error), exc_info=True)
            self._watch()

    def _warn(self, error: str, **options: Any) -> None:
        if claims := self.claims:
            others = " and those with it" if len(claims) > 1 else ""
            message = "%s%s: training goes on; %s"
            self._log.warn(message, claims[0], others, error, extra=claims[0].ids, **options)

    def _beat(self) -> None:
        with self._lock:
            updates = {claim: attempt.read() for claim, attempt in self._attempts.items()}
        is_due = time.monotonic() - self._beaten_at > self._recorder.lease_seconds / 4
        if updates and (is_due or any(each.start or each.epochs for each in updates.values())):
            lost = self._recorder.renew(updates)
            self._beaten_at = time.monotonic()
            self._forget(updates, lost)
        for claim, ending in self._recorder.find_endings(list(updates)).items():
            self._stop(claim, ending)

    def _forget(self, written: Mapping[Claim, AttemptUpdate], lost: set[Claim]) -> None:
        for claim in lost:
            self._stop(claim, LEASE_LOST)
        with self._lock:
            for claim in written.keys() - lost:
                self._attempts[claim].forget(written[claim])

    def _stop(self, claim: Claim, ending: Ending) -> None:
        """Have the training of an attempt stop before its next batch; its first ending counts."""
        with self._lock:
            if attempt := self._attempts.get(claim):
                attempt.ending = attempt.ending or ending

    def _watch(self) -> None:
        """End what takes too long: at the next batch, or else together with the process."""
        now = time.monotonic()
        with self._lock:
            attempts = dict(self._attempts)
        for claim, attempt in attempts.items():
            attempt.seconds += (now - self._looked_at) / len(attempts)
            limit = claim.timeout_seconds
            if limit and attempt.seconds > limit:
                self._stop(claim, fail(f"not done after the {limit:g} s it may take"))
        self._looked_at = now
        for claim, attempt in attempts.items():
            self._end_if_stuck(claim, attempt, now - self._checked_at)

    def _end_if_stuck(self, claim: Claim, attempt: _AttemptState, silence: float) -> None:
        if self._is_ending:
            return
        if silence > claim.stall_seconds:
            self._abandon(claim, fail(f"no progress for {claim.stall_seconds:g} s"))
        elif attempt.ending and silence > _GRACE_SECONDS:
            self._abandon(claim, attempt.ending)

    def _abandon(self, claim: Claim, ending: Ending) -> None:
        """Record the end of an attempt whose training is stuck, and kill the process."""
        for each in self.claims:
            logger.error("%s: stuck, the process kills itself", each, extra=each.ids)
        try:
            if self._is_alone:
                self._recorder.end(claim, ending)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
