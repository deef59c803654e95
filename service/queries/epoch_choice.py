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
    """Which epoch of each job counts: the one given, the best by a metric, or else the last."""

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
        other = aliased(Epoch)
        value = getattr(other, self.metric)
        best_first = value.desc() if HIGHER_IS_BETTER[self.metric] else value
        best = select(other.epoch).where(other.job_id == Job.id).order_by(best_first, other.epoch)
        return best.limit(1).correlate(Job).scalar_subquery()


FINAL = EpochChoice()


def parse_epoch_choice(text: str) -> EpochChoice:
    """Read "final", "best:valid_loss" or "epoch:5"; raise UsageError for anything else."""
    kind, _, value = text.partition(":")
    if text == "final":
        return FINAL
    if kind == "epoch" and re.fullmatch(r"\d+", value, re.ASCII):
        return EpochChoice(epoch=_read_epoch(value))
    if kind == "best" and (metric := expand_metric_name(value)) in EPOCH_METRICS:
        return EpochChoice(metric=metric)
    raise UsageError(
        f"--at {text}: give final, epoch:5, or best:METRIC of {', '.join(EPOCH_METRICS)}"
    )


def _read_epoch(digits: str) -> int:
    if len(digits) > _MOST_DIGITS or not 0 < int(digits) < 2**31:
        raise UsageError(f"--at epoch:{digits:.40}: epochs are numbered from 1 to 2,147,483,647")
    return int(digits)


def expand_metric_name(text: str) -> str:
    """Return a metric's whole name: valid_acc is valid_accuracy."""
    return f"{text}uracy" if text.endswith("_acc") else text
