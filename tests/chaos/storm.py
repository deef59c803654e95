"""One storm: many short real jobs, random faults from a seed, and the same jobs undisturbed."""

import random
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from sqlalchemy import func, select

from chaos.faults import FAULTS
from chaos.figures import Figures, figures_of, train_undisturbed
from chaos.stack import Stack
from models.spec import ExperimentSpec
from models.state import JobState, Outcome
from models.tables import Attempt, Epoch, Job, LogLine, Result
from servers import wait_until
from service.jobs import SubmitOptions, submit
from service.jobs.broker import Broker

_BATCH = 20
#: Innocent jobs are hit again and again: only a poison job should reach this.
_MAX_CRASHES = 200
#: After the last fault everything must be done within this.
_CALM_SECONDS = 300.0


@dataclass(frozen=True)
class Report:
    """What a storm did, and what it left."""

    seed: int
    faults: Counter[str]
    states: Counter[str]
    outcomes: Counter[str]
    results: int
    resumed: int
    packed: int
    fenced: int
    dropped: int
    #: Jobs whose metrics are not those of undisturbed trainings, to the bit.
    wrong: tuple[int, ...]

    @property
    def is_right(self) -> bool:
        """Whether every job has one right result, and none is left in between."""
        jobs = self.states.total()
        done = self.states[JobState.SUCCEEDED] == jobs == self.results
        return done and self.outcomes[Outcome.SUCCEEDED] == jobs and not self.wrong

    def __str__(self) -> str:
        parts = {
            "faults": f"{self.faults.total()} ({_list(self.faults)})",
            "jobs": _list(self.states),
            "attempts": f"{self.outcomes.total()} ({_list(self.outcomes)})",
            "resumed": f"{self.resumed} attempts went on from a checkpoint",
            "packed": f"{self.packed} attempts were one of several in a process",
            "fenced off": f"{self.fenced} late attempts",
            "dropped": f"{self.dropped} messages",
            "results": f"{self.results}, {len(self.wrong)} not those of undisturbed trainings",
        }
        lines = [f"seed {self.seed}", *(f"{name:>12}: {text}" for name, text in parts.items())]
        return "\n".join([*lines, "RIGHT" if self.is_right else f"WRONG: jobs {self.wrong}"])


def make_specs(count: int, epochs: int) -> list[ExperimentSpec]:
    """Return specs of a second or two each, all different."""
    return [
        ExperimentSpec(
            dataset="digits",
            hidden=(128, 128),
            keep=(0.9, 0.8) if seed % 2 else (),
            batch_size=_BATCH,
            epochs=epochs,
            seed=seed,
        )
        for seed in range(count)
    ]


def run_storm(
    stack: Stack, specs: Sequence[ExperimentSpec], seed: int, seconds: float, pause: float
) -> Report:
    """Submit the specs, inject faults for `seconds` from the first start on, and report."""
    order = SubmitOptions(max_crashes=_MAX_CRASHES)
    settings = stack.settings
    submitted = submit(stack.database, Broker(settings), specs, order, uuid.uuid4().hex)
    wait_until(lambda: _has_begun(stack), "a job is tried", _CALM_SECONDS)
    faults = _inject_faults(stack, random.Random(seed), seconds, pause)
    _wait(stack)
    undisturbed = dict(zip(submitted.job_ids, _train_all(specs), strict=True))
    return _look(stack, seed, faults, undisturbed)


def _train_all(specs: Sequence[ExperimentSpec]) -> list[Figures]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return list(pool.map(train_undisturbed, specs, chunksize=10))


def _inject_faults(stack: Stack, rng: random.Random, seconds: float, pause: float) -> Counter[str]:
    injected: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and _open_jobs(stack):
        time.sleep(rng.uniform(0.3, 1.7) * pause)
        fault = rng.choices(list(FAULTS), list(FAULTS.values()))[0]
        injected[fault.__name__] += fault(stack, rng)
        for worker in stack.workers:
            worker.restart_if_dead()
    return injected


def _has_begun(stack: Stack) -> bool:
    with stack.database.reading() as session:
        return session.scalar(select(Attempt.job_id).limit(1)) is not None


def _open_jobs(stack: Stack) -> int:
    with stack.database.reading() as session:
        is_open = Job.state.in_([JobState.QUEUED, JobState.RUNNING])
        return session.scalar(select(func.count()).select_from(Job).where(is_open)) or 0


def _wait(stack: Stack) -> None:
    deadline = time.monotonic() + _CALM_SECONDS
    while _open_jobs(stack) and time.monotonic() < deadline:
        for worker in stack.workers:
            worker.restart_if_dead()
        time.sleep(0.5)


def _look(stack: Stack, seed: int, faults: Counter[str], undisturbed: dict[int, Figures]) -> Report:
    log = stack.logs()
    with stack.database.reading() as session:
        figures: dict[int, Figures] = {}
        for epoch in session.scalars(select(Epoch).order_by(Epoch.job_id, Epoch.epoch)):
            figures.setdefault(epoch.job_id, []).append(figures_of(epoch))
        finals = {each.job_id: figures_of(each) for each in session.scalars(select(Result))}
        packed = (
            select(func.count()).select_from(LogLine).where(LogLine.text.contains(" of its shape"))
        )
        resumed = select(func.count()).select_from(Attempt).where(Attempt.resumed_epoch > 0)
        return Report(
            seed=seed,
            faults=faults,
            states=Counter(session.scalars(select(Job.state))),
            outcomes=Counter(str(outcome) for outcome in session.scalars(select(Attempt.outcome))),
            results=len(finals),
            resumed=session.scalar(resumed) or 0,
            packed=session.scalar(packed) or 0,
            fenced=log.count("fenced off"),
            dropped=log.count("dropped a"),
            wrong=tuple(
                job_id
                for job_id, expected in undisturbed.items()
                if figures.get(job_id) != expected or finals.get(job_id) != expected[-1]
            ),
        )


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
