"""Runs a job, and others of its shape with it: claim, train, record; the steps in order."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.metrics import EpochMetrics
from worker.execution.checkpoints import Checkpoints
from worker.execution.claims import Claim
from worker.execution.context import WorkerContext
from worker.execution.ending import RELEASED, Ending, ending_of, fail
from worker.execution.heartbeat import Heartbeat
from worker.execution.provenance import provenance
from worker.execution.recorder import AttemptStart, Recorder
from worker.training import engine
from worker.training.data.tensors import Data

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Training:
    """One of the jobs that are trained together."""

    claim: Claim
    checkpoints: Checkpoints
    run: engine.Run


def run_all(process: WorkerContext) -> None:
    """Run what is queued, one claim after the other, until nothing is or the worker is to stop."""
    while not process.stopping.is_set() and (
        claims := process.recorder.claim_next(process.pack_size)
    ):
        run(claims, process)


def run(claims: Sequence[Claim], process: WorkerContext) -> None:
    """Run claimed jobs together, to their ends."""
    recorder = process.recorder
    with Heartbeat(recorder, claims, process.stopping) as heartbeat:
        try:
            _train(heartbeat, process)
        except Exception as error:  # noqa: BLE001 - the worker's boundary: recorded on the jobs
            ending = ending_of(error, is_alone=len(claims) == 1)
            for claim in heartbeat.claims:
                _end(claim, ending, heartbeat, recorder)


def _train(heartbeat: Heartbeat, process: WorkerContext) -> None:
    claims, recorder = heartbeat.claims, process.recorder
    data = process.load(claims[0].spec.dataset)
    trainings = {claim: _resume(claim, data, process) for claim in claims}
    runs = {claim: each.run for claim, each in trainings.items()}
    _begin(runs, data, heartbeat, process)
    # A job is done at once if the worker before was killed between its last checkpoint and the
    # result.
    done = [each for each in trainings.values() if each.run.is_done]

    def before_batch() -> Mapping[Claim, Ending]:
        if done:
            _succeed(done, heartbeat, recorder)
        return heartbeat.check()

    heartbeat.follow(runs)
    for claim, outcome in engine.train(runs, data, before_batch):
        if isinstance(outcome, EpochMetrics):
            _report(trainings[claim], outcome, heartbeat)
            if trainings[claim].run.is_done:
                done.append(trainings[claim])
        else:
            _leave(trainings[claim], outcome, heartbeat, recorder)
    if done:
        _succeed(done, heartbeat, recorder)


def _resume(claim: Claim, data: Data, process: WorkerContext) -> _Training:
    checkpoints = Checkpoints(process.checkpoint_dir, claim)
    return _Training(claim, checkpoints, checkpoints.resume(data, process.device))


def _begin(
    runs: Mapping[Claim, engine.Run], data: Data, heartbeat: Heartbeat, process: WorkerContext
) -> None:
    here = provenance(process.device, data.content_hash)
    heartbeat.begin(
        {claim: AttemptStart(here, run.epoch, run.batch) for claim, run in runs.items()}
    )
    for claim, run in runs.items():
        logger.info("%s: started at epoch %s", claim, run.epoch, extra=claim.ids)


def _report(training: _Training, metrics: EpochMetrics, heartbeat: Heartbeat) -> None:
    """Report an epoch, with a checkpoint if one is due."""
    heartbeat.report(training.claim, metrics)
    if training.checkpoints.is_due(training.run):
        _save(training, heartbeat)


def _save(training: _Training, heartbeat: Heartbeat) -> None:
    if saved := training.checkpoints.save(training.run):
        heartbeat.report_checkpoint(training.claim, saved, training.run.epoch)
        training.checkpoints.prune(*heartbeat.checkpoints_in_use(training.claim))


def _succeed(done: list[_Training], heartbeat: Heartbeat, recorder: Recorder) -> None:
    """Record the results of the trainings that are done, in one transaction; empty the list."""
    in_use = {each.claim: heartbeat.checkpoints_in_use(each.claim) for each in done}
    with heartbeat.leaving(in_use) as unwritten:
        lost = recorder.succeed(unwritten)
    for training in done:
        if (claim := training.claim) not in lost:
            newest = unwritten[claim].checkpoint
            kept = {newest} if newest else in_use[claim]
            training.checkpoints.prune(*kept if claim.keep_checkpoint else ())
    done.clear()


def _leave(
    training: _Training,
    why: Ending | engine.Divergence,
    heartbeat: Heartbeat,
    recorder: Recorder,
) -> None:
    """Record how an attempt ended that did not succeed; a released one leaves a checkpoint."""
    ending = why if isinstance(why, Ending) else fail(str(why))
    if ending == RELEASED and training.run.has_begun:
        _save(training, heartbeat)
    _end(training.claim, ending, heartbeat, recorder)


def _end(claim: Claim, ending: Ending, heartbeat: Heartbeat, recorder: Recorder) -> None:
    with heartbeat.leaving([claim]) as unwritten:
        recorder.end(claim, ending, unwritten[claim])
