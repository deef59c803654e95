"""Debian's chromium, and a server with a real worker."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from acceptance.conftest import Terminal, open_terminal
from servers import wait_until

#: Where the tests leave pictures of the pages.
PICTURES = Path(__file__).resolve().parents[2] / "build" / "e2e"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: Other work on the host makes a browser slow.
PATIENCE_MS = 60_000


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium here: apt-get install chromium")
    expect.set_options(timeout=PATIENCE_MS)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[Terminal, str]]:
    """A terminal with a worker and the server, and the address to sign in at."""
    with open_terminal() as terminal:
        terminal.start("worker.log", "worker", "--device", "cpu", "--workers", "1")
        terminal.start("web.log", "web", "--port", "0")
        wait_until(lambda: "To act, open:" in terminal.read("web.log"), "the page is up", 60)
        wait_until(lambda: terminal.data("workers"), "the worker is up", 60)
        yield terminal, re.search(r"To act, open: (\S+)", terminal.read("web.log"))[1]


@contextmanager
def open_page(browser: Browser, login: str, **options: Any) -> Iterator[Page]:
    """Open a page that is signed in; paths are relative to the server."""
    options = {"viewport": {"width": 1280, "height": 800}, **options}
    context = browser.new_context(base_url=login.partition("/login")[0], **options)
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    opened.goto(login)
    yield opened
    context.close()


@pytest.fixture
def page(browser: Browser, served: tuple[Terminal, str]) -> Iterator[Page]:
    """A page without errors on its console."""
    errors: list[str] = []
    with open_page(browser, served[1]) as opened:
        opened.on("console", lambda it: errors.append(it.text) if it.type == "error" else None)
        opened.on("pageerror", lambda error: errors.append(str(error)))
        yield opened
    assert not errors


def take_picture(page: Page, name: str) -> None:
    """Save a picture of a page."""
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
