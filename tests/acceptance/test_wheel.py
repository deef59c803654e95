"""The wheel, installed away from the checkout: nothing may be missing from it."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from servers import short_folder

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("models", "service", "worker", "migrations")
WHERE = (
    "import migrations, models, service, worker; print(service.__path__[0], migrations.__path__[0])"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, with the build backend of this environment if there is one."""
    out = tmp_path_factory.mktemp("wheel")
    isolation = ["--no-isolation"] if find_spec("hatchling") else []
    command = [sys.executable, "-m", "build", "--wheel", *isolation, "--outdir", out, ROOT]
    subprocess.run(command, check=True, cwd=out, capture_output=True, timeout=170)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Iterator[Path]:
    """Install it alone into an empty environment, which sees this one's packages but not dq.

    Folders that a .pth file adds to the path come last, and their own .pth files, one of which
    makes the checkout importable here, are not read.
    """
    with short_folder("dq-venv-") as folder:
        venv.create(folder, symlinks=True, with_pip=False)
        python = folder / "bin" / "python"
        install = ["--python", python, "install", "--quiet", "--no-index", "--no-deps", wheel]
        subprocess.run([sys.executable, "-m", "pip", *install], check=True, cwd=folder)
        packages = sysconfig.get_path("purelib", vars={"base": str(folder)})
        others = [path for path in sys.path if path.endswith("site-packages")]
        Path(packages, "others.pth").write_text("\n".join(others))
        yield folder


def test_the_wheel_holds_every_file_of_every_package_and_nothing_else(wheel):
    there = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    packed = set(zipfile.ZipFile(wheel).namelist())

    assert {name for name in packed if ".dist-info/" not in name} == there
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in packed)


def test_the_installed_packages_are_the_wheels_and_not_the_checkouts(installed):
    python = installed / "bin" / "python"

    done = subprocess.run(
        [python, "-c", WHERE], check=True, cwd=installed, capture_output=True, text=True
    )

    assert all(Path(path).is_relative_to(installed) for path in done.stdout.split())


def test_dq_runs_from_the_wheel_from_an_empty_home_to_the_table(installed, terminal):
    terminal.program = installed / "bin" / "dq"

    version = terminal.dq("--version")
    demo = terminal.dq("demo")
    shown = terminal.show(1)

    assert version.returncode == 0
    assert demo.returncode == 0, demo.stderr
    assert "digits, hidden 256x3" in demo.stdout
    assert shown["state"] == "succeeded"
    assert shown["attempts"][0]["provenance"]["git_commit"] is None
    assert terminal.processes() == []
