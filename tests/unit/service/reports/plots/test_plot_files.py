import re
from xml.etree import ElementTree

import pytest
from PIL import Image

from models.errors import DqError, UsageError
from service.analysis.comparison import compare
from service.reports.plots.files import save_comparison
from unit.service.reports.comparisons import make_configurations

RATES = ({}, {"keep": (0.8,) * 3}, {"keep": (0.5,) * 3})


@pytest.fixture
def comparison():
    return compare(make_configurations(RATES))


def test_a_comparison_is_a_picture_of_the_rates_above_the_differences(comparison, tmp_path):
    no_rates = compare(make_configurations([{}, {"lr": 0.3}, {"lr": 0.5}]))

    save_comparison(comparison, "final", tmp_path / "both.png")
    save_comparison(no_rates, "final", tmp_path / "one.png")

    with Image.open(tmp_path / "both.png") as both, Image.open(tmp_path / "one.png") as one:
        colors = {color for _, color in both.convert("RGB").getcolors(1 << 24)}
        assert both.height > one.height + 500
        assert both.width == one.width
    assert (0, 0x9E, 0x73) in colors, "better"


def test_a_comparison_as_svg_is_well_formed(comparison, tmp_path):
    save_comparison(comparison, "final", tmp_path / "plot.svg")

    root = ElementTree.parse(tmp_path / "plot.svg").getroot()
    assert root.tag.endswith("svg")
    assert len(list(root.iter())) > 100


def test_a_comparison_as_a_page_has_two_figures_and_the_script_once(comparison, tmp_path):
    save_comparison(comparison, "final", tmp_path / "plot.html")

    page = (tmp_path / "plot.html").read_text()
    tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page)
    assert len(re.findall(r'class="plotly-graph-div"', page)) == 2
    assert 1_000_000 < len(page) < 8_000_000
    assert not [tag for tag in tags if "src" in tag or "href" in tag]


def test_the_moment_is_in_the_title(comparison, tmp_path):
    save_comparison(comparison, "best:valid_loss", tmp_path / "plot.html")

    assert "at best:valid_loss, higher is better" in (tmp_path / "plot.html").read_text()


def test_where_there_is_no_difference_the_error_says_what_else_to_plot(tmp_path):
    alone = compare(make_configurations([{}]))

    with pytest.raises(DqError, match="Leave out --compare for the curves"):
        save_comparison(alone, "final", tmp_path / "plot.png")

    assert not list(tmp_path.iterdir())


def test_another_suffix_is_refused_for_a_comparison_too(comparison, tmp_path):
    with pytest.raises(UsageError, match=r"\.png, \.svg, \.html"):
        save_comparison(comparison, "final", tmp_path / "plot.pdf")
