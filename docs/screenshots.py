"""Makes the pictures of docs/web.md, in a temporary home with a worker and some jobs."""

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).with_name("screenshots")
_WIDE = {"viewport": {"width": 1280, "height": 860}}
_PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}
_DARK = {"color_scheme": "dark"}
_DIGITS = ["--dataset", "digits", "--batch-size", "50", "--hidden", "128x2"]
_RATES = ("none", "0.9", "0.8", "0.7", "0.6", "0.5", "0.4")
_SEEDS = 8
_PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "queue": ("/", _WIDE),
    "compare": ("/compare?jobs=s1", _WIDE | {"viewport": {"width": 1280, "height": 1060}}),
    "job": (f"/jobs/{len(_RATES) * _SEEDS + 1}", _WIDE),
    "queue-phone": ("/", _PHONE),
    "compare-phone": (
        "/compare?jobs=s1",
        _PHONE | _DARK | {"viewport": {"width": 390, "height": 1300}},
    ),
}


def main() -> None:
    """Run one sweep, start another, and take the pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("There is no chromium here. Type: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="dq-") as home:
        environment = {"DQ_HOME": f"{home}/dq", "HOME": home, "PATH": "/usr/bin:/bin"}
        up = subprocess.Popen([_dq(), "up", "--workers", "1"], env=environment, stderr=-1)
        try:
            login = _read_login(up)
            _fill(environment)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--disable-gpu"]
                )
                for name in _PICTURES:
                    _take(browser, login, name)
                browser.close()
        finally:
            up.terminate()
            up.wait()


def _dq() -> Path:
    return Path(__file__).parents[1] / ".venv" / "bin" / "dq"


def _read_login(up: "subprocess.Popen[bytes]") -> str:
    """Return the address to sign in at."""
    assert up.stderr
    for line in up.stderr:
        if found := re.search(rb"open: (\S+/login\S+)", line):
            return found[1].decode()
    raise SystemExit("dq up ended before its page was there")


def _fill(environment: dict[str, str]) -> None:
    """Run one sweep to its end, and start a longer one."""
    rates = [word for rate in _RATES for word in ("--dropout", rate)]
    first = [*rates, "--epochs", "40", "--seeds", str(_SEEDS), "--name", "how much to drop"]
    second = [*rates[:4], "--epochs", "4000", "--seeds", "4", "--name", "longer"]
    for arguments in (
        ["submit", *_DIGITS, *first, "--tag", "paper"],
        ["wait", "s1"],
        ["submit", *_DIGITS, *second],
    ):
        subprocess.run([_dq(), *arguments], env=environment, check=True)
    time.sleep(4)  # until there is a curve to see


def _take(browser: Browser, login: str, name: str) -> None:
    path, options = _PICTURES[name]
    context = browser.new_context(base_url=login.partition("/login")[0], **options)
    page = context.new_page()
    page.goto(login)
    page.goto(path)
    if page.locator(".chart").count():
        page.locator(".chart .main-svg").first.wait_for()
    page.screenshot(path=FOLDER / f"{name}.png")
    context.close()


if __name__ == "__main__":
    main()
