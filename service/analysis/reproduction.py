"""Published tables: what was reported, the jobs that repeat it, and whether they agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from models.errors import DqError, UsageError
from models.metrics import HIGHER_IS_BETTER
from models.spec import ExperimentSpec
from service.analysis.comparison import ComparisonRow, compare
from service.queries.rows import ComparedJob
from service.specs.grid import build_spec
from service.specs.parsing import parse_row

_FOLDER = Path(__file__).parent / "reproductions"
#: 1 - accuracy, as papers report it; on the spec's evaluation images.
TEST_ERROR = "test_error"
_METRICS = {*HIGHER_IS_BETTER, TEST_ERROR}


class NotMet(DqError):
    """Our figures contradict what was published."""

    exit_code = 4


class NotEnoughEvidence(DqError):
    """Our figures neither agree with nor contradict what was published."""

    exit_code = 5


class Verdict(StrEnum):
    """Whether our jobs agree with one reported figure, or with one claim."""

    #: They agree with it.
    MET = "met"
    #: They contradict it.
    NOT_MET = "not met"
    #: They are too few, or their spread is too large, to say.
    UNDECIDED = "not enough evidence"
    #: They are of a smaller stand-in, which has other figures.
    NOT_COMPARABLE = "a stand-in: not comparable"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reported(_Frozen):
    """A row of a published table: the spec that repeats it, and what was reported of it."""

    cell: str
    spec: dict[str, Any]
    #: By metric, the figures of one or more runs.
    reported: dict[str, Annotated[list[float], Field(min_length=1)]]
    #: By metric, how far from their mean ours may be.
    tolerance: dict[str, Annotated[float, Field(ge=0)]]

    @model_validator(mode="after")
    def _has_known_metrics(self) -> Self:
        if unknown := self.reported.keys() - _METRICS:
            raise ValueError(f"{self.cell!r}: unknown metric {min(unknown)!r}")
        if missing := self.reported.keys() ^ self.tolerance.keys():
            raise ValueError(f"{self.cell!r}: give {min(missing)!r} both reported and tolerance")
        return self


class PublishedClaim(_Frozen):
    """A publication's claim that one of its rows is better than another."""

    better: str
    than: str
    metric: str = "valid_accuracy"

    @field_validator("metric")
    @classmethod
    def _is_known(cls, metric: str) -> str:
        if metric not in _METRICS:
            raise ValueError(f"unknown metric {metric!r}")
        return metric


class Scale(_Frozen):
    """A smaller stand-in for all rows."""

    says: str
    #: What it changes in each spec; `width` is that of every hidden layer.
    spec: dict[str, Any]


class PublishedTable(_Frozen):
    """A publication's table, as a YAML file holds it."""

    version: int
    title: str
    citation: str
    assumptions: list[str] = []
    #: How many seeds to run by default.
    seeds: Annotated[int, Field(ge=1)] = 3
    rows: Annotated[list[Reported], Field(min_length=1)]
    claims: list[PublishedClaim] = []
    scales: dict[str, Scale] = {}

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        cells = [row.cell for row in self.rows]
        if twice := [cell for cell in cells if cells.count(cell) > 1]:
            raise ValueError(f"two rows are named {twice[0]!r}")
        for claim in self.claims:
            if not {claim.better, claim.than} <= set(cells) or claim.better == claim.than:
                raise ValueError(f"{claim.better!r} and {claim.than!r} are no two rows")
        return self


@dataclass(frozen=True)
class ReproductionRow:
    """One reported figure beside ours; an interval needs four seeds."""

    cell: str
    metric: str
    reported: float
    tolerance: float
    n: int
    mean: float | None
    low: float | None
    high: float | None
    verdict: Verdict

    @property
    def deviation(self) -> float | None:
        """Ours minus theirs."""
        return None if self.mean is None else self.mean - self.reported


@dataclass(frozen=True)
class ClaimRow:
    """One claim, our difference, and whether it agrees."""

    better: str
    than: str
    metric: str
    difference: float | None
    p: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Reproduction:
    """A published table beside our jobs."""

    table: PublishedTable
    scale: Scale | None
    rows: tuple[ReproductionRow, ...]
    claims: tuple[ClaimRow, ...]

    def check(self) -> None:
        """Raise NotMet or NotEnoughEvidence unless everything comparable is met."""
        verdicts = [row.verdict for row in self.rows] + [row.verdict for row in self.claims]
        if count := verdicts.count(Verdict.NOT_MET):
            raise NotMet(f"Not met: {count} of {len(verdicts)} published figures and claims.")
        if count := verdicts.count(Verdict.UNDECIDED):
            raise NotEnoughEvidence(
                f"Not enough evidence yet: {count} of {len(verdicts)} published figures and "
                "claims. More seeds may help: add --seeds"
            )


