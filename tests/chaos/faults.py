"""What chaos does: each fault strikes a running stack once."""

import json
import random
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil
from celery import Celery

from chaos.stack import LEASE_SECONDS, Stack, kill
from models.message import QUEUE, TASK, celery_settings
from models.tables import Job

#: Items that are no message, or none of ours; each is pushed raw into the queue.
MALFORMED = (
    b"not json",
    b"",
    b"\xff\xfe\x00",
    b"12",
    b"null",
    b'"a string"',
    b"[]",
    b"{}",
    b'{"body": "!!", "headers": {}, "properties": {}}',
    json.dumps({"body": "bm90IGpzb24=", "headers": {}, "properties": {}}).encode(),
    json.dumps(
        {
            "body": "gASVCAAAAAAAAABdlChLAUsCZS4=",
            "content-type": "application/x-python-serialize",
            "content-encoding": "binary",
            "headers": {"task": TASK, "id": "1"},
            "properties": {
                "delivery_info": {"exchange": "", "routing_key": "dq"},
                "delivery_tag": "evil",
                "body_encoding": "base64",
            },
        }
    ).encode(),
)
#: Arguments of well-formed messages that name no job, or not what its row says.
STRANGE_ARGUMENTS = (
    {"job_id": 10**8, "spec": {}},
    {"job_id": -1, "spec": {}},
    {"job_id": "1; DROP TABLE jobs", "spec": {}},
    {"job_id": True, "spec": None},
    {"spec": {}},
    {},
)

Fault = Callable[[Stack, random.Random], bool]


def kill_child(stack: Stack, rng: random.Random) -> bool:
    """Kill the process that trains."""
    return kill(rng.choice(stack.workers).child())


def kill_celery(stack: Stack, rng: random.Random) -> bool:
    """Kill the Celery process; its child goes with it, or is orphaned."""
    return kill(rng.choice(stack.workers).celery())


def kill_supervisor(stack: Stack, rng: random.Random) -> bool:
    """Kill the `dq worker` itself."""
    worker = rng.choice(stack.workers)
    return worker.process is not None and kill(_find(worker.process.pid))


def terminate_worker(stack: Stack, rng: random.Random) -> bool:
    """Tell a `dq worker` to stop; it is started again once it ended."""
    worker = rng.choice(stack.workers)
    return worker.process is not None and kill(_find(worker.process.pid), signal.SIGTERM)


def freeze_child(stack: Stack, rng: random.Random) -> bool:
    """Stop the process that trains until its lease is over, and let it wake as a zombie."""
    child = rng.choice(stack.workers).child()
    if not kill(child, signal.SIGSTOP):
        return False
    with suppress(psutil.Error):
        assert child is not None
        child.wait(timeout=LEASE_SECONDS * 1.5)
    kill(child, signal.SIGCONT)
    return True


def kill_redis(stack: Stack, _: random.Random) -> bool:
    """Kill Redis and start it again on its append-only file."""
    stack.redis.stop()
    stack.redis.start()
    return True


def flush_redis(stack: Stack, _: random.Random) -> bool:
    """Empty Redis."""
    with stack.redis.client() as client:
        client.flushall()
    return True


def restart_postgres(stack: Stack, _: random.Random) -> bool:
    """Crash PostgreSQL and let it recover."""
    if stack.postgres is None:
        return False
    stack.restart_postgres()
    return True


def duplicate_messages(stack: Stack, rng: random.Random) -> bool:
    """Send five messages for jobs in any state."""
    with stack.database.reading() as session:
        jobs = [(job.id, job.spec) for job in session.query(Job.id, Job.spec)]
    return _send(stack, [{"job_id": i, "spec": spec} for i, spec in rng.choices(jobs, k=5)])


def send_malformed(stack: Stack, rng: random.Random) -> bool:
    """Push what is no message, and what is one but not ours."""
    with stack.redis.client() as client:
        client.lpush("dq:dq", *rng.sample(MALFORMED, 4))
    return _send(stack, rng.sample(STRANGE_ARGUMENTS, 3))


#: The faults, and how often each is drawn.
FAULTS: dict[Fault, int] = {
    kill_child: 6,
    kill_celery: 4,
    kill_supervisor: 2,
    terminate_worker: 3,
    freeze_child: 2,
    kill_redis: 2,
    flush_redis: 2,
    restart_postgres: 2,
    duplicate_messages: 3,
    send_malformed: 3,
}


def _send(stack: Stack, arguments: Sequence[dict[str, object]]) -> bool:
    app = Celery("chaos", set_as_current=False)
    app.conf.update(celery_settings(stack.settings.broker_url, socket_timeout=2))
    with app.producer_pool.acquire(block=True) as producer:
        for kwargs in arguments:
            app.send_task(TASK, kwargs=kwargs, queue=QUEUE, ignore_result=True, producer=producer)
    return True


def _find(pid: int) -> psutil.Process | None:
    with suppress(psutil.Error):
        return psutil.Process(pid)
    return None
