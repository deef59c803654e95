import json
import re
import sys
from xml.etree import ElementTree

import pytest

from models.errors import DqError, UsageError
from models.metrics import EpochMetrics
from models.spec import ExperimentSpec
from models.state import JobState
from service.analysis.curves import average
from service.queries.rows import Curve
from service.reports.plots.curves import chart_curves
from service.reports.plots.files import save_curves

pytest.importorskip("matplotlib", reason="needs the extra: pip install 'dq[plot]'")
pytest.importorskip("plotly", reason="needs the extra: pip install 'dq[plot]'")

BASE = ExperimentSpec(hidden=(512, 512, 512))


def curve(job_id, figures, spec=BASE, **changes):
    epochs = [
        EpochMetrics(number, figure, 0.5, figure, figure, 1.0)
        for number, figure in enumerate(figures, start=1)
    ]
    return Curve(job_id, JobState.SUCCEEDED, spec.model_copy(update=changes), tuple(epochs))


@pytest.fixture
def curves():
    """Two configurations, one of four seeds and one of two."""
    return [
        *(curve(seed, [0.5, 0.6 + seed / 50, 0.9], seed=seed) for seed in range(4)),
        *(curve(9 + seed, [0.4, 0.5, 0.6], seed=seed, keep=(0.9, 0.8, 0.8)) for seed in range(2)),
    ]


@pytest.fixture
def plotted(tmp_path):
    """Return a function that plots into a page and gives back its traces and layout."""

    def plot(curves, metric="valid_accuracy"):
        save_curves(curves, metric, tmp_path / "plot.html")
        page = (tmp_path / "plot.html").read_text()
        call = page[page.rindex("Plotly.newPlot(") :]
        decoder = json.JSONDecoder()
        traces, end = decoder.raw_decode(call, call.index("["))
        return traces, decoder.raw_decode(call, call.index("{", end))[0]

    return plot


def test_a_png_is_a_picture_with_more_than_one_colour(curves, tmp_path):
    from PIL import Image

    save_curves(curves, "valid_accuracy", tmp_path / "plot.png")

    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
        colors = {color for _, color in picture.convert("RGB").getcolors(1 << 24)}
    assert {(0, 0, 0), (0xE6, 0x9F, 0x00)} <= colors


def test_an_svg_is_well_formed(curves, tmp_path):
    save_curves(curves, "valid_accuracy", tmp_path / "plot.SVG")

    root = ElementTree.parse(tmp_path / "plot.SVG").getroot()
    assert root.tag.endswith("svg")
    assert len(list(root.iter())) > 100


def test_a_page_has_its_script_in_it_and_asks_nothing_of_the_network(curves, tmp_path):
    save_curves(curves, "valid_accuracy", tmp_path / "plot.html")

    page = (tmp_path / "plot.html").read_text()
    tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page)
    assert len(page) > 1_000_000
    assert not [tag for tag in tags if "src" in tag or "href" in tag]
    assert '"showSendToCloud": false' in page, "no button that uploads the figures"


def test_a_configuration_is_a_line_of_means_with_a_band_around_it(curves, plotted):
    traces, layout = plotted(curves)

    band, line, few, runs = traces
    assert line["name"] == "no dropout (n = 4)"
    assert (line["x"], line["y"]) == ([1, 2, 3], pytest.approx([0.5, 0.63, 0.9]))
    assert line["text"][1] == (
        "<b>no dropout</b><br>epoch 2: 0.6300<br>95 % interval 0.4744..0.7856<br>4 seeds"
    )
    # Out along the upper edge, back along the lower.
    assert band["x"] == [1, 2, 3, 3, 2, 1]
    assert band["y"][1] + band["y"][4] == pytest.approx(2 * 0.63)
    assert band["y"][1] == pytest.approx(0.7856, abs=1e-4)
    assert few["name"] == "keep 0.9,0.8,0.8 (n = 2)"
    assert "too few seeds for an interval" in few["text"][0]
    assert runs["y"] == [0.4, 0.5, 0.6, None] * 2
    assert runs["text"][4] == "<b>keep 0.9,0.8,0.8</b><br>seed 1, job 10<br>epoch 1: 0.4000"
    assert (
        "thin: single seeds, where too few for an interval" in (layout["title"]["subtitle"]["text"])
    )


def test_single_runs_are_thin_lines_where_they_are_asked_for(curves):
    averaged = average(curves[:4], "valid_accuracy")

    plain, chosen = chart_curves(averaged), chart_curves(averaged, with_runs=True)

    assert len(plain.series) == 1
    _, runs = chosen.series
    assert [mark.x for mark in runs.marks if mark.x == mark.x] == [1, 2, 3] * 4
    assert runs.style.width < chosen.series[0].style.width


