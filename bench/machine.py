"""Says on what the benches ran: the machine, and the versions of what was measured."""

import os
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import psycopg
import pynvml
import torch

from bench.servers import open_postgres, open_redis

_PACKAGES = ("SQLAlchemy", "psycopg", "celery", "kombu", "redis", "pydantic", "scipy")


def gpu() -> str:
    """Return the name of the GPU that training is measured on, "" where there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


@cache
def describe(gpu: str) -> str:
    """Return a list of what there is, in Markdown."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        f"- Machine: {_find_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, "
        f"{platform.system()} {platform.release()}; a machine shared with other work",
        *(_describe_gpu(gpu) if gpu else _describe_servers()),
        "- `python -m bench` runs all and writes this; `python -m bench solo` renews one part",
    ]
    return "\n".join(lines) + "\n"


def _describe_gpu(gpu: str) -> list[str]:
    pynvml.nvmlInit()
    driver = pynvml.nvmlSystemGetDriverVersion()
    memory = torch.cuda.mem_get_info()[1] / 2**30
    return [
        f"- GPU: {gpu}, {memory:.0f} GiB, driver {driver}",
        f"- Python {platform.python_version()}; torch {torch.__version__}",
    ]


def _describe_servers() -> list[str]:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return [
        f"- Python {platform.python_version()}; {packages}",
        f"- Servers: {_find_postgres()}; {_find_redis()}, both on this machine",
    ]


def _find_processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _find_postgres() -> str:
    with open_postgres() as (server, _), psycopg.connect(server.url("dq")) as connection:
        row = connection.execute("SHOW server_version").fetchone()
        return f"PostgreSQL {row[0] if row else 'unknown'}"


def _find_redis() -> str:
    with open_redis() as redis, redis.client() as client:
        return f"Redis {client.info('server')['redis_version']}"
