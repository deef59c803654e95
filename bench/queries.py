"""Times what people ask of a database of a million jobs, by the functions that answer them."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, event, select, true

from bench.filling import SWEEP, Size, draw_specs, fill
from bench.section import TIME_COLUMNS, Section, judge, show, time_calls, time_once, time_row
from bench.servers import open_postgres
from models.database import Database
from models.errors import DatabaseUnreachable
from models.spec import ExperimentSpec
from models.tables import Job, Result
from service.analysis.comparison import compare
from service.jobs.known_jobs import find_known
from service.queries.epoch_choice import FINAL, parse_epoch_choice
from service.queries.estimate import estimate, estimate_remaining
from service.queries.jobs import count_states, list_compared_jobs, list_curves, list_jobs, show_job
from service.queries.pages import Page, PageRequest, parse_sort, read_page
from service.queries.progress import measure_progress
from service.queries.selectors import parse_selectors
from service.queries.where import parse_where
from service.queries.workers import is_paused, list_workers

#: Milliseconds that a person does not notice.
_TARGET = 300.0

_WHERE = "lr < 0.05 and keep[0] == 0.9 and valid_acc > 0.98"
_RARE = "lr < 0.05 and keep[0] == 0.9 and valid_acc > 0.991"
_COMMON = "keep == none and momentum in (0, 0.9) and not epochs < 12"
_NEVER = "lr < 0.05 and keep[0] == 0.9 and valid_acc > 0.9999"


@dataclass(frozen=True)
class _Case:
    """What a person types, and the calls that answer it; without a target, for information."""

    what: str
    call: Callable[[], object]
    target: float | None = _TARGET


def measure(jobs: int) -> Section:
    """Fill a PostgreSQL and time every case on it."""
    with open_postgres() as (server, settings):
        sizes: list[Size] = []
        seconds = time_once(lambda: sizes.append(fill(server.url("dq"), jobs)))
        database = Database(settings.sql_url)
        plans: list[str] = []
        rows = show(_measure(database, case, plans) for case in _list_cases(database))
        database.engine.dispose()
    size = sizes[0]
    about = (
        f"Filled in {seconds:.0f} s. Stock PostgreSQL with {size.jobs:,} jobs of "
        f"{size.configurations:,} configurations in {size.sweeps:,} sweeps, {size.results:,} "
        f"results, {size.epochs:,} epochs. Wall time of the functions, rows made and all; the "
        "median of 7 after a warm-up."
    )
    return Section("Queries", about, ["what is asked", *TIME_COLUMNS], rows, plans)


def _list_cases(database: Database) -> list[_Case]:
    return [*_list_pages(database), *_list_sweeps(database), *_list_states(database)]


def _list_pages(database: Database) -> Iterator[_Case]:
    def page(order: str, limit: int = 50, where: str = "", **more: Any) -> Callable[[], Page]:
        which: ColumnElement[bool] = parse_where(where) if where else true()
        request = PageRequest(parse_sort(order), limit, **more)
        return lambda: read_page(database, which, request)

    deep = _find_cursor(database)
    yield _Case("`dq results`", page("id"))
    yield _Case("`dq results --top 20`", page("valid_acc", 20))
    yield _Case("`dq results --sort valid_acc`", page("valid_acc"))
    yield _Case("`... --after` the middle of the list", page("valid_acc", after=deep))
    yield _Case("`dq results --sort valid_loss`", page("valid_loss"))
    yield _Case(f"`dq results --where '{_WHERE}'`", page("id", where=_WHERE))
    yield _Case("`... --sort valid_acc`", page("valid_acc", where=_WHERE))
    yield _Case("the same, with `valid_acc > 0.991`, which is rare", page("id", where=_RARE))
    yield _Case("the same, with `valid_acc > 0.9999`, which is never", page("id", where=_NEVER))
    for where in ("lr == 0.7", "keep[2] == 0.33", "layers == 9", "hidden == 77x3", "name == foo"):
        yield _Case(f"`dq results --where '{where}'`, which none has", page("id", where=where))
        yield _Case("`... --top 20`", page("valid_acc", 20, where=where))
    yield _Case(f"`dq results --where '{_COMMON}' --top 20`", page("valid_acc", 20, where=_COMMON))
    yield _Case("`dq results --sort lr`", page("lr"))
    fifth, best = parse_epoch_choice("epoch:5"), parse_epoch_choice("best:valid_loss")
    yield _Case(
        "`dq results --top 20 --at epoch:5`", page("valid_acc", 20, epoch_choice=fifth), None
    )
    yield _Case(
        "`dq results --top 20 --at best:valid_loss`", page("valid_acc", 20, epoch_choice=best), None
    )


def _list_sweeps(database: Database) -> Iterator[_Case]:
    sweep, last = parse_selectors([f"s{_middle(database)}"]), parse_selectors(["@last"])
    best = parse_epoch_choice("best:valid_loss")

    def comparing(epoch_choice: Any) -> Callable[[], object]:
        return lambda: compare(list_compared_jobs(database, sweep, epoch_choice))

    yield _Case(f"`dq results --compare s7`, {SWEEP} runs", comparing(FINAL))
    yield _Case("`... --at best:valid_loss`", comparing(best))
    yield _Case("`dq results s7 --curves`", lambda: list_curves(database, sweep))
    yield _Case("`dq results s7`", lambda: list_jobs(database, sweep, 50))
    yield _Case("`dq wait s7`, each look", lambda: measure_progress(database, sweep))
    yield _Case("`dq watch s7`, its estimate", lambda: estimate_remaining(database, sweep), None)
    yield _Case(
        "`dq watch @last`, its estimate, 20,000 jobs being ahead",
        lambda: estimate_remaining(database, last),
        None,
    )
    yield _Case("`dq wait @last`, each look", lambda: measure_progress(database, last))


def _list_states(database: Database) -> Iterator[_Case]:
    running, failed = parse_selectors(["state:running"]), parse_selectors(["state:failed"])
    specs = list(_repeat(10_000))

    def status() -> None:
        count_states(database)
        is_paused(database)
        list_jobs(database, running)
        list_workers(database)

    def known() -> object:
        with database.reading() as session:
            return find_known(session, specs)

    yield _Case("`dq status`", status)
    yield _Case("its `count_states`", lambda: count_states(database))
    yield _Case("its `list_jobs` of 200 that run", lambda: list_jobs(database, running))
    yield _Case("its `list_workers`, 200", lambda: list_workers(database))
    yield _Case("`dq results state:failed`", lambda: list_jobs(database, failed, 50))
    yield _Case("`dq show 7`", lambda: show_job(database, 7))
    yield _Case("`dq submit`, its estimate", lambda: estimate(database, specs[:100]))
    yield _Case("`dq submit`, `find_known` of 10,000 specs", known, 1000)
    everything = true()
    yield _Case("`measure_progress` of all", lambda: measure_progress(database, everything), None)


def _middle(database: Database) -> int:
    with database.reading() as session:
        return (session.scalar(select(Job.sweep_id).order_by(Job.id.desc()).limit(1)) or 2) // 2


def _find_cursor(database: Database) -> str:
    """Return what a page in the middle of the results by accuracy begins after."""
    middle = _middle(database) * SWEEP
    key = Result.valid_accuracy, Result.job_id
    query = select(*key).order_by(*(each.desc() for each in key)).offset(middle).limit(1)
    with database.reading() as session:
        accuracy, job_id = session.execute(query).one()
        return f"{accuracy!r},{job_id}"


def _repeat(number: int) -> Iterator[ExperimentSpec]:
    for spec in draw_specs(number // 5):
        yield from (spec.model_copy(update={"seed": seed}) for seed in range(5))


def _measure(database: Database, case: _Case, plans: list[str]) -> list[str]:
    """Return the row of a case; if it missed its target, add its slowest query's plan."""
    try:
        seconds = time_calls(case.call)
    except DatabaseUnreachable:  # statement_timeout
        is_met = False if case.target else None
        return [
            case.what,
            f"{case.target:g} ms" if case.target else "",
            "over 20 s",
            "",
            judge(is_met, "far"),
        ]
    row = time_row(case.what, seconds, case.target)
    if "missed" in row[-1]:
        plans.append(_explain(database, case))
    return row


