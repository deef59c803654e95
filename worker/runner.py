"""Runs one job: claim, train, record; the steps in order."""

from models.message import Bell
from worker.checkpoints import Checkpoints
from worker.heartbeat import Heartbeat
from worker.process import WorkerProcess
from worker.provenance import provenance
from worker.recorder import Claim, Released
from worker.training import trainer


def run(bell: Bell, process: WorkerProcess) -> None:
    """Run the job that a message rings for; do nothing if this message may not start it."""
    claim = process.recorder.claim(bell.job_id, bell.spec)
    if claim is None:  # cancelled, finished, or held by another worker
        return
    with process.recorder.closing(claim):
        _run(claim, process)


def _run(claim: Claim, process: WorkerProcess) -> None:
    recorder, checkpoints = process.recorder, Checkpoints(process.checkpoint_dir, claim)
    with Heartbeat(recorder, claim, process.stopping) as heartbeat:
        data = process.load(claim.spec.dataset)
        training = checkpoints.resume(data, process.device)
        origin = provenance(process.device, data.content_hash)
        recorder.begin(claim, origin, training.epoch, training.batch)
        try:
            for metrics in trainer.train(claim.spec, training, data, heartbeat.check):
                heartbeat.report(metrics)
                if checkpoints.is_due(training):
                    _save(training, checkpoints, heartbeat)
        except Released:
            _save(training, checkpoints, heartbeat)
            raise
        unwritten = heartbeat.finish()
        recorder.succeed(claim, unwritten)
    kept = unwritten.checkpoint or heartbeat.recorded_checkpoint
    checkpoints.prune(kept if claim.keep_checkpoint else None)


def _save(training: trainer.Run, checkpoints: Checkpoints, heartbeat: Heartbeat) -> None:
    if saved := checkpoints.save(training):
        heartbeat.report_checkpoint(saved, training.epoch)
        checkpoints.prune(*heartbeat.checkpoints_in_use())
