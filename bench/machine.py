"""Says on what the benches ran: the machine, and the versions of what was measured."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psycopg

from bench.servers import open_postgres, open_redis

_PACKAGES = ("SQLAlchemy", "psycopg", "celery", "kombu", "redis", "pydantic", "scipy")


def describe() -> str:
    """Return a list of what there is, in Markdown."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    lines = [
        f"- Machine: {_find_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, "
        f"{platform.system()} {platform.release()}; a machine shared with other work",
        f"- Python {platform.python_version()}; {packages}",
        f"- Servers: {_find_postgres()}; {_find_redis()}, both on this machine",
        "- `python -m bench` runs all and writes this; `python -m bench queries` renews one part",
    ]
    return "\n".join(lines) + "\n"


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
