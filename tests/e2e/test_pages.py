"""What a user does in a browser, with a real worker; and whether every page is accessible."""

import csv
import io
from collections.abc import Iterator

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from acceptance.conftest import Terminal
from e2e.conftest import open_page, take_picture
from servers import wait_until

SCHEMES = ("light", "dark")
WIDTHS = (1280, 390)
IMPACTS = {"serious", "critical"}


@pytest.fixture(scope="module")
def finished(served: tuple[Terminal, str]) -> str:
    """The selector of a finished sweep: two configurations with four seeds each."""
    terminal, _ = served
    sweep = terminal.data(
        "submit", "--dataset", "digits", "--hidden", "32x2", "--batch-size", "50", "--epochs", "8",
        "--dropout", "none", "--dropout", "0.8,0.8", "--seeds", "4", "--name", "<b>first</b>",
        "--tag", "paper", "--force",
    )  # fmt: skip
    assert terminal.dq("wait", f"s{sweep['sweep']}").returncode == 0
    return f"s{sweep['sweep']}"


@pytest.fixture(scope="module")
def odd(served: tuple[Terminal, str]) -> tuple[str, int]:
    """The selector and the only job of a sweep that diverged, with the longest name possible."""
    terminal, _ = served
    sweep = terminal.data(
        "submit", "--dataset", "digits", "--hidden", "8", "--batch-size", "100", "--lr", "1e30",
        "--dropout", "none", "--name", "n" * 200, "--tag", "t" * 100, "--force",
    )  # fmt: skip
    terminal.dq("wait", f"s{sweep['sweep']}")
    terminal.dq("note", str(sweep["jobs"][0]), "w" * 300)
    return f"s{sweep['sweep']}", sweep["jobs"][0]


@pytest.fixture(scope="module")
def paths(finished: str, odd: tuple[str, int]) -> dict[str, str]:
    """The address of every page, by the name of its picture."""
    diverged, job = odd
    return {
        "queue": "/",
        "sweeps": "/sweeps",
        "jobs": "/jobs?sort=valid_accuracy",
        "job": "/jobs/1",
        "compare": f"/compare?jobs={finished}&runs=1",
        "pick": "/compare",
        "submit": "/submit?dataset=digits&hidden=32x2&batch_size=100&seeds=2&mask=sample",
        "nothing": "/jobs?jobs=tag:none",
        "error": "/jobs?where=lr+<",
        "missing": "/jobs/999",
        "login": "/login",
        "diverged": f"/compare?jobs={diverged}+{finished}",
        "strata": f"/compare?jobs={diverged}+{finished}&by=hidden",
        "diverged-jobs": f"/jobs?jobs={diverged}",
        "diverged-job": f"/jobs/{job}",
    }


@pytest.fixture
def _nothing_left(served: tuple[Terminal, str]) -> Iterator[None]:
    """Cancel the jobs that a failed test left: the other tests need the worker."""
    yield
    served[0].dq("cancel", "state:running", "state:queued")


@pytest.mark.usefixtures("_nothing_left")
def test_a_user_submits_a_job_watches_its_curve_and_cancels_it(page):
    page.get_by_role("link", name="Submit", exact=True).click()
    page.get_by_label("Keep probabilities").first.fill("0.9,0.9")
    page.get_by_label("Hidden layers").fill("64x2")
    page.get_by_label("Batch size").fill("100")
    page.get_by_label("Epochs").fill("100000")
    page.get_by_label("Data set").select_option("digits")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="1 configuration x 1 seed = 1 job")).to_be_visible()
    take_picture(page, "submit")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("1 new job.")).to_be_visible()

    page.locator("tbody a").first.click()
    expect(page.locator("#accuracy .main-svg").first).to_be_visible()
    wait_until(lambda: count_points(page) > 0, "the first epoch is drawn")
    before = count_points(page)
    wait_until(lambda: count_points(page) > before + 5, "the curve grows")
    expect(page.locator("#update-status")).to_have_text("Live")
    take_picture(page, "growing")

    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("h1 .state")).to_have_text("cancelled")
    expect(page.locator("#update-status")).to_have_text("This page does not update by itself.")
    assert page.get_by_role("button", name="Retry").is_visible()
    take_picture(page, "cancelled")


def count_points(page: Page) -> int:
    """Count the epochs in the chart."""
    return page.evaluate("document.getElementById('accuracy').data?.[0].x.length ?? 0")


