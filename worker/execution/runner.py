"""Runs a job, and others of its shape with it: claim, train, record; the steps in order."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from models.message import JobMessage
from models.metrics import EpochMetrics
from worker.execution.checkpoints import Checkpoints
from worker.execution.context import WorkerContext
from worker.execution.heartbeat import Heartbeat
from worker.execution.provenance import provenance
from worker.execution.recorder import Claim, FailedTogether, LeaseLost, Origin, Recorder, Released
from worker.training import engine
from worker.training.data.tensors import Data

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Member:
    """One job of those that are trained together: each has all of its own."""

    claim: Claim
    checkpoints: Checkpoints
    training: engine.Run


def run(message: JobMessage, process: WorkerContext) -> None:
    """Run the job that a message rings for; do nothing if this message may not start it."""
    recorder = process.recorder
    claims = recorder.claim_pack(message.job_id, message.spec, process.pack_size)
    if claims:  # else it was cancelled, is finished, or is held by another worker
        with (
            Heartbeat(recorder, claims, process.stopping) as heartbeat,
            _recording_errors(heartbeat, recorder, is_alone=len(claims) == 1),
        ):
            _run(heartbeat, process)


def _run(heartbeat: Heartbeat, process: WorkerContext) -> None:
    claims, recorder = heartbeat.present, process.recorder
    data = process.load(claims[0].spec.dataset)
    members = {claim: _resume(claim, data, process) for claim in claims}
    _begin(members, data, heartbeat, process)
    # A job is done at once if the worker before was killed between its last checkpoint and the
    # result.
    done = [members[claim] for claim in heartbeat.present if members[claim].training.is_done]

    def before_batch() -> Mapping[Claim, Exception]:
        if done:
            _succeed(done, heartbeat, recorder)
        return heartbeat.check()

    runs = {claim: members[claim].training for claim in heartbeat.present}
    heartbeat.follow(runs)
    for claim, outcome in engine.train(runs, data, before_batch):
        if isinstance(outcome, Exception):
            _leave(members[claim], outcome, heartbeat, recorder)
        elif _go_on(members[claim], outcome, heartbeat):
            done.append(members[claim])
    if done:
        _succeed(done, heartbeat, recorder)


def _resume(claim: Claim, data: Data, process: WorkerContext) -> _Member:
    checkpoints = Checkpoints(process.checkpoint_dir, claim)
    return _Member(claim, checkpoints, checkpoints.resume(data, process.device))


def _begin(
    members: Mapping[Claim, _Member], data: Data, heartbeat: Heartbeat, process: WorkerContext
) -> None:
    here = provenance(process.device, data.content_hash)
    heartbeat.begin(
        {
            claim: Origin(here, member.training.epoch, member.training.batch)
            for claim, member in members.items()
        }
    )
    for claim, member in members.items():
        told = "%s: started at epoch %s"
        logger.info(told, claim, member.training.epoch, extra=claim.ids)


def _go_on(member: _Member, metrics: EpochMetrics, heartbeat: Heartbeat) -> bool:
    """Hand over what an epoch came to; return whether it was the last."""
    heartbeat.report(member.claim, metrics)
    if member.checkpoints.is_due(member.training):
        _save(member, heartbeat)
    return member.training.is_done


def _save(member: _Member, heartbeat: Heartbeat) -> None:
    if saved := member.checkpoints.save(member.training):
        heartbeat.report_checkpoint(member.claim, saved, member.training.epoch)
        member.checkpoints.prune(*heartbeat.checkpoints_in_use(member.claim))


def _succeed(done: list[_Member], heartbeat: Heartbeat, recorder: Recorder) -> None:
    """Record the results of those that are done, in one transaction, and forget them."""
    recorded = {each.claim: heartbeat.checkpoints_in_use(each.claim) for each in done}
    with heartbeat.leaving(recorded) as unwritten:
        lost = recorder.succeed(unwritten)
    for member in done:
        with recorder.closing(member.claim):
            if member.claim in lost:
                raise LeaseLost
            newest = unwritten[member.claim].checkpoint
            kept = {newest} if newest else recorded[member.claim]
            member.checkpoints.prune(*kept if member.claim.keep_checkpoint else ())
    done.clear()


def _leave(member: _Member, reason: Exception, heartbeat: Heartbeat, recorder: Recorder) -> None:
    """Record how an attempt ended that did not succeed; one given back leaves a checkpoint."""
    if isinstance(reason, Released) and member.training.has_begun:
        _save(member, heartbeat)
    _close(member.claim, reason, heartbeat, recorder)


def _close(claim: Claim, reason: Exception, heartbeat: Heartbeat, recorder: Recorder) -> None:
    with heartbeat.leaving([claim]) as unwritten, recorder.closing(claim):
        if not isinstance(reason, LeaseLost):
            recorder.insist(claim, unwritten[claim])
        raise reason


@contextmanager
def _recording_errors(
    heartbeat: Heartbeat, recorder: Recorder, *, is_alone: bool
) -> Iterator[None]:
    """Record an error on the job it hit; one that hit several together is none's yet."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the worker's boundary: recorded on the jobs
        is_of_each = is_alone or isinstance(error, SQLAlchemyError)
        reason = error if is_of_each else FailedTogether(f"failed together with others: {error!r}")
        for claim in heartbeat.present:
            _close(claim, reason, heartbeat, recorder)
