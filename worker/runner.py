"""Runs a job, and others of its shape with it: claim, train, record; the steps in order."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from models.message import Bell
from models.metrics import EpochMetrics
from worker.checkpoints import Checkpoints
from worker.heartbeat import Heartbeat
from worker.process import WorkerProcess
from worker.provenance import provenance
from worker.recorder import Claim, FailedTogether, LeaseLost, Recorder, Released
from worker.training import engine
from worker.training.data import Data
from worker.training.run import Run


@dataclass(frozen=True)
class _Member:
    """One job of those that are trained together: each has all of its own."""

    claim: Claim
    checkpoints: Checkpoints
    training: Run


def run(bell: Bell, process: WorkerProcess) -> None:
    """Run the job that a message rings for; do nothing if this message may not start it."""
    recorder = process.recorder
    claims = recorder.claim_pack(bell.job_id, bell.spec, process.most_together)
    if claims:  # else it was cancelled, is finished, or is held by another worker
        with (
            Heartbeat(recorder, claims, process.stopping) as heartbeat,
            _recording_errors(heartbeat, recorder, is_alone=len(claims) == 1),
        ):
            _run(heartbeat, process)


def _run(heartbeat: Heartbeat, process: WorkerProcess) -> None:
    claims = heartbeat.present
    data = process.load(claims[0].spec.dataset)
    members = {claim: _resume(claim, data, process) for claim in claims}
    for member in members.values():
        _begin(member, data, heartbeat, process)
    runs = {claim: members[claim].training for claim in heartbeat.present}
    for claim, outcome in engine.train(runs, data, heartbeat.check):
        if isinstance(outcome, EpochMetrics):
            _go_on(members[claim], outcome, heartbeat, process.recorder)
        else:
            _leave(members[claim], outcome, heartbeat, process.recorder)


def _resume(claim: Claim, data: Data, process: WorkerProcess) -> _Member:
    checkpoints = Checkpoints(process.checkpoint_dir, claim)
    return _Member(claim, checkpoints, checkpoints.resume(data, process.device))


def _begin(member: _Member, data: Data, heartbeat: Heartbeat, process: WorkerProcess) -> None:
    training, recorder = member.training, process.recorder
    origin = provenance(process.device, data.content_hash)
    try:
        recorder.begin(member.claim, origin, training.epoch, training.batch)
    except LeaseLost as lost:
        _leave(member, lost, heartbeat, recorder)
        return
    if training.is_done:  # the worker before was killed between its last checkpoint and the result
        _succeed(member, heartbeat, recorder)


def _go_on(
    member: _Member, metrics: EpochMetrics, heartbeat: Heartbeat, recorder: Recorder
) -> None:
    heartbeat.report(member.claim, metrics)
    if member.checkpoints.is_due(member.training):
        _save(member, heartbeat)
    if member.training.is_done:
        _succeed(member, heartbeat, recorder)


def _save(member: _Member, heartbeat: Heartbeat) -> None:
    if saved := member.checkpoints.save(member.training):
        heartbeat.report_checkpoint(member.claim, saved, member.training.epoch)
        member.checkpoints.prune(*heartbeat.checkpoints_in_use(member.claim))


def _succeed(member: _Member, heartbeat: Heartbeat, recorder: Recorder) -> None:
    claim, recorded = member.claim, heartbeat.checkpoints_in_use(member.claim)
    with heartbeat.leaving(claim) as unwritten, recorder.closing(claim):
        recorder.succeed(claim, unwritten)
        kept = {unwritten.checkpoint} if unwritten.checkpoint else recorded
        member.checkpoints.prune(*kept if claim.keep_checkpoint else ())


def _leave(member: _Member, reason: Exception, heartbeat: Heartbeat, recorder: Recorder) -> None:
    """Record how an attempt ended that did not succeed; one given back leaves a checkpoint."""
    if isinstance(reason, Released) and member.training.has_begun:
        _save(member, heartbeat)
    _close(member.claim, reason, heartbeat, recorder)


def _close(claim: Claim, reason: Exception, heartbeat: Heartbeat, recorder: Recorder) -> None:
    with heartbeat.leaving(claim) as unwritten, recorder.closing(claim):
        if not isinstance(reason, LeaseLost):
            recorder.insist(claim, unwritten)
        raise reason


@contextmanager
def _recording_errors(
    heartbeat: Heartbeat, recorder: Recorder, *, is_alone: bool
) -> Iterator[None]:
    """Record an error on the job it hit; one that hit several together is none's yet."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the worker's boundary: recorded on the jobs
        together = FailedTogether(f"failed together with others: {error!r}")
        for claim in heartbeat.present:
            _close(claim, error if is_alone else together, heartbeat, recorder)
