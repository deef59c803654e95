"""What a user does on the page of a comparison: sorts, looks at points, zooms; wide and narrow."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from acceptance.conftest import Terminal
from e2e.conftest import open_page, take_picture
from servers import wait_until

RATES = ("none", "0.9", "0.8", "0.7", "0.6", "0.5", "0.4", "0.3", "0.2")
SMALL = ("--dataset", "digits", "--hidden", "16", "--batch-size", "100", "--epochs", "6")
CHARTS = ("rates", "differences", "curves")
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 800},
    "has_touch": True,
    "is_mobile": True,
}


def submit(terminal: Terminal, *words: str) -> str:
    """Run a sweep to its end; return its selector."""
    sweep = terminal.data("submit", *words, "--force")
    assert terminal.dq("wait", f"s{sweep['sweep']}").returncode == 0
    return f"s{sweep['sweep']}"


@pytest.fixture(scope="module")
def rates(served: tuple[Terminal, str]) -> str:
    """A sweep of nine rates with four seeds each."""
    chosen = [word for rate in RATES for word in ("--dropout", rate)]
    return submit(served[0], *SMALL, *chosen, "--seeds", "4")


@pytest.fixture(scope="module")
def wide(served: tuple[Terminal, str]) -> str:
    """Two configurations that differ in so many fields that their table is wider than a page."""
    changed = ("--dropout", "0.8", "--input-keep", "0.8", "--mask", "sample", "--momentum", "0.5")
    others = ("--lr", "0.05", "--max-norm", "2", "--lr-decay", "0.99", "--train-size", "600")
    plain = submit(served[0], *SMALL, "--seeds", "2")
    return f"{plain}+{submit(served[0], *SMALL, *changed, *others, '--seeds', '2')}"


@pytest.fixture(params=[DESKTOP, PHONE], ids=["wide", "narrow"])
def size(request: pytest.FixtureRequest) -> dict[str, Any]:
    chosen: dict[str, Any] = request.param
    return chosen


@pytest.fixture
def page(browser: Browser, served: tuple[Terminal, str], size: dict[str, Any]) -> Iterator[Page]:
    """A page without errors on its console, on a desktop and on a phone."""
    errors: list[str] = []
    with open_page(browser, served[1], **size) as opened:
        opened.on("console", lambda it: errors.append(it.text) if it.type == "error" else None)
        opened.on("pageerror", lambda error: errors.append(str(error)))
        yield opened
    assert not errors


def open_comparison(page: Page, selector: str) -> None:
    page.goto(f"/compare?jobs={selector}")
    expect(page.locator("#curves .main-svg").first).to_be_visible()


def list_means(page: Page) -> list[float]:
    """List the means of all rows but the baseline, which is first in every order."""
    cells = page.locator("#comparison td.c-mean").all_inner_texts()
    return [float(re.findall(r"\d\.\d+", cell)[0]) for cell in cells[1:]]


def test_headings_sort_both_ways_by_mouse_and_keyboard_and_an_update_keeps_the_order(page, rates):
    open_comparison(page, rates)
    heading = page.locator("#comparison th.c-mean")
    unsorted = list_means(page)

    heading.get_by_role("link").click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    assert list_means(page) == sorted(unsorted) != unsorted
    heading.get_by_role("link").press("Enter")
    expect(heading).to_have_attribute("aria-sort", "descending")
    assert list_means(page) == sorted(unsorted, reverse=True)
    assert heading.get_by_role("link").evaluate("it => it === document.activeElement")
    page.evaluate("refresh()")
    page.get_by_label("Metric").select_option("valid_loss")

    expect(page.get_by_role("link", name="CSV")).to_have_attribute("href", re.compile("loss"))
    expect(heading).to_have_attribute("aria-sort", "descending")
    assert list_means(page) == sorted(list_means(page), reverse=True)
    page.reload()
    expect(heading).to_have_attribute("aria-sort", "descending")
    take_picture(page, f"sorted-{page.viewport_size['width']}")


def test_the_verdict_stays_in_view(page, wide):
    open_comparison(page, wide)
    width = page.viewport_size["width"]

    for scrolled in (0, 10_000):
        page.locator("#comparison .scroll").evaluate(f"it => {{ it.scrollLeft = {scrolled}; }}")
        boxes = [each.bounding_box() for each in page.locator("#comparison td.c-verdict").all()]
        assert len(boxes) == 2
        assert all(0 <= box["x"] <= width - box["width"] for box in boxes)
    is_wider = "it => it.scrollWidth > it.clientWidth"
    assert page.locator("#comparison .scroll").evaluate(is_wider) is (width == 1280)
    take_picture(page, f"verdict-{width}")


#: The middle of a chart's last line, in the coordinates of the window.
_FIND_POINT = """chart => {
  chart.scrollIntoView({ block: "center" });
  const trace = chart.data.findLast((each) => each.showlegend) ?? chart.data.at(-1);
  const point = Math.floor((trace.x.length - 1) / 2);
  const { left, top } = chart.getBoundingClientRect();
  const { xaxis, yaxis } = chart._fullLayout;
  const x = xaxis._offset + xaxis.d2p(trace.x[point]);
  return [left + x, top + yaxis._offset + yaxis.d2p(trace.y[point])];
}"""


def point_at(page: Page, chart: Locator) -> None:
    """Point at a chart's point as the device does."""
    x, y = chart.evaluate(_FIND_POINT)
    if is_phone(page):
        page.touchscreen.tap(x, y)
    else:
        page.mouse.move(x + 30, y + 30)
        page.mouse.move(x, y, steps=4)


