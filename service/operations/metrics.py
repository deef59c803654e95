"""What Prometheus reads out of SQL: the queue, the attempts, the reconcilers and the GPUs."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from models.database import Database
from service.queries.monitoring import OperationalMetrics, read_operational_metrics

#: What `render` returns, for an HTTP answer.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_REPAIRS = ("lost", "republished")


def render(database: Database) -> str:
    """Return all metrics in Prometheus' text format.

    They are read from SQL each time: every process gives the same, and a restart resets no counter.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(read_operational_metrics(database)))
    return generate_latest(registry).decode()


class _Collector(Collector):
    """Gives what was read once to prometheus_client."""

    def __init__(self, metrics: OperationalMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from _list_queue(self._metrics)
        yield from _list_work(self._metrics)
        yield from _list_workers(self._metrics)


def _list_queue(metrics: OperationalMetrics) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("dq_jobs", "Jobs by state.", labels=["state"])
    for state, count in metrics.states.items():
        jobs.add_metric([state], count)
    yield jobs
    owned = GaugeMetricFamily(
        "dq_owner_jobs", "Queued and running jobs by owner.", labels=["owner", "state"]
    )
    for row in metrics.owners:
        owned.add_metric([row.owner, "queued"], row.queued)
        owned.add_metric([row.owner, "running"], row.running)
    yield owned
    yield GaugeMetricFamily(
        "dq_oldest_queued_seconds",
        "Age of the job that is queued longest; 0 if none is.",
        value=metrics.oldest_queued_seconds or 0.0,
    )


def _list_work(metrics: OperationalMetrics) -> Iterator[Metric]:
    attempts = CounterMetricFamily(
        "dq_attempts", "Attempts by how they ended; lost is a crash.", labels=["outcome"]
    )
    for outcome, count in metrics.attempts.items():
        attempts.add_metric([outcome], count)
    yield attempts
    repairs = CounterMetricFamily(
        "dq_reconciler_actions",
        "Jobs taken from silent workers (lost), and messages sent to idle ones (republished).",
        labels=["action"],
    )
    for action in _REPAIRS:
        repairs.add_metric([action], metrics.repairs.get(action, 0))
    yield repairs
    buckets = [(str(float(limit)), count) for limit, count in metrics.succeeded_within.items()]
    yield HistogramMetricFamily(
        "dq_job_seconds",
        "Seconds of training of the succeeded jobs.",
        buckets=[*buckets, ("+Inf", metrics.succeeded)],
        sum_value=metrics.succeeded_seconds,
    )


def _list_workers(metrics: OperationalMetrics) -> Iterator[Metric]:
    alive = GaugeMetricFamily(
        "dq_workers", "Workers with a fresh heartbeat.", labels=["host", "device"]
    )
    memory = GaugeMetricFamily(
        "dq_gpu_memory_bytes", "Memory of a GPU.", labels=["host", "device", "uuid", "kind"]
    )
    workers = [worker for worker in metrics.workers if worker.is_alive]
    devices = Counter((worker.host, worker.device) for worker in workers)
    for (host, device), count in sorted(devices.items()):
        alive.add_metric([host, device], count)
    gpus = {worker.device_uuid: worker for worker in workers if worker.device_uuid}
    for uuid, worker in gpus.items():
        for kind, size in (("used", worker.memory_used), ("total", worker.memory_total)):
            if size is not None:
                memory.add_metric([worker.host, worker.device, uuid, kind], size)
    yield alive
    yield memory
