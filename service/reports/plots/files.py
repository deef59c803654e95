"""Saves charts as PNG, SVG or HTML, by the name of the file."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from models.errors import DqError, UsageError
from service.analysis.comparison import Comparison
from service.analysis.curves import average
from service.queries.rows import Curve
from service.reports.comparison_table import title_comparison
from service.reports.output_file import writing_output
from service.reports.plots.chart import Chart
from service.reports.plots.curves import chart_curves
from service.reports.plots.differences import chart_differences
from service.reports.plots.matplotlib_figure import save_picture
from service.reports.plots.plotly_figure import save_page
from service.reports.plots.rates import chart_rates

_SAVERS: Mapping[str, Callable[[Sequence[Chart], Path], None]] = {
    ".png": partial(save_picture, format="png"),
    ".svg": partial(save_picture, format="svg"),
    ".html": save_page,
}


def save_curves(curves: Sequence[Curve], metric: str, path: Path) -> None:
    """Save the learning curve of each configuration.

    Raises UsageError as `average` does, and for a suffix other than .png, .svg and .html; DqError
    if the package that draws is missing.
    """
    save = _find_saver(path)
    _save([chart_curves(average(curves, metric))], save, path)


def save_comparison(comparison: Comparison, epoch_choice: str, path: Path) -> None:
    """Save the metric by keep rate, where rates differ, and the differences from the baseline.

    Raises DqError if there is no difference yet, and as `save_curves` does.
    """
    save = _find_saver(path)
    title = title_comparison(comparison, epoch_choice)
    found = (chart_rates(comparison, title), chart_differences(comparison, title))
    charts = [chart for chart in found if chart]
    if not charts:
        raise DqError(
            "There is no difference to draw: no configuration shares a finished seed with "
            f"{comparison.baseline.label}. Leave out --compare for the curves"
        )
    _save(charts, save, path)


def _find_saver(path: Path) -> Callable[[Sequence[Chart], Path], None]:
    if save := _SAVERS.get(path.suffix.lower()):
        return save
    raise UsageError(f"{path}: a plot's name ends in {', '.join(_SAVERS)}")


def _save(
    charts: Sequence[Chart], save: Callable[[Sequence[Chart], Path], None], path: Path
) -> None:
    with writing_output(path) as part:
        save(charts, part)
