"""Claims, beats, ends, losses and a person's commands in any order, held to a model of the rules.

The claimants are processes; some things they do at the same moment.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select

from integration import rows
from integration.rows import PROVENANCE, SPEC, FakeBroker, LeaseLost
from models.database import Database
from models.message import JobMessage
from models.state import FINAL_STATES, JobState, Outcome
from models.tables import Attempt, Base, Job, Result
from service import jobs
from service.queries.selectors import ids_condition
from worker.execution.claims import Claim
from worker.execution.recorder import AttemptUpdate, Recorder
from worker.supervisor.reconciler import Reconciler

#: No lease ends by itself while a test runs.
LEASE_SECONDS = 3600.0
CLAIMANTS = 3
MOST_JOBS = 4
#: SQLite finds what breaks a rule, PostgreSQL what two transactions break at once; it is slower.
EXAMPLES = {"sqlite": 60, "postgresql": 20}

ENDS = {
    "succeed": Outcome.SUCCEEDED,
    "fail": Outcome.FAILED,
    "cancel": Outcome.CANCELLED,
    "release": Outcome.RELEASED,
}


class Claimant:
    """A process with a recorder and a reconciler, at the other end of a pipe."""

    def __init__(self, url: str, number: int) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        name = f"cpu{number}-1@here"
        self._process = context.Process(target=_serve, args=(url, name, theirs), daemon=True)
        self._process.start()

    def tell(self, deed: str, *arguments: Any) -> None:
        self._pipe.send((deed, arguments))

    def answer(self) -> Any:
        """Return what the deed returned, or the LeaseLost that it raised."""
        assert self._pipe.poll(60), "a claimant does not answer"
        return self._pipe.recv()

    def ask(self, deed: str, *arguments: Any) -> Any:
        self.tell(deed, *arguments)
        return self.answer()

    def stop(self) -> None:
        self._process.kill()
        self._process.join()


class SilentPublisher:
    """A publisher that has nothing to do."""

    def count_waiting(self) -> int:
        return 1

    def publish(self, messages: Sequence[JobMessage]) -> None:
        """Do nothing."""


#: What a claimant does with its recorder.
_ACTIONS: Mapping[str, Callable[..., Any]] = {
    "claim": rows.claim_next,
    "take": rows.claim,
    "begin": rows.begin,
    "beat": rows.record,
    "succeed": rows.succeed,
    "fail": rows.fail,
    "cancel": rows.cancel,
    "release": rows.release,
    "is_cancelled": rows.is_cancelled,
}


def _serve(url: str, name: str, pipe: Connection) -> None:
    logging.disable()
    database = Database(url)
    recorder = Recorder(database, name, LEASE_SECONDS)
    reconciler = Reconciler(database, SilentPublisher(), LEASE_SECONDS)
    while True:
        deed, arguments = pipe.recv()
        try:
            if deed == "reconcile":
                pipe.send(reconciler.reconcile())
            else:
                pipe.send(_ACTIONS[deed](recorder, *arguments))
        except LeaseLost as refusal:
            pipe.send(refusal)


@dataclass
class Model:
    """What one job must be like."""

    job_id: int
    max_crashes: int
    state: JobState = JobState.QUEUED
    #: The ends of the attempts, in the order of their numbers; None is under way.
    outcomes: list[Outcome | None] = field(default_factory=list)
    held: bool = False
    cancel_requested: bool = False
    has_expired: bool = False
    crashes: int = 0
    checkpoint_epoch: int = 0
    #: `checkpoint_epoch` when the lease was last lost.
    mark: int = 0
    epochs_done: int = 0

    @property
    def is_claimable(self) -> bool:
        return self.state == JobState.QUEUED and not self.held

    @property
    def is_lost(self) -> bool:
        return self.state == JobState.RUNNING and self.has_expired

    def owns(self, claim: Claim) -> bool:
        return self.state == JobState.RUNNING and claim.attempt == len(self.outcomes)

    def start(self) -> None:
        self.state, self.has_expired = JobState.RUNNING, False
        self.outcomes.append(None)

    def beat(self, progress: AttemptUpdate) -> None:
        self.has_expired = False
        if progress.epochs:
            self.epochs_done = progress.epochs[-1].epoch
        if progress.checkpoint:
            self.checkpoint_epoch = progress.checkpoint_epoch

    def end(self, outcome: Outcome) -> None:
        """End the attempt; a job that was to be cancelled never goes back to the queue."""
        self.outcomes[-1] = outcome
        goes_back = outcome in {Outcome.RELEASED, Outcome.LOST}
        self.state = JobState.QUEUED if goes_back else JobState(outcome)
        if outcome == Outcome.LOST:
            self._count_crash()
        if goes_back and self.cancel_requested:
            self.state = JobState.CANCELLED
        self.cancel_requested = False

    def _count_crash(self) -> None:
        made_progress = self.checkpoint_epoch > self.mark
        self.crashes = 1 if made_progress else self.crashes + 1
        self.mark = self.checkpoint_epoch
        if self.crashes >= self.max_crashes:
            self.state = JobState.FAILED

    def cancel(self) -> None:
        if self.state == JobState.QUEUED:
            self.state = JobState.CANCELLED
        elif self.state == JobState.RUNNING:
            self.cancel_requested = True
        if self.is_lost:
            self.end(Outcome.LOST)

    def retry(self, from_scratch: bool) -> None:
        if self.state not in FINAL_STATES - {JobState.SUCCEEDED}:
            return
        self.state, self.held, self.crashes = JobState.QUEUED, False, 0
        if from_scratch:
            self.checkpoint_epoch = self.mark = self.epochs_done = 0


@dataclass(frozen=True)
class Token:
    """A claim, and the process that made it. Late ones are kept: they are what a zombie has."""

    claimant: Claimant
    claim: Claim


#: Which job or claim; 0 is the newest. A race may end either way, but hypothesis must draw the same
#: in every run: so it draws from these, and not from bundles, which hold what there is to choose.
AGE = st.integers(0, 5)
NUMBER = st.integers(0, CLAIMANTS - 1)
PROGRESS = st.tuples(st.integers(0, SPEC.epochs), st.booleans())
END = st.sampled_from(sorted(ENDS))
LATE_DEED = st.sampled_from([*sorted(ENDS), "begin", "beat", "is_cancelled"])


class LeaseRules(RuleBasedStateMachine):
    """The machine: each rule does one thing for real and to the model."""

    def __init__(self, database: Database, claimants: Sequence[Claimant]) -> None:
        super().__init__()
        self.database, self.claimants = database, claimants
        self.jobs: list[Model] = []
        self.tokens: list[Token] = []

    def teardown(self) -> None:
        with self.database.writing() as session:
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(delete(table))

    @initialize(max_crashes=st.integers(1, 3))
    def submit_first(self, max_crashes: int) -> None:
        self._submit(max_crashes)

    @precondition(lambda self: len(self.jobs) < MOST_JOBS)
    @rule(max_crashes=st.integers(1, 3))
    def submit(self, max_crashes: int) -> None:
        self._submit(max_crashes)

    # What workers do

    @rule(number=NUMBER, at_once=st.booleans())
    def claim(self, number: int, at_once: bool) -> None:
        claimants = self._some(number, at_once)
        expected = [model.job_id for model in self.jobs if model.is_claimable][: len(claimants)]
        for each in claimants:
            each.tell("claim")
        claims = [(each, claim) for each in claimants if (claim := each.answer())]

        assert sorted(claim.job_id for _, claim in claims) == expected, "the oldest go first"
        for each, claim in claims:
            self._start(each, claim)

    @rule(age=AGE, number=NUMBER)
    def begin(self, age: int, number: int) -> None:
        if token := self._running(age, number):
            model = self._model(token)
            epochs = model.checkpoint_epoch
            self._write(token, "begin", PROVENANCE, epochs)
            model.has_expired, model.epochs_done = False, epochs

    @rule(age=AGE, number=NUMBER, progress=PROGRESS)
    def beat(self, age: int, number: int, progress: tuple[int, bool]) -> None:
        if token := self._running(age, number):
            made = _progress(token.claim, *progress)
            self._write(token, "beat", made)
            self._model(token).beat(made)

    @rule(age=AGE, number=NUMBER, end=END)
    def end_attempt(self, age: int, number: int, end: str) -> None:
        if token := self._running(age, number):
            self._write(token, end, *_arguments(end))
            self._end(token, end)

    @rule(age=AGE, deed=LATE_DEED)
    def write_late(self, age: int, deed: str) -> None:
        late = [token for token in self.tokens if not self._model(token).owns(token.claim)]
        if token := _pick(late, age):
            before = rows.everything(self.database)

            answer = token.claimant.ask(deed, token.claim, *_arguments(deed))

            assert isinstance(answer, LeaseLost)
            assert rows.everything(self.database) == before

    @rule(age=AGE, number=NUMBER)
    def ask_whether_cancelled(self, age: int, number: int) -> None:
        if token := self._running(age, number):
            answer = token.claimant.ask("is_cancelled", token.claim)

            assert answer is self._model(token).cancel_requested

    # What happens to them

    @rule(age=AGE, number=NUMBER)
    def expire(self, age: int, number: int) -> None:
        if token := self._running(age, number):
            self._expire(self._model(token))

    @rule(age=AGE, number=NUMBER, at_once=st.booleans())
    def fall_silent(self, age: int, number: int, at_once: bool) -> None:
        if token := self._running(age, number):
            self._expire(self._model(token))
            self._reconcile(self._some(number, at_once))

    @rule(number=NUMBER, at_once=st.booleans())
    def reconcile(self, number: int, at_once: bool) -> None:
        self._reconcile(self._some(number, at_once))

    @rule(age=AGE, end=END, number=NUMBER)
    def end_attempt_while_it_is_being_lost(self, age: int, end: str, number: int) -> None:
        if not (token := self._running(age, number)):
            return
        model = self._model(token)
        rival = next(each for each in self.claimants if each is not token.claimant)
        self._expire(model)

        rival.tell("reconcile")
        token.claimant.tell(end, token.claim, *_arguments(end))
        lost, ended = rival.answer().lost, token.claimant.answer()

        was_late = isinstance(ended, LeaseLost)
        assert lost == self._lose([job for job in self.jobs if job is not model]) + was_late
        if was_late:
            model.end(Outcome.LOST)
        else:
            self._end(token, end)

    # What a person does

    @rule(age=AGE, number=NUMBER, is_started=st.booleans())
    def cancel(self, age: int, number: int, is_started: bool) -> None:
        model = _pick(self.jobs, age)
        if is_started:
            self._running(age, number)
        jobs.cancel(self.database, ids_condition([model.job_id]))
        model.cancel()

    @rule(age=AGE, number=NUMBER)
    def cancel_while_it_is_being_claimed(self, age: int, number: int) -> None:
        model, claimant = _pick(self.jobs, age), self.claimants[number]

        claimant.tell("claim")
        jobs.cancel(self.database, ids_condition([model.job_id]))
        claim = claimant.answer()

        if claim:
            self._start(claimant, claim)
        model.cancel()

    @rule(age=AGE, is_free=st.booleans())
    def hold_or_release(self, age: int, is_free: bool) -> None:
        model = _pick(self.jobs, age)
        if is_free:
            jobs.release(self.database, FakeBroker(), ids_condition([model.job_id]))
            model.held = False
        else:
            jobs.hold(self.database, ids_condition([model.job_id]))
            model.held = model.held or model.state == JobState.QUEUED

    @rule(age=AGE, from_scratch=st.booleans())
    def retry(self, age: int, from_scratch: bool) -> None:
        model = _pick(self.jobs, age)
        which = ids_condition([model.job_id])
        jobs.retry(self.database, FakeBroker(), which, from_scratch=from_scratch)
        model.retry(from_scratch)

    # What must hold after each of these

    @invariant()
    def rows_are_those_of_the_model(self) -> None:
        with self.database.reading() as session:
            found = {job.id: job for job in session.scalars(select(Job))}
            results = {result.job_id: result for result in session.scalars(select(Result))}
            attempts = session.scalars(select(Attempt).order_by(Attempt.job_id, Attempt.number))
            outcomes = [(each.job_id, each.number, each.outcome) for each in attempts]

        assert outcomes == [
            (model.job_id, number, outcome)
            for model in self.jobs
            for number, outcome in enumerate(model.outcomes, start=1)
        ]
        for model in self.jobs:
            assert _row(found[model.job_id]) == _expected(model)
        assert {job_id: result.attempt for job_id, result in results.items()} == {
            model.job_id: len(model.outcomes)
            for model in self.jobs
            if model.state == JobState.SUCCEEDED
        }

    def _submit(self, max_crashes: int) -> None:
        job_id = rows.submit_one(self.database, max_crashes=max_crashes)
        self.jobs.append(Model(job_id, max_crashes))

    def _model(self, token: Token) -> Model:
        return next(each for each in self.jobs if each.job_id == token.claim.job_id)

    def _start(self, claimant: Claimant, claim: Claim) -> None:
        self.tokens.append(Token(claimant, claim))
        model = self._model(self.tokens[-1])
        assert model.is_claimable
        model.start()

    def _expire(self, model: Model) -> None:
        if model.state == JobState.RUNNING:
            rows.expire(self.database, model.job_id)
            model.has_expired = True

    def _some(self, number: int, at_once: bool) -> Sequence[Claimant]:
        """Return all claimants, who are to do a thing at once, or the one of that number."""
        return self.claimants if at_once else [self.claimants[number]]

    def _reconcile(self, claimants: Sequence[Claimant]) -> None:
        for each in claimants:
            each.tell("reconcile")
        lost = sum(each.answer().lost for each in claimants)

        assert lost == self._lose(self.jobs)

    def _running(self, age: int, number: int) -> Token | None:
        """Return the claim that owns a job, made first if it may be; None if it may not."""
        model = _pick(self.jobs, age)
        if model.is_claimable:
            claimant = self.claimants[number]
            self._start(claimant, claimant.ask("take", model.job_id))
        owners = (token for token in self.tokens if token.claim.job_id == model.job_id)
        return next((token for token in owners if model.owns(token.claim)), None)

    def _write(self, token: Token, deed: str, *arguments: Any) -> None:
        """Have the owner of a job write."""
        refusal = token.claimant.ask(deed, token.claim, *arguments)

        assert refusal is None

    def _end(self, token: Token, end: str) -> None:
        model = self._model(token)
        if end == "succeed":
            model.beat(*_arguments(end))
        model.end(ENDS[end])

    def _lose(self, models: Sequence[Model]) -> int:
        """Take from the models' workers the jobs whose leases are over; return how many."""
        lost = [model for model in models if model.is_lost]
        for model in lost:
            model.end(Outcome.LOST)
        return len(lost)