def _explain(database: Database, case: _Case) -> str:
    """Return the plan of the slowest query of a case."""
    with _capturing(database) as statements:
        case.call()
    plans = [_plan(database, *each) for each in statements if each[0].startswith("SELECT")]
    slowest = max(plans, key=lambda plan: _milliseconds(plan[0]))
    words = ("actual", "Filter:", "Removed", "Sort Key")
    shown = [line[:140] for line in slowest if any(word in line for word in words)][:20]
    return "\n".join([f"Plan of {case.what}:", "```", *shown, "```"])


def _plan(database: Database, statement: str, parameters: Any) -> Sequence[str]:
    options = "ANALYZE, COSTS OFF, BUFFERS OFF, SUMMARY OFF"
    with database.reading() as session:
        explained = f"EXPLAIN ({options}) {statement}"
        return [row[0] for row in session.connection().exec_driver_sql(explained, parameters)]


def _milliseconds(line: str) -> float:
    found = re.search(r"actual time=[\d.]+\.\.([\d.]+)", line)
    return float(found[1]) if found else 0.0


@contextmanager
def _capturing(database: Database) -> Iterator[list[tuple[str, Any]]]:
    statements: list[tuple[str, Any]] = []

    def note(*about: Any) -> None:
        statements.append((about[2], about[3]))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
