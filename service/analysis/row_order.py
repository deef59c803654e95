"""Sorts the rows of a comparison, and leaves out all but the best."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.errors import UsageError
from models.metrics import HIGHER_IS_BETTER
from models.spec import ExperimentSpec
from service.analysis.comparison import Comparison, ComparisonRow

#: The figures by which rows can be sorted, each with the row's field; intervals by their low end.
_FIGURES = {
    "mean": "mean",
    "diff": "difference",
    "p": "p_holm",
    "n": "n",
    "verdict": "verdict",
    "interval": "low",
    "diff_interval": "difference_low",
    "sd": "std",
    "range": "minimum",
    "missing": "missing",
    "strata": "strata",
}
#: What rows can be sorted by.
ROW_FIELDS = (*_FIGURES, *(name for name in ExperimentSpec.model_fields if name != "seed"))


@dataclass(frozen=True)
class RowOrder:
    """By what rows are sorted; one without a value comes last, and the baseline first."""

    field: str
    is_descending: bool

    def sort(self, rows: Sequence[ComparisonRow]) -> tuple[ComparisonRow, ...]:
        """Return the rows in this order; those of one value keep theirs."""
        with_value = [row for row in rows if self._get(row) is not None]
        with_value.sort(key=self._get, reverse=self.is_descending)
        without = [row for row in rows if self._get(row) is None]
        return tuple(sorted([*with_value, *without], key=lambda row: row.verdict != "baseline"))

    def _get(self, row: ComparisonRow) -> Any:
        if self.field in _FIGURES:
            return getattr(row, _FIGURES[self.field])
        value = getattr(row.spec, self.field)
        return math.inf if value is None else value  # all images, no limit


def parse_row_order(text: str, metric: str) -> RowOrder:
    """Return the order that "diff" or "lr:asc" means; raise UsageError for an unknown name.

    Without a direction, means and differences are sorted from the best on, p from the lowest, all
    else from the highest.
    """
    field, _, direction = text.partition(":")
    if field not in ROW_FIELDS or direction not in {"", "asc", "desc"}:
        raise UsageError(
            f"--sort {text}: with --compare, give one of {', '.join(ROW_FIELDS)}, and :asc or :desc"
        )
    is_descending = HIGHER_IS_BETTER[metric] if field in {"mean", "diff"} else field != "p"
    return RowOrder(field, direction == "desc" if direction else is_descending)


def arrange(comparison: Comparison, sort: str | None = None, top: int | None = None) -> Comparison:
    """Return the comparison with sorted rows; with `top`, only the baseline and the N best others.

    The best by the metric, that is: by the mean, or where rows are pooled over strata, of which
    some may lack a few, by the difference. p and verdicts stay as they are.
    """
    best = parse_row_order("diff" if comparison.by else "mean", comparison.metric)
    if top:
        shown = {row.label for row in best.sort(comparison.rows)[: top + 1]}
        comparison = _select(comparison, shown)
    if not (sort or top):
        return comparison
    return _sort(comparison, parse_row_order(sort, comparison.metric) if sort else best)


def _select(comparison: Comparison, labels: set[str]) -> Comparison:
    def select(rows: Sequence[ComparisonRow]) -> tuple[ComparisonRow, ...]:
        return tuple(row for row in rows if row.label in labels)

    strata = [replace(each, rows=select(each.rows)) for each in comparison.strata]
    return replace(
        comparison,
        rows=select(comparison.rows),
        strata=tuple(stratum for stratum in strata if stratum.rows),
    )


def _sort(comparison: Comparison, order: RowOrder) -> Comparison:
    return replace(
        comparison,
        rows=order.sort(comparison.rows),
        strata=tuple(replace(each, rows=order.sort(each.rows)) for each in comparison.strata),
    )