def test_a_user_compares_a_sweep_and_downloads_the_comparison(page, finished, served, tmp_path):
    terminal, _ = served
    page.goto(f"/compare?jobs={finished}")
    expect(page.locator("#curves .main-svg").first).to_be_visible()
    comparison = terminal.data("results", finished, "--compare")
    expect(page.locator(".conclusion")).to_have_text(comparison["conclusion"])
    assert page.locator(".verdict").all_inner_texts() == [
        row["verdict"] for row in comparison["rows"]
    ]

    page.get_by_label("Single runs").check()
    page.get_by_label("Log scale").check()
    page.get_by_label("Metric").select_option("valid_loss")
    chosen = ["log", 6, "Validation loss (nats)"]
    wait_until(lambda: read_figure(page) == chosen, "the choice is drawn")
    take_picture(page, "comparison")
    page.reload()
    wait_until(lambda: read_figure(page) == chosen, "the choice is in the address")

    png = download(page, "Learning curves as PNG", "button")
    assert png.startswith(b"\x89PNG")
    assert len(png) > 10_000
    rows = list(csv.DictReader(io.StringIO(download(page, "CSV").decode())))
    assert [row["verdict"] for row in rows] == page.locator(".verdict").all_inner_texts()
    assert download(page, "Markdown").startswith(b"Validation loss (nats)")


def read_figure(page: Page) -> list[object]:
    """Return the scale of the figure, the number of its traces, and its metric."""
    return page.evaluate(
        "[curves.layout?.yaxis.type, curves.data?.length, curves.layout?.yaxis.title.text]"
    )


def download(page: Page, name: str, role: str = "link") -> bytes:
    with page.expect_download() as taken:
        page.get_by_role(role, name=name, exact=True).click()
    return taken.value.path().read_bytes()


def test_a_page_without_a_stream_polls(browser, served):
    terminal, login = served
    with open_page(browser, login) as page, terminal.paused():
        page.route("**/stream*", lambda route: route.abort())
        page.goto("/")
        expect(page.locator("#update-status")).to_have_text("Updating every 5 seconds")

        (job,) = terminal.submit()

        listed = page.locator("#queue").get_by_role("link", name=str(job), exact=True)
        expect(listed).to_be_visible()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_fits_its_width_and_is_accessible(browser, served, paths, scheme, width):
    size = {"width": width, "height": 800}
    found = []
    with open_page(browser, served[1], viewport=size, color_scheme=scheme, bypass_csp=True) as page:
        for name, path in paths.items():
            page.goto(path)
            if page.locator(".chart:not([hidden])").count():
                expect(page.locator(".chart .main-svg").first).to_be_visible()
            take_picture(page, f"{name}-{width}-{scheme}")
            over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            found += [f"{name}: {over} px too wide"] if over > 0 else []
            found += [f"{name}: {violation}" for violation in list_violations(page)]
    assert not found


def list_violations(page: Page) -> list[str]:
    found = Axe().run(page)["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html']}" for each in found if each["impact"] in IMPACTS
    ]


def test_a_phone_shows_what_varies_and_the_verdicts(browser, served, finished, odd):
    with open_page(browser, served[1], viewport={"width": 390, "height": 800}) as page:
        page.goto(f"/compare?jobs={odd[0]}+{finished}")
        for cell in ("td.varying", "td.c-verdict", "td.c-difference:not(.none)"):
            boxes = [each.bounding_box() for each in page.locator(f"#comparison {cell}").all()]
            assert boxes
            assert all(box and 0 <= box["x"] <= 390 - box["width"] for box in boxes), cell
        take_picture(page, "verdicts-on-a-phone")


def test_a_chart_appears_with_the_first_epoch(page, served):
    terminal, _ = served
    with terminal.paused():
        (job,) = terminal.submit()
        page.goto(f"/jobs/{job}")
        expect(page.get_by_text("No epoch is finished yet.")).to_be_visible()
        expect(page.locator("#accuracy")).to_be_hidden()

    expect(page.locator("#accuracy .main-svg").first).to_be_visible()
    expect(page.get_by_text("No epoch is finished yet.")).to_be_hidden()


def test_the_keyboard_reaches_everything(page, finished):
    page.goto(f"/jobs?jobs={finished}")

    page.keyboard.press("Tab")
    assert read_focused(page) == "Skip to the content"
    page.keyboard.press("Enter")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(read_focused(page))

    assert {"Compare these", "Filter", "Cancel", "job"} <= set(reached)
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def read_focused(page: Page) -> str:
    return page.evaluate("document.activeElement.innerText || document.activeElement.name || ''")


def test_stored_text_runs_no_script(page, served):
    terminal, _ = served
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    terminal.run_jobs("--name", "<script>alert(1)</script>", "--tag", '"><img onerror=alert(2)>')

    for path in ("/", "/sweeps", "/jobs", "/compare"):
        page.goto(path)
        assert page.locator("main script:not([type]), main img").count() == 0
