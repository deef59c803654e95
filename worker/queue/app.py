"""The Celery application of a worker: its settings, and how it starts, stops and loses a child."""

import logging
import os
import signal
import warnings
from typing import Any

from billiard.process import active_children
from celery import Celery, signals
from celery.exceptions import WorkerLostError
from celery.platforms import SecurityWarning
from sqlalchemy import and_, select

from models import lifecycle
from models.database import Database
from models.embedded_redis import EmbeddedRedis
from models.errors import DatabaseUnreachable
from models.message import celery_settings
from models.settings import Settings
from models.state import JobState
from models.tables import Attempt, Job
from worker import readiness
from worker.queue import transport
from worker.queue.publishing import Publisher
from worker.stop_signals import DRAIN_SIGNAL, RELEASE_SIGNAL

logger = logging.getLogger(__name__)
_SOCKET_SECONDS = 10.0


def broker_url(settings: Settings) -> str:
    """Return the configured Redis, or the embedded one."""
    return settings.redis_url or EmbeddedRedis(settings.home).url


def make_app(settings: Settings) -> Celery:
    """Make the application; it connects to nothing yet."""
    app = Celery("dq", include=["worker.queue.task"], set_as_current=False)
    app.conf.update(celery_settings(broker_url(settings), socket_timeout=_SOCKET_SECONDS))
    app.conf.update(
        worker_consumer="worker.queue.consumer:SafeConsumer",
        # One child, which alone imports torch: its death leaves this process as it was.
        worker_pool="prefork",
        worker_concurrency=1,
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=60,  # seconds; importing torch from a cold disk takes many
        # A short job must not wait, prefetched, in a worker that is busy with a long one.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        task_acks_late=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
    )
    app.events.dispatcher_cls = "worker.queue.events:Dispatcher"
    return app


def make_publisher(settings: Settings) -> Publisher:
    """Return the publisher for the configured Redis."""
    return Publisher(make_app(settings))


def consume(settings: Settings, name: str) -> int:
    """Take and run jobs as the worker process `name` until told to stop; return the exit code."""
    transport.install()
    database = Database(settings.sql_url)

    def lose_jobs(exception: Exception, **_: Any) -> None:
        if isinstance(exception, WorkerLostError):
            how = str(exception).removeprefix("Worker exited prematurely: ").partition(" Job:")[0]
            _lose(database, name, f"its process died: {how}")

    # Celery warns of root because a pickle could run anything; this worker takes JSON alone.
    warnings.simplefilter("ignore", SecurityWarning)
    # A child inherits this: the signal does not kill it before it listens for it.
    signal.signal(RELEASE_SIGNAL, signal.SIG_IGN)
    signals.worker_ready.connect(_report_ready)
    signals.worker_shutting_down.connect(_release_running_job)
    signals.task_failure.connect(lose_jobs)
    worker = make_app(settings).Worker(
        hostname=name, quiet=True, without_mingle=True, without_gossip=True, loglevel="WARNING"
    )
    worker.start()
    return int(worker.exitcode or 0)


def _report_ready(**_: Any) -> None:
    readiness.report(readiness.TAKES_MESSAGES)


def _release_running_job(sig: str, **_: Any) -> None:
    """Tell the child to give its job back, within a batch; a drained worker finishes its job."""
    if sig == DRAIN_SIGNAL.name:
        return
    for child in active_children():
        os.kill(child.pid, RELEASE_SIGNAL)


def _lose(database: Database, worker: str, detail: str) -> None:
    """Take a dead child's jobs from it at once, rather than when their leases run out."""
    alive = [child.pid for child in active_children()]
    mine = select(Job).join(Attempt, and_(Attempt.job_id == Job.id, Attempt.number == Job.attempt))
    mine = mine.where(
        Job.state == JobState.RUNNING, Job.worker == worker, Attempt.pid.not_in(alive)
    )
    try:
        with database.writing() as session:
            for job in session.scalars(mine.order_by(Job.id).with_for_update(of=Job)):
                logger.error("job %s: %s", job.id, detail, extra={"job_id": job.id})
                lifecycle.lose(session, job, detail)
    except DatabaseUnreachable:
        return  # the leases will run out