def is_phone(page: Page) -> bool:
    return bool(page.viewport_size["width"] == 390)


def check_tooltip(chart: Locator, *parts: str) -> None:
    """Check that a tooltip says this, and is whole within the window."""
    tooltip = chart.locator(".hovertext")
    expect(tooltip).to_be_visible()
    for part in parts:
        expect(tooltip).to_contain_text(re.compile(part))
    box, window = tooltip.bounding_box(), chart.page.viewport_size
    assert 0 <= box["x"] <= window["width"] - box["width"]
    assert 0 <= box["y"] <= window["height"] - box["height"]
    hidden = "it => getComputedStyle(it).overflow"
    assert {each.evaluate(hidden) for each in chart.locator(".main-svg").all()} == {"visible"}


TOOLTIPS: dict[str, tuple[str, ...]] = {
    "rates": (r"keep 0\.\d|no dropout", r"mean 0\.\d{4} of 4 seeds", r"interval|too few"),
    "differences": (r"keep 0\.\d", r"pt over 4 shared seeds", "95 % interval", r"p \d|more|wait"),
    "curves": (r"keep 0\.\d|no dropout", r"epoch 3: 0\.\d{4}", "95 % interval", "4 seeds"),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_tooltip_is_whole_and_names_configuration_figure_and_interval(page, rates, name):
    open_comparison(page, rates)
    chart = page.locator(f"#{name}")

    point_at(page, chart)

    check_tooltip(chart, *TOOLTIPS[name])
    take_picture(page, f"tooltip-{name}-{page.viewport_size['width']}")


@pytest.mark.parametrize("name", CHARTS)
def test_the_arrow_keys_move_the_tooltip_from_point_to_point(page, rates, name):
    open_comparison(page, rates)
    chart = page.locator(f"#{name}")
    chart.focus()

    chart.press("ArrowRight")
    first = chart.locator(".hovertext").text_content()
    chart.press("ArrowDown")
    chart.press("ArrowRight")
    wait_until(lambda: chart.locator(".hovertext").text_content() != first, "the tooltip moves")
    check_tooltip(chart)
    chart.press("Escape")

    expect(chart.locator(".hovertext")).to_have_count(0)


def read_ranges(chart: Locator) -> list[list[float]]:
    return chart.evaluate("it => [it._fullLayout.xaxis.range, it._fullLayout.yaxis.range]")


def drag_by_mouse(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=5)
    page.mouse.up()


def drag_by_finger(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        at = [{"x": x, "y": y} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    touch("touchStart", start)
    for part in range(1, 6):
        moved = [a + (b - a) * part / 5 for a, b in zip(start, end, strict=True)]
        touch("touchMove", (moved[0], moved[1]))
    touch("touchEnd")


def zoom(page: Page, chart: Locator, button: Locator) -> None:
    """Drag over the middle of a chart; on a phone, press its button first."""
    drag: Callable[..., None] = drag_by_finger if is_phone(page) else drag_by_mouse
    if is_phone(page):
        button.click()
        expect(button).to_have_text("Drag over the chart")
    chart.evaluate("it => it.scrollIntoView({ block: 'center' })")
    box = chart.locator(".nsewdrag").bounding_box()
    x, y, width, height = (box[key] for key in ("x", "y", "width", "height"))
    drag(page, (x + 0.3 * width, y + 0.2 * height), (x + 0.8 * width, y + 0.7 * height))


def test_a_zoom_of_the_curves_can_be_reset(page, rates):
    open_comparison(page, rates)
    chart, button = page.locator("#curves"), page.locator("[data-zooms=curves]")
    whole = read_ranges(chart)
    expect(button).to_be_visible(visible=is_phone(page))

    zoom(page, chart, button)

    expect(button).to_be_visible()
    expect(button).to_have_text("Reset zoom")
    zoomed = read_ranges(chart)
    assert all(a[0] < b[0] and b[1] < a[1] for a, b in zip(whole, zoomed, strict=True))
    page.evaluate("drawFigures({ force: true })")
    assert read_ranges(chart) == zoomed, "an update keeps it"
    take_picture(page, f"zoomed-{page.viewport_size['width']}")
    button.click()
    wait_until(lambda: read_ranges(chart) == whole, "all is shown again")
    expect(button).to_be_visible(visible=is_phone(page))


def test_another_metric_or_scale_is_not_zoomed(page, rates):
    open_comparison(page, rates)
    chart, button = page.locator("#curves"), page.locator("[data-zooms=curves]")
    for choose in (
        lambda: page.get_by_label("Metric").select_option("valid_loss"),
        lambda: page.get_by_label("Log scale").check(),
    ):
        zoom(page, chart, button)
        expect(button).to_have_text("Reset zoom")
        zoomed = read_ranges(chart)

        choose()

        expect(button).to_have_text("Zoom")
        assert read_ranges(chart) != zoomed
        assert read_ranges(chart)[0] == pytest.approx([1, 6], abs=0.6)


def test_a_finger_scrolls_the_page_over_a_chart(browser, served, rates):
    with open_page(browser, served[1], **PHONE) as page:
        open_comparison(page, rates)
        chart = page.locator("#curves")
        chart.evaluate("it => it.scrollIntoView({ block: 'center' })")
        whole, before = read_ranges(chart), page.evaluate("scrollY")
        box = chart.bounding_box()

        x, y = box["x"] + 200, box["y"] + 50
        drag_by_finger(page, (x, y), (x, y + 200))

        wait_until(lambda: page.evaluate("scrollY") < before - 50, "the page is scrolled")
        assert read_ranges(chart) == whole