def _pick(things: Sequence[Any], age: int) -> Any:
    """Return one of the things, the newest being the last; None if there is none."""
    return things[-1 - age % len(things)] if things else None


def _progress(claim: Claim, epochs: int, is_saved: bool) -> AttemptUpdate:
    measured = rows.measured_all()[:epochs]
    if not (epochs and is_saved):
        return AttemptUpdate(measured)
    return AttemptUpdate(measured, f"{claim.job_id}/{claim.attempt}-{epochs}-0", epochs)


def _arguments(deed: str) -> tuple[Any, ...]:
    """Return what a write takes besides the claim."""
    everything = AttemptUpdate(rows.measured_all(), "late-1-3-0", SPEC.epochs)
    given = {"succeed": (everything,), "beat": (everything,)}
    return {**given, "fail": ("it diverged",), "begin": (PROVENANCE, 0)}.get(deed, ())


def _row(job: Job) -> dict[str, Any]:
    return {
        "state": job.state,
        "attempt": job.attempt,
        "held": job.held,
        "cancel_requested": job.cancel_requested,
        "crashes": job.crashes,
        "checkpoint_epoch": job.checkpoint_epoch,
        "epochs_done": job.epochs_done,
        "has_lease": job.lease_until is not None,
    }


def _expected(model: Model) -> dict[str, Any]:
    return {
        "state": model.state,
        "attempt": len(model.outcomes),
        "held": model.held,
        "cancel_requested": model.cancel_requested,
        "crashes": model.crashes,
        "checkpoint_epoch": model.checkpoint_epoch,
        "epochs_done": model.epochs_done,
        "has_lease": model.state == JobState.RUNNING,
    }


@pytest.fixture
def claimants(database_url: str) -> Iterator[list[Claimant]]:
    started = [Claimant(database_url, number) for number in range(CLAIMANTS)]
    yield started
    for each in started:
        each.stop()


@pytest.mark.timeout(600)  # after a failure, hypothesis looks for the shortest way to it
def test_no_order_of_events_lets_two_attempts_write_or_a_job_end_twice(
    backend: str, database: Database, claimants: list[Claimant]
):
    run_state_machine_as_test(
        lambda: LeaseRules(database, claimants),
        settings=settings(
            max_examples=EXAMPLES[backend],
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )
