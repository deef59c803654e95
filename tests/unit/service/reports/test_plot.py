import json
import re
import sys
from xml.etree import ElementTree

import pytest

from models.errors import DqError, UsageError
from models.metrics import EpochMetrics
from models.spec import ExperimentSpec
from models.state import JobState
from service.queries.rows import Curve
from service.reports.plot import save_plot

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
    """Two configurations, one of three seeds and one of two."""
    return [
        *(curve(seed, [0.5, 0.6 + seed / 10, 0.9], seed=seed) for seed in range(3)),
        *(curve(9 + seed, [0.4, 0.5, 0.6], seed=seed, keep=(0.9, 0.8, 0.8)) for seed in range(2)),
    ]


@pytest.fixture
def plotted(tmp_path):
    """Return a function that plots into a page and gives back its traces and layout."""

    def plot(curves, metric="valid_accuracy"):
        save_plot(curves, metric, tmp_path / "plot.html")
        page = (tmp_path / "plot.html").read_text()
        call = page[page.rindex("Plotly.newPlot(") :]
        decoder = json.JSONDecoder()
        traces, end = decoder.raw_decode(call, call.index("["))
        return traces, decoder.raw_decode(call, call.index("{", end))[0]

    return plot


def test_a_png_is_a_picture_with_more_than_one_colour(curves, tmp_path):
    from PIL import Image

    save_plot(curves, "valid_accuracy", tmp_path / "plot.png")

    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
        colors = {color for _, color in picture.convert("RGB").getcolors(1 << 24)}
    assert {(0, 0, 0), (0xE6, 0x9F, 0x00)} <= colors


def test_an_svg_is_well_formed(curves, tmp_path):
    save_plot(curves, "valid_accuracy", tmp_path / "plot.SVG")

    root = ElementTree.parse(tmp_path / "plot.SVG").getroot()
    assert root.tag.endswith("svg")
    assert len(list(root.iter())) > 100


def test_a_page_has_its_script_in_it_and_asks_nothing_of_the_network(curves, tmp_path):
    save_plot(curves, "valid_accuracy", tmp_path / "plot.html")

    page = (tmp_path / "plot.html").read_text()
    tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page)
    assert len(page) > 1_000_000
    assert not [tag for tag in tags if "src" in tag or "href" in tag]
    assert '"showSendToCloud": false' in page, "no button that uploads the figures"


def test_a_configuration_is_a_line_of_means_with_a_band_around_it(curves, plotted):
    traces, _ = plotted(curves)

    band, line, few_band, few_line = traces
    assert line["name"] == "no dropout (n = 3)"
    assert (line["x"], line["y"]) == ([1, 2, 3], pytest.approx([0.5, 0.7, 0.9]))
    assert line["text"] == ["3 seeds"] * 3
    # Out along the upper edge, back along the lower; of three seeds it is their range.
    assert band["x"] == [1, 2, 3, 3, 2, 1]
    assert band["y"] == pytest.approx([0.5, 0.8, 0.9, 0.9, 0.6, 0.5])
    assert few_line["name"] == "keep 0.9,0.8,0.8 (n = 2)"
    assert few_band["y"] == pytest.approx([0.4, 0.5, 0.6, 0.6, 0.5, 0.4])


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


def test_up_to_twenty_eight_curves_each_look_different(plotted):
    many = [curve(number, [0.5], lr=0.1 + number) for number in range(28)]

    traces, _ = plotted(many)

    looks = {tuple(sorted(trace["line"].items())) for trace in traces[1::2]}
    assert len(looks) == 28


def test_a_loss_that_explodes_does_not_set_the_axis(curves, plotted):
    _, calm = plotted(curves, "valid_loss")
    _, layout = plotted([*curves, curve(99, [1e9], lr=9.0)], "valid_loss")

    assert "range" not in calm["yaxis"]  # null would break a resize
    assert layout["yaxis"]["range"][1] == pytest.approx(2.302585)
    assert "worse than guessing is off the scale" in layout["title"]["subtitle"]["text"]


@pytest.mark.parametrize("name", ["plot.pdf", "plot", ".png"])
def test_another_suffix_is_refused_with_those_there_are(curves, tmp_path, name):
    with pytest.raises(UsageError, match=r"\.png, \.svg, \.html"):
        save_plot(curves, "valid_accuracy", tmp_path / name)

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
        save_plot(curves, "valid_accuracy", tmp_path / f"plot.{suffix}")

    assert not list(tmp_path.iterdir())


def test_a_plot_that_fails_leaves_the_one_before(curves, tmp_path, monkeypatch):
    path = tmp_path / "plot.html"
    path.write_text("before")
    monkeypatch.setattr("plotly.io.to_html", lambda *_, **__: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        save_plot(curves, "valid_accuracy", path)

    assert path.read_text() == "before"
    assert [found.name for found in tmp_path.iterdir()] == ["plot.html"]


def test_plotting_needs_no_display_and_leaves_no_figure_behind(curves, tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("MPLBACKEND", "tkagg")

    save_plot(curves, "valid_accuracy", tmp_path / "plot.png")

    assert (tmp_path / "plot.png").stat().st_size > 10_000
