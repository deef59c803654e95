"""Groups configurations into strata: those that are equal but for the factors under study."""

from collections.abc import Collection, Iterable
from typing import Protocol, TypeVar

from models.spec import ExperimentSpec
from service.formatting import format_field


class _HasSpec(Protocol):
    @property
    def spec(self) -> ExperimentSpec: ...


_T = TypeVar("_T", bound=_HasSpec)


def group_by_stratum(items: Iterable[_T], factors: Collection[str]) -> list[list[_T]]:
    """Group rows, samples or jobs whose specs are equal in all fields but seed and `factors`.

    Groups and their items keep the order of `items`. Values are compared as written, as by
    `find_varying`.
    """
    groups: dict[tuple[str, ...], list[_T]] = {}
    for item in items:
        groups.setdefault(_name_stratum(item.spec, {"seed", *factors}), []).append(item)
    return list(groups.values())


def _name_stratum(spec: ExperimentSpec, ignored: Collection[str]) -> tuple[str, ...]:
    return tuple(format_field(name, value) for name, value in spec if name not in ignored)
