from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli import main


@pytest.fixture
def dq(home: Path) -> Callable[..., Result]:
    """Return a function that runs `dq` in this process, with a home of its own."""

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, words, prog_name="dq", catch_exceptions=False)

    return run
