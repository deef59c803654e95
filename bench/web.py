"""Times the pages over a database of 100,000 jobs, by HTTP and in a browser."""

import shutil
import urllib.request
from collections.abc import Iterator, Mapping
from itertools import chain

from playwright.sync_api import Page, sync_playwright

from bench.filling import SWEEP, Size, fill
from bench.section import TIME_COLUMNS, Section, show, time_calls, time_once, time_row
from bench.servers import open_postgres
from service.web.server import WebServer

#: Milliseconds from the request to the last byte of its answer.
_TARGET = 200.0
#: Milliseconds from the navigation to the last curve on the screen.
_DRAWN_TARGET = 1000.0
_WHERE = "lr+<+0.05+and+keep[0]+==+0.9+and+valid_acc+>+0.98"
_CURVES = "#curves .scatterlayer .trace"
_TIMES = 7


def measure(jobs: int) -> Section:
    """Fill a PostgreSQL, serve it, and ask for every page."""
    with open_postgres() as (server, settings):
        sizes: list[Size] = []
        seconds = time_once(lambda: sizes.append(fill(server.url("dq"), jobs)))
        with WebServer(settings, "127.0.0.1", 0) as web:
            pages = _measure_pages(web.url, _list_pages(sizes[0]))
            rows = show(chain(pages, _measure_browser(web.url)))
    about = (
        f"Filled in {seconds:.0f} s. Stock PostgreSQL with {sizes[0].jobs:,} jobs in "
        f"{sizes[0].sweeps:,} sweeps, {sizes[0].epochs:,} epochs. Pages: from the request to the "
        f"last byte, by HTTP on this machine; the median of {_TIMES} after a warm-up. Browser: "
        "Debian's chromium, headless, without a GPU, from the navigation to the last curve drawn; "
        "plotly.js out of the browser's cache but for the first."
    )
    return Section("Pages", about, ["page", *TIME_COLUMNS], rows)


def _list_pages(size: Size) -> Mapping[str, str]:
    sweep = f"s{size.sweeps // 2}"
    return {
        "queue": "/",
        "sweeps": "/sweeps",
        "sweeps of `lr < 0.05 and ...`": f"/sweeps?where={_WHERE}",
        "jobs": "/jobs",
        "jobs by `valid_acc`": "/jobs?sort=valid_accuracy",
        "jobs where `lr < 0.05 and ...`": f"/jobs?where={_WHERE}",
        "jobs where `lr == 0.7`, which none has": "/jobs?where=lr+==+0.7",
        "250 jobs, the most of a page": "/jobs?limit=250",
        "one job": "/jobs/7",
        f"comparison of {SWEEP} runs": f"/compare?jobs={sweep}",
        f"comparison of {SWEEP} runs, drawn one by one": f"/compare?jobs={sweep}&runs=1",
        "comparison to choose": "/compare",
        "submit, a preview of 120 jobs": "/submit?lr=0.1+0.2+0.3+0.4&epochs=5+6+7+8+9+10&seeds=5",
        "`/api/v1/queue`": "/api/v1/queue",
        "`/api/v1/jobs`": "/api/v1/jobs",
    }


def _measure_pages(base: str, pages: Mapping[str, str]) -> Iterator[list[str]]:
    for what, path in pages.items():

        def ask(url: str = base + path.replace("<", "%3C").replace(">", "%3E")) -> None:
            with urllib.request.urlopen(url) as answer:
                answer.read()

        times = time_calls(ask, _TIMES)
        yield time_row(what, times, _TARGET)


def _measure_browser(base: str) -> Iterator[list[str]]:
    """Draw the comparison; the first time plotly.js is read and compiled."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        for how, more, traces in (("", "", 80), (", drawn one by one", "&runs=1", 120)):
            times = [_draw(page, f"{base}/compare?jobs=s7{more}", traces) for _ in range(_TIMES)]
            what = f"in the browser: comparison of {SWEEP} runs{how}"
            yield time_row(what, times, _DRAWN_TARGET)
        browser.close()


def _draw(page: Page, url: str, traces: int) -> float:
    """Return the seconds from the navigation to the last trace."""
    page.goto(url, wait_until="commit")
    page.locator(_CURVES).nth(traces - 1).wait_for(state="attached")
    return float(page.evaluate("performance.now()")) / 1000
