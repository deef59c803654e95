"""docker-compose.yml brought up for real, under a project name and with passwords of its own."""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from acceptance.conftest import DQ, Terminal
from servers import free_port, short_folder, wait_until

ROOT = Path(__file__).resolve().parents[2]
#: Building an image may fetch torch.
BUILD_SECONDS = 1800
PATIENCE = 180.0
_FILES = ["--file", "docker-compose.yml", "--file", "docker-compose.hosts.yml"]


def why_no_engine() -> str | None:
    """Say what is missing for a stack here; None if nothing is."""
    if not shutil.which("docker"):
        return "docker is not installed"
    if not _is_fine("docker", "info"):
        return "no Docker engine answers: see `docker info`"
    return None if compose_command() else "neither `docker compose` nor docker-compose is installed"


@cache
def compose_command() -> list[str]:
    """Return COMPOSE, or else the words of compose v2 or of 1.29; none if there is none of them."""
    if chosen := os.environ.get("COMPOSE"):
        return chosen.split()
    if _is_fine("docker", "compose", "version"):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else []


def _is_fine(*command: str) -> bool:
    with suppress(subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
    return False


@dataclass
class ComposedStack:
    """The services of one project; `folder` holds its secrets."""

    folder: Path
    project: str

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @cached_property
    def variables(self) -> dict[str, str]:
        """Return the environment of compose: free ports, and no setting of the developer's."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("DQ_")}
        ports = {f"{name}_PORT": str(free_port()) for name in ("REDIS", "DB", "WEB", "FLOWER")}
        # Without their profiles compose v2 would leave these behind.
        profiles = {"COMPOSE_PROFILES": "cpu,flower"}
        return {**own, **ports, **profiles, "SECRETS": str(self.secrets)}

    @cached_property
    def settings(self) -> dict[str, str]:
        """Return the two variables that `make secrets` wrote for dq on the host."""
        lines = (self.secrets / "client.env").read_text().splitlines()
        return dict(line.removeprefix("export ").split("=", 1) for line in lines)

    def make_secrets(self) -> None:
        command = [ROOT / "deploy" / "make-secrets", self.secrets]
        subprocess.run(command, env=self.variables, check=True)

    def compose(self, *words: str, seconds: float = PATIENCE) -> str:
        """Run a command of compose to its end; return what it printed on standard output."""
        command = [*compose_command(), "--project-name", self.project, *_FILES, *words]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    @property
    def web(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.variables['WEB_PORT']}"

    def dq(self, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run dq on the host, outside of all containers, with the two variables."""
        return subprocess.run(
            [DQ, *words],
            env=Terminal(self.folder, settings=self.settings).environment(**settings),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def data(self, *words: str) -> Any:
        """Run a dq command that succeeds; return its data."""
        done = self.dq(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def container(self, service: str) -> str:
        """Return the id of a service's container, running or not."""
        return self.compose("ps", "--all", "--quiet", service).strip()

    def inspect(self, service: str) -> Any:
        return json.loads(docker("inspect", self.container(service)))[0]

    def state(self, service: str) -> str:
        """Return healthy, unhealthy or starting; without a health check running or exited."""
        state = self.inspect(service)["State"]
        return str(state.get("Health", {}).get("Status") or state["Status"])

    def wait_until_healthy(self, service: str) -> None:
        wait_until(lambda: self.state(service) == "healthy", f"{service} is healthy", PATIENCE)

    def crash(self, service: str) -> None:
        """Kill all processes of a service at once, as a crash would, and wait for its return.

        `docker kill` counts as a wish, after which the restart policy rests.
        """
        container = self.container(service)
        before = self.inspect(service)["State"]["StartedAt"]
        try:
            os.kill(self.inspect(service)["State"]["Pid"], 9)
        except PermissionError:
            docker("kill", container)
            docker("start", container)
        wait_until(
            lambda: self.inspect(service)["State"]["StartedAt"] != before,
            f"{service} is started again",
            PATIENCE,
        )

    def everything_told(self) -> str:
        """Return all logs, all configuration and all command lines of the containers."""
        services = self.compose("ps", "--all", "--quiet").split()
        top = [docker("top", each) for each in services if docker_state(each) == "running"]
        return "".join([self.compose("logs", "--no-color"), docker("inspect", *services), *top])


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=True)
    return done.stdout


def docker_state(container: str) -> str:
    return docker("inspect", "--format", "{{.State.Status}}", container).strip()


@contextmanager
def open_stack(*services: str) -> Iterator[ComposedStack]:
    """Build and start some services and what they depend on; remove all of it at the end."""
    with short_folder("dq-compose-") as folder:
        stack = ComposedStack(folder, f"dqtest{uuid.uuid4().hex[:8]}")
        stack.make_secrets()
        try:
            stack.compose("build", "redis", "migrate", "worker-cpu", seconds=BUILD_SECONDS)
            stack.compose("up", "--detach", *services)
            yield stack
        finally:
            with suppress(AssertionError):
                stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "15")
