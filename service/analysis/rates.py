"""Orders the rows of a comparison by keep rate, a line for each stratum."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from models.spec import ExperimentSpec
from service.analysis.comparison import Comparison, ComparisonRow
from service.analysis.prominence import choose_prominent
from service.analysis.strata import group_by_stratum
from service.formatting import describe_fields


@dataclass(frozen=True)
class RateLine:
    """The measured rows of one stratum, from the lowest keep rate to the highest."""

    #: What sets the stratum apart; empty where there is only one.
    label: str
    rows: tuple[ComparisonRow, ...]
    #: Whether it stands out.
    is_prominent: bool = True


def find_keep_rate(spec: ExperimentSpec) -> float:
    """Return the keep rate of the hidden layers; where they differ, the mean."""
    return round(statistics.fmean(spec.keep), 9)


def has_one_rate(spec: ExperimentSpec) -> bool:
    """Whether all hidden layers have the same keep rate."""
    return len({*spec.keep}) == 1


def list_rate_lines(comparison: Comparison) -> list[RateLine]:
    """List the lines, or none if no stratum has rows of different rates."""
    measured = [row for row in _list_rows(comparison) if row.mean is not None]
    strata = group_by_stratum(measured, {"keep"})
    if all(len({find_keep_rate(row.spec) for row in rows}) == 1 for rows in strata):
        return []
    prominent = choose_prominent(
        strata,
        lambda rows: _find_best(comparison, rows),
        lambda rows: comparison.baseline in rows,
    )
    names = [name for name in (*comparison.by, *comparison.varying) if name != "keep"]
    return [
        RateLine(
            describe_fields(rows[0].spec, names),
            tuple(sorted(rows, key=lambda row: find_keep_rate(row.spec))),
            rows in prominent,
        )
        for rows in strata
    ]


def _list_rows(comparison: Comparison) -> list[ComparisonRow]:
    """List the rows of single configurations; those that are pooled over strata are not."""
    strata = [row for stratum in comparison.strata for row in stratum.rows]
    return strata if comparison.by else list(comparison.rows)


def _find_best(comparison: Comparison, rows: Sequence[ComparisonRow]) -> float:
    """Return the best mean; higher is better, whatever the metric."""
    sign = 1 if comparison.higher_is_better else -1
    return max(sign * row.mean for row in rows if row.mean is not None)