def test_a_wide_band_does_not_press_the_means_into_a_line(plotted):
    wild = [curve(seed, [0.80, 0.85, 0.80 + seed / 10], seed=seed) for seed in range(2)]
    wild += [curve(9 + seed, [0.80, 0.85, 0.85], seed=seed) for seed in range(2, 4)]

    (band, _), layout = plotted(wild)

    assert max(band["y"]) > 0.95
    assert layout["yaxis"]["range"] == pytest.approx([0.77, 0.88])


def test_of_many_curves_the_best_stand_out_and_the_rest_are_grey(plotted):
    many = [curve(number, [0.5, number / 20], lr=1.0 + number) for number in range(10)]

    traces, layout = plotted(many)

    assert [trace["name"] for trace in traces if trace["showlegend"]] == [
        "4 others",
        "lr 1 (n = 1)",
        *(f"lr {number} (n = 1)" for number in range(10, 5, -1)),
    ]
    grey = [trace for trace in traces if trace["line"]["color"] == "#7F8896"]
    assert [trace["text"][0].split("<br>")[0] for trace in grey] == [
        f"<b>lr {number}</b>" for number in range(2, 6)
    ]
    assert "grey: the 4 others" in layout["title"]["subtitle"]["text"]


def test_title_and_axes_name_data_set_metric_and_unit(curves, plotted):
    _, layout = plotted(curves, "valid_loss")

    assert layout["title"]["text"] == "Validation loss on 10,000 images of mnist, by epoch"
    assert layout["title"]["subtitle"]["text"].startswith("hidden 512x3, lr 0.1")
    assert layout["xaxis"]["title"]["text"] == "Epoch"
    assert layout["xaxis"]["dtick"] == 1, "no tick is between the three epochs"
    assert layout["yaxis"]["title"]["text"] == "Validation loss (nats)"


def test_the_figure_is_of_the_schema_that_plotly_validates(curves, plotted):
    from plotly.graph_objects import Figure

    traces, layout = plotted(curves)

    Figure(data=traces, layout=layout)


def test_text_that_people_typed_is_escaped(curves, plotted):
    hostile = curve(99, [0.5], mask="<script>alert(1)</script>&<b>")

    traces, _ = plotted([*curves, hostile])

    name = traces[-1]["name"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&lt;b&gt;" in name
    assert "<" not in name


def test_eight_curves_each_look_different(plotted):
    many = [curve(number, [0.5], lr=0.1 + number) for number in range(8)]

    traces, _ = plotted(many)

    looks = {tuple(sorted(trace["line"].items())) for trace in traces}
    assert len(looks) == 8


def test_a_loss_that_explodes_does_not_set_the_axis(curves, plotted):
    _, calm = plotted(curves, "valid_loss")
    _, layout = plotted([*curves, curve(99, [1e9], lr=9.0)], "valid_loss")

    assert calm["yaxis"]["range"][1] < 1.0
    assert layout["yaxis"]["range"][1] == pytest.approx(2.302585)
    assert "worse than guessing is off the scale" in layout["title"]["subtitle"]["text"]


@pytest.mark.parametrize("name", ["plot.pdf", "plot", ".png"])
def test_another_suffix_is_refused_with_those_there_are(curves, tmp_path, name):
    with pytest.raises(UsageError, match=r"\.png, \.svg, \.html"):
        save_curves(curves, "valid_accuracy", tmp_path / name)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "suffix"), [("matplotlib.figure", "png"), ("plotly.io", "html")]
)
def test_a_missing_package_is_named_with_what_installs_it(
    curves, tmp_path, monkeypatch, module, suffix
):
    monkeypatch.setitem(sys.modules, module, None)  # Python's way to say that there is none

    package = module.partition(".")[0]
    with pytest.raises(DqError, match=rf"needs {package}\. Type: pip install 'dq\[plot\]'"):
        save_curves(curves, "valid_accuracy", tmp_path / f"plot.{suffix}")

    assert not list(tmp_path.iterdir())


def test_a_plot_that_fails_leaves_the_one_before(curves, tmp_path, monkeypatch):
    path = tmp_path / "plot.html"
    path.write_text("before")
    monkeypatch.setattr("plotly.io.to_html", lambda *_, **__: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        save_curves(curves, "valid_accuracy", path)

    assert path.read_text() == "before"
    assert [found.name for found in tmp_path.iterdir()] == ["plot.html"]


def test_plotting_needs_no_display_and_leaves_no_figure_behind(curves, tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("MPLBACKEND", "tkagg")

    save_curves(curves, "valid_accuracy", tmp_path / "plot.png")

    assert (tmp_path / "plot.png").stat().st_size > 10_000
