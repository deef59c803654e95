"""The epoch of a training whose metrics count: final, best:METRIC or epoch:N."""

import re
from dataclasses import dataclass

from sqlalchemy import ColumnElement, literal, select
from sqlalchemy.orm import aliased

from models.errors import UsageError
from models.metrics import EPOCH_METRICS, HIGHER_IS_BETTER
from models.tables import Epoch, Job

_MOST_DIGITS = 10


@dataclass(frozen=True)
class EpochChoice:
    """The epoch of each job with this number, or the best by this metric; else its last."""

    metric: str | None = None
    epoch: int | None = None

    def __str__(self) -> str:
        if self.metric:
            return f"best:{self.metric}"
        return f"epoch:{self.epoch}" if self.epoch else "final"

    @property
    def is_final(self) -> bool:
        """Whether it is the last epoch, whose metrics are the result."""
        return self == FINAL

    def condition(self) -> ColumnElement[bool]:
        """Return the condition that joins each job with its chosen epoch."""
        return (Epoch.job_id == Job.id) & (Epoch.epoch == self._number())

    def _number(self) -> ColumnElement[int]:
        if self.metric is None:
            return Job.epochs_done + 0 if self.epoch is None else literal(self.epoch)
        candidate = aliased(Epoch)
        value = getattr(candidate, self.metric)
        best_first = value.desc() if HIGHER_IS_BETTER[self.metric] else value
        best = select(candidate.epoch).where(candidate.job_id == Job.id)
        best = best.order_by(best_first, candidate.epoch).limit(1)
        return best.correlate(Job).scalar_subquery()


FINAL = EpochChoice()


def parse_epoch_choice(text: str) -> EpochChoice:
    """Return the choice that `--at` gives; raise UsageError for anything else."""
    kind, _, value = text.partition(":")
    if text == "final":
        return FINAL
    if kind == "epoch" and re.fullmatch(r"\d+", value, re.ASCII):
        return EpochChoice(epoch=_parse_epoch(value))
    if kind == "best" and (metric := expand_metric_name(value)) in EPOCH_METRICS:
        return EpochChoice(metric=metric)
    raise UsageError(
        f"--at {text}: give final, epoch:5, or best:METRIC of {', '.join(EPOCH_METRICS)}"
    )


def _parse_epoch(digits: str) -> int:
    if len(digits) > _MOST_DIGITS or not 0 < int(digits) < 2**31:
        raise UsageError(f"--at epoch:{digits:.40}: epochs are numbered from 1 to 2,147,483,647")
    return int(digits)


def expand_metric_name(text: str) -> str:
    """Return a metric's full name: valid_acc is valid_accuracy."""
    return f"{text}uracy" if text.endswith("_acc") else text