def list_shipped() -> list[str]:
    """Return the names of the tables that ship with dq."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_table(name: str) -> PublishedTable:
    """Return a table that ships with dq, or one in a YAML file; raise UsageError otherwise."""
    path = _FOLDER / f"{name}.yaml" if name in list_shipped() else Path(name)
    if not path.is_file():
        shipped = ", ".join(list_shipped())
        raise UsageError(f"There is no table {name!r}: give one of {shipped}, or a YAML file")
    try:
        return PublishedTable.model_validate(yaml.safe_load(path.read_text()))
    # PyYAML lets its constructors' own errors through: `!!bool perhaps` is a KeyError.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} is not a published table: {_first_line(error)}") from error


def find_scale(table: PublishedTable, name: str | None) -> Scale | None:
    """Return the stand-in of that name; None is the full size."""
    if name is None or name == "full":
        return None
    if name not in table.scales:
        known = ", ".join(["full", *table.scales])
        raise UsageError(f"--scale {name}: this table has {known}")
    return table.scales[name]


def list_specs(table: PublishedTable, scale: Scale | None) -> list[ExperimentSpec]:
    """Return the spec of each row, in their order."""
    return [_spec(row, scale) for row in table.rows]


def judge(table: PublishedTable, scale: Scale | None, jobs: Sequence[ComparedJob]) -> Reproduction:
    """Compare the jobs with what was reported."""
    configurations = {
        row.cell: spec.configuration
        for row, spec in zip(table.rows, list_specs(table, scale), strict=True)
    }
    rows = [
        _judge_figure(row, metric, scale, _find(jobs, configurations[row.cell], metric))
        for row in table.rows
        for metric in row.reported
    ]
    claims = [_judge_claim(claim, configurations, jobs) for claim in table.claims]
    return Reproduction(table, scale, tuple(rows), tuple(claims))


def _spec(row: Reported, scale: Scale | None) -> ExperimentSpec:
    fields = dict(row.spec)
    if scale:
        change = dict(scale.spec)
        width = change.pop("width", None)
        if width is not None:
            layers = len(build_spec(parse_row(fields, row.cell)).hidden)
            change["hidden"] = [width] * layers
        fields |= change
    return build_spec(parse_row(fields, row.cell))


def _find(jobs: Sequence[ComparedJob], configuration: str, metric: str) -> ComparisonRow | None:
    """Return our figures of a configuration, if there are any."""
    own = [job for job in jobs if job.spec.configuration == configuration and job.metrics]
    return compare(own, _our_metric(metric)).baseline if own else None


def _our_metric(metric: str) -> str:
    return "valid_accuracy" if metric == TEST_ERROR else metric


def _judge_figure(
    row: Reported, metric: str, scale: Scale | None, found: ComparisonRow | None
) -> ReproductionRow:
    reported = sum(row.reported[metric]) / len(row.reported[metric])
    mean, low, high = (found.mean, found.low, found.high) if found else (None, None, None)
    if metric == TEST_ERROR:
        mean, low, high = _complement(mean), _complement(high), _complement(low)
    band = reported - row.tolerance[metric], reported + row.tolerance[metric]
    return ReproductionRow(
        cell=row.cell,
        metric=metric,
        reported=reported,
        tolerance=row.tolerance[metric],
        n=found.n if found else 0,
        mean=mean,
        low=low,
        high=high,
        verdict=Verdict.NOT_COMPARABLE if scale else _judge_interval(mean, low, high, band),
    )


def _judge_interval(
    mean: float | None, low: float | None, high: float | None, band: tuple[float, float]
) -> Verdict:
    """Say whether a mean lies in a band; it contradicts if its whole interval is outside."""
    if mean is None:
        return Verdict.UNDECIDED
    if band[0] <= mean <= band[1]:
        return Verdict.MET
    if low is None or high is None or (low <= band[1] and high >= band[0]):
        return Verdict.UNDECIDED
    return Verdict.NOT_MET


def _judge_claim(
    claim: PublishedClaim, configurations: Mapping[str, str], jobs: Sequence[ComparedJob]
) -> ClaimRow:
    row = _compare_two(jobs, claim, configurations[claim.better], configurations[claim.than])
    difference = row.difference if row else None
    if difference is not None and claim.metric == TEST_ERROR:
        difference = -difference
    verdicts = {"better": Verdict.MET, "worse": Verdict.NOT_MET}
    return ClaimRow(
        better=claim.better,
        than=claim.than,
        metric=claim.metric,
        difference=difference,
        p=row.p if row else None,
        verdict=verdicts.get(row.verdict, Verdict.UNDECIDED) if row else Verdict.UNDECIDED,
    )


def _compare_two(
    jobs: Sequence[ComparedJob], claim: PublishedClaim, better: str, than: str
) -> ComparisonRow | None:
    """Compare two configurations, if they are two and both have figures."""
    pair = {better, than}
    involved = [job for job in jobs if job.spec.configuration in pair]
    measured = {job.spec.configuration for job in involved if job.metrics}
    if len(measured) < 2:  # noqa: PLR2004
        return None
    return compare(involved, _our_metric(claim.metric), than).rows[1]


def _complement(value: float | None) -> float | None:
    return None if value is None else 1 - value


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        if first["type"] == "model_type":
            return "it must have version, title, citation, seeds and rows"
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).splitlines()[0]
