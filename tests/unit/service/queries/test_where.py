import operator
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from models.clock import now
from models.errors import UsageError
from models.metrics import HIGHER_IS_BETTER
from models.spec import ExperimentSpec
from models.tables import Base, Job, Result, Sweep, SweepMember, Tag
from service.queries.where import parse_where

#: What a job has no value of: a metric before its end, a layer too many.
ABSENT = object()
#: Whether a condition is met by what is absent. As in SQL, `not` does not change it.
UNKNOWN = None

KEYWORDS = {"and", "or", "not", "in", "none"}
NASTY = ("it's", 'say "hi"', "none", "And", "a b", "ünï", "🙂", "';--", "%s", "\\", "\n", "", "1")
SIGNS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
PRIORITIES = {0: "high", 3: "normal", 6: "low"}


@dataclass(frozen=True)
class Example:
    """A job as the database holds it."""

    spec: ExperimentSpec
    state: str = "queued"
    name: str | None = None
    tags: tuple[str, ...] = ()
    sweeps: tuple[int, ...] = (1,)
    attempt: int = 0
    priority: int = 3
    metrics: tuple[float, ...] = ()


def digits(**fields):
    return ExperimentSpec.model_validate({"dataset": "digits", "batch_size": 100, **fields})


def mnist(**fields):
    return ExperimentSpec.model_validate({"hidden": (64, 32, 16), **fields})


EXAMPLES = [
    Example(digits(hidden=(64,))),
    Example(digits(hidden=(64, 64), keep=(0.9, 0.8), lr=0.05, seed=1), name="it's", tags=("a",)),
    Example(
        mnist(hidden=(64, 64, 64), seed=2**53 + 1, evaluation="test"),
        state="succeeded",
        name="a b",
        sweeps=(2, 3),
        attempt=1,
        priority=0,
        metrics=(0.9, 0.3, 0.98, 0.1, 60.0),
    ),
    Example(
        mnist(train_size=1000, keep=(0.9, 0.8, 0.8), lr=1e-05, max_norm=3.5, mask="sample"),
        state="succeeded",
        tags=("a", "none"),
        sweeps=(2,),
        attempt=2,
        priority=6,
        metrics=(0.95, 0.25, 1.0, 1e-300, 12.5),
    ),
    Example(digits(hidden=(64,), keep=(0.9,), epochs=11, momentum=0.95), "failed", "none"),
    Example(digits(hidden=(9, 8, 7, 6), lr=0.1 + 0.2, lr_decay=0.5), "running", "🙂", ("ünï",)),
    Example(digits(hidden=(64, 64), train_size=500, lr=0.3, input_keep=0.8), "cancelled", "\n"),
]


@cache
def connect():
    """Return a connection to a database in memory that holds the examples, the first as job 1."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    connection = engine.connect()
    for sweep in (1, 2, 3):
        row = {"id": sweep, "submit_token": str(sweep), "created_at": now()}
        connection.execute(insert(Sweep).values(row))
    for job_id, job in enumerate(EXAMPLES, 1):
        add(connection, job_id, job, job.spec.model_dump(mode="json"))
    return connection


def add(connection, job_id, job, spec):
    row = {"id": job_id, "sweep_id": job.sweeps[0], "ordinal": job_id, "spec": spec}
    row |= {name: getattr(job, name) for name in ("state", "name", "attempt", "priority")}
    row |= {
        "configuration": "",
        "shape": "",
        "max_crashes": 3,
        "stall_seconds": 1,
    }
    connection.execute(insert(Job).values(**row, created_at=now()))
    for sweep in job.sweeps[1:]:
        connection.execute(insert(SweepMember).values(sweep_id=sweep, job_id=job_id))
    for tag in job.tags:
        connection.execute(insert(Tag).values(tag=tag, job_id=job_id))
    if job.metrics:
        row = dict(zip(HIGHER_IS_BETTER, job.metrics, strict=True))
        connection.execute(
            insert(Result).values(job_id=job_id, attempt=1, trainer_version=1, **row)
        )


def chosen(text):
    """Return the ids of the examples that meet a condition."""
    return list(connect().scalars(select(Job.id).where(parse_where(text)).order_by(Job.id)))


# What a condition means, said in Python: nodes that know their truth for a job, and their text.


def value_of(job, field):
    name, is_layer, index = field.rstrip("]").partition("[")
    if is_layer:
        layers = getattr(job.spec, name)
        return layers[int(index)] if int(index) < len(layers) else ABSENT
    if name in HIGHER_IS_BETTER:
        return dict(zip(HIGHER_IS_BETTER, job.metrics, strict=False)).get(name, ABSENT)
    others = {
        "id": EXAMPLES.index(job) + 1,
        "layers": len(job.spec.hidden),
        "epochs_done": 0,
        "tag": {*job.tags},
        "sweep": {*job.sweeps},
    }
    return others[name] if name in others else getattr(job.spec, name, getattr(job, name, None))


def is_equal(field, have, wanted):
    if isinstance(have, set):
        return wanted in have if wanted is not None else not have
    if field == "keep" and wanted is None:
        return all(keep == 1 for keep in have)
    return have == wanted


def all_of(truths):
    truths = [*truths]
    return False if False in truths else UNKNOWN if UNKNOWN in truths else True


def negate(truth):
    return UNKNOWN if truth is UNKNOWN else not truth


@dataclass(frozen=True)
class Comparison:
    field: str
    sign: str
    value: Any
    is_mirrored: bool = False
    level = 3

    def truth(self, job):
        have = value_of(job, self.field)
        if have is ABSENT:
            return UNKNOWN
        if self.sign in {"==", "!="}:
            return is_equal(self.field, have, self.value) is (self.sign == "==")
        return UNKNOWN if have is None else SIGNS[self.sign](have, self.value)

    def show(self, style):
        if self.is_mirrored and isinstance(self.value, int | float | str):
            sides = style.first(self.value), MIRRORED[self.sign], self.field
        else:
            sides = self.field, self.sign, style.value(self.field, self.value)
        return style.gap().join(sides)


@dataclass(frozen=True)
class Range:
    low: Comparison
    high: Comparison
    level = 3

    def truth(self, job):
        return all_of([self.low.truth(job), self.high.truth(job)])

    def show(self, style):
        low = style.first(self.low.value), MIRRORED[self.low.sign]
        high = self.high.sign, style.value(self.high.field, self.high.value)
        return style.gap().join((*low, self.low.field, *high))


@dataclass(frozen=True)
class Among:
    field: str
    values: tuple[Any, ...]
    is_negated: bool
    level = 3

    def truth(self, job):
        others = [Comparison(self.field, "!=", value).truth(job) for value in self.values]
        return all_of(others) if self.is_negated else negate(all_of(others))

    def show(self, style):
        values = ",".join(style.value(self.field, value, is_alone=False) for value in self.values)
        word = style.word("not in" if self.is_negated else "in")
        return f"{self.field} {word}{style.gap()}({values}{style.pick('', ',')})"


@dataclass(frozen=True)
class Not:
    part: Any
    level = 2

    def truth(self, job):
        return negate(self.part.truth(job))

    def show(self, style):
        return f"{style.word('not')} {style.nest(self.part, 2)}"


@dataclass(frozen=True)
class And:
    parts: tuple[Any, ...]
    level = 1

    def truth(self, job):
        return all_of(part.truth(job) for part in self.parts)

    def show(self, style):
        return f" {style.word('and')}\t".join(style.nest(part, 1) for part in self.parts)


@dataclass(frozen=True)
class Or:
    parts: tuple[Any, ...]
    level = 0

    def truth(self, job):
        return negate(all_of(negate(part.truth(job)) for part in self.parts))

    def show(self, style):
        return f"\n{style.word('or')} ".join(style.nest(part, 0) for part in self.parts)


class Style:
    """Chooses among the ways to write the same; parentheses stand where they must, or at will."""

    def __init__(self, random):
        self.pick = lambda *ways: random.choice(ways)

    def gap(self):
        return self.pick("", " ", "\n  ")

    def word(self, word):
        return self.pick(word, word.upper())

    def nest(self, node, level):
        text = node.show(self)
        return f"({text})" if node.level < level or self.pick(False, False, True) else text

    def value(self, field, value, *, is_alone=True):
        if value is None:
            return self.pick("none", "None")
        if isinstance(value, tuple):
            return self.layers(value, is_alone)
        if isinstance(value, str):
            return self.text(value)
        if field == "sweep":
            return self.pick(f"s{value}", f"{value}")
        names = [PRIORITIES[value]] if field == "priority" and value in PRIORITIES else []
        return self.pick(repr(value), repr(value).upper(), f"{value:+}", *names)

    def first(self, value):
        """Write a value before its field, where a bare word would be a field."""
        return self.pick(*self.quotations(value)) if isinstance(value, str) else repr(value)

    def quotations(self, value):
        return [quote + value.replace(quote, quote * 2) + quote for quote in "'\""]

    def text(self, value):
        is_bare = re.fullmatch(r"[^\W_][\w-]*", value) and value.lower() not in KEYWORDS
        return self.pick(*self.quotations(value), *([value] if is_bare else []))

    def layers(self, values, is_alone):
        items = ",".join(map(repr, values))
        ways = [f"({items})", f"({items},)"]
        if len({*values}) == 1:
            ways.append(f"{values[0]!r}x{len(values)}")
        if is_alone and len(values) > 1:
            ways.append(items)
        return self.pick(*ways)


ORDERED = [
    *("lr", "batch_size", "epochs", "input_keep", "momentum", "lr_decay", "seed", "layers", "id"),
    *("train_size", "max_norm", "epochs_done", "attempt", "priority"),
    *("keep[0]", "keep[2]", "hidden[1]", *HIGHER_IS_BETTER),
]
UNORDERED = [
    *("dataset", "mask", "evaluation", "precision", "state", "name", "tag", "sweep"),
    *("hidden", "keep"),
]
OTHER_VALUES = {
    "name": NASTY,
    "tag": NASTY,
    "dataset": ["fashion-mnist"],
    "hidden": [(64, 64), (9, 8, 7), (9, 8, 7, 6, 5)],
    "keep": [(1.0,), (1.0, 1.0), None],
    "sweep": [4],
    "seed": [2**53, 2**63 - 1, -1],
    "id": [2**31, -(2**62)],
    "lr": [1e300, 0.30000000000000004, 5e-324],
}


@cache
def values(field):
    """Return what to compare a field with: what the jobs have, and more."""
    had = [value_of(job, field) for job in EXAMPLES]
    scalars = [each for value in had for each in (value if isinstance(value, set) else [value])]
    found = [*scalars, *OTHER_VALUES.get(field, [None] if field == "tag" else [])]
    return list(dict.fromkeys(value for value in found if value is not ABSENT))


@st.composite
def comparisons(draw, fields=(*ORDERED, *UNORDERED), signs=tuple(SIGNS)):
    field = draw(st.sampled_from(fields))
    value = draw(st.sampled_from(values(field)))
    fitting = signs if field in ORDERED and value is not None else ("==", "!=")
    return Comparison(field, draw(st.sampled_from(fitting)), value, draw(st.booleans()))


@st.composite
def ranges(draw):
    field = draw(st.sampled_from(ORDERED))
    numbers = [value for value in values(field) if value is not None]
    sides = [(draw(st.sampled_from([*SIGNS])), draw(st.sampled_from(numbers))) for _ in range(2)]
    return Range(*(Comparison(field, *side) for side in sides))


@st.composite
def memberships(draw):
    field = draw(st.sampled_from([*ORDERED, *UNORDERED]))
    picked = draw(st.lists(st.sampled_from(values(field)), min_size=1, max_size=3))
    return Among(field, tuple(picked), draw(st.booleans()))


def expressions(depth=3):
    leaves = comparisons() | ranges() | memberships()
    if not depth:
        return leaves
    deeper = expressions(depth - 1)
    several = st.lists(deeper, min_size=2, max_size=3).map(tuple)
    return leaves | deeper.map(Not) | several.map(And) | several.map(Or)


@given(expressions(), st.randoms(use_true_random=False))
def test_a_condition_selects_the_jobs_that_python_selects(expression, random):
    text = expression.show(Style(random))

    selected = chosen(text)

    assert selected == [n for n, job in enumerate(EXAMPLES, 1) if expression.truth(job) is True]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("id == 1 or id == 2 and id == 3", "id == 1 or (id == 2 and id == 3)"),
        ("id == 1 and id == 2 or id == 3", "(id == 1 and id == 2) or id == 3"),
        ("not id == 1 and id <= 2", "(not id == 1) and id <= 2"),
        ("not id == 1 or id == 1", "(not id == 1) or id == 1"),
        ("not not id == 1", "id == 1"),
        ("not (id < 3 or state == failed)", "id >= 3 and state != failed"),
        ("not 1 < id < 5", "id <= 1 or id >= 5"),
        ("1 < id < 5 != attempt", "id > 1 and id < 5"),
        ("1 == id", "id == 1"),
        ("'it''s' == name", 'name == "it\'s"'),
        ("id not in (1, 2)", "id > 2"),
        ("NOT id IN (1, 2)", "id > 2"),
        ("((((id==1))))", "id == 1"),
        ("lr<.1", "lr < 0.1"),
        ("lr<-1 or id==1", "id == 1"),
        ("lr == 1e-05", "lr == 0.00001"),
        ("lr == +1E-1", "lr == 0.1"),
        ("batch_size == 1e3", "batch_size == 1000"),
        ("valid_acc > 0.9", "valid_accuracy > 0.9"),
        ("train_acc >= 0", "state == succeeded"),
        ("hidden == 64x2", "hidden == (64, 64)"),
        ("hidden == 64,64", "hidden == (64, 64)"),
        ("hidden == (64x2, 64)", "hidden == 64x3"),
        ("hidden in (64x1, (64, 64))", "hidden == (64) or hidden == 64x2"),
        ("64x2 == hidden", "hidden == 64x2"),
        ("hidden != 64x2", "id not in (2, 7)"),
        ("keep != none", "keep[0] < 1"),
        ("priority == high", "priority == 0"),
        ("sweep == s3", "sweep == 3"),
        ("tag == none", "id in (1, 3, 5, 7)"),
        ("tag == 'none'", "id == 4"),
        ("name == 'none'", "id == 5"),
        ("name == none", "id in (1, 3, 4) and id != 3"),
    ],
)
def test_other_ways_to_write_a_condition_select_the_same_jobs(text, meaning):
    assert chosen(text) == chosen(meaning)


def test_unfinished_jobs_meet_no_comparison_of_a_metric_nor_its_negation():
    assert chosen("valid_acc >= 0.95 or not valid_acc >= 0.95") == [3, 4]
    assert chosen("valid_acc != 0.95") == [3]
    assert chosen("not (valid_acc == 0.95 or seed == 5)") == [3]


def test_a_missing_layer_meets_no_comparison():
    assert chosen("keep[3] == 1 or keep[3] != 1") == [6]
    assert chosen("not hidden[1] == 64") == [4, 6]


def test_none_is_a_value_for_equality_and_has_no_order():
    assert chosen("train_size != 1000 and train_size != none") == [7]
    assert chosen("not train_size == 1000") == [1, 2, 3, 5, 6, 7]
    assert chosen("train_size < 1000 or not train_size < 1000") == [4, 7]


@pytest.mark.parametrize("field", ExperimentSpec.model_fields)
def test_every_field_of_a_spec_can_be_compared(field):
    value = value_of(EXAMPLES[3], field)

    assert 4 in chosen(f"{field} == {value!r}")
    assert 4 not in chosen(f"{field} != {value!r}")


def test_a_job_from_before_the_spec_had_a_field_has_its_default():
    first = {"dataset", "train_size", "hidden", "keep", "lr", "batch_size", "epochs", "seed"}
    spec = {name: value for name, value in EXAMPLES[0].spec.model_dump().items() if name in first}
    defaults = {name: value for name, value in EXAMPLES[0].spec if name not in first}
    texts = [f"{name} == {value}" for name, value in defaults.items()]
    connection = connect()

    with connection.begin_nested() as nested:
        add(connection, 99, EXAMPLES[0], spec)
        found = [99 in chosen(text) for text in texts]
        nested.rollback()

    assert texts
    assert found == [True] * len(texts)


def test_only_fields_of_the_spec_with_the_default_none_may_be_none():
    """Otherwise the field of an older row would be none here, and its default when it is read."""
    fields = ExperimentSpec.model_fields.items()
    nullable = {
        name for name, info in fields if type(None) in getattr(info.annotation, "__args__", ())
    }

    assert nullable == {name for name, info in fields if info.default is None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--where '': a field is missing"),
        (" \n", "--where '': a field is missing"),
        ("lr", "--where 'lr': a comparison is missing after 'lr'"),
        ("lr <", "--where 'lr <': a value is missing after <"),
        ("lr < and seed == 1", "--where 'lr < ...': a value is missing after <"),
        ("lr < 1 and", "--where 'lr < 1 and': a field is missing after and"),
        ("(" * 10_000, f"--where '...{'(' * 60}': a field is missing after ("),
        ("lr < 1 or (valid_acc", "valid_acc': a comparison is missing after 'valid_acc'"),
        ("(1 < lrr", "--where '(1 < lrr': unknown field 'lrr' (did you mean lr?): the fields are "),
        ("lr not 1", "--where 'lr not ...': in is missing after not"),
        ("lr 0.1", "--where 'lr ...': a comparison is missing after 'lr'"),
        ("0.1 < 0.2", "--where '0.1 < 0.2': unknown field '0.2': the fields are dataset, "),
        ("'lr' < 0.2", "--where \"'lr' < 0.2\": unknown field '0.2': the fields are "),
        ("lrr < 1", "--where 'lrr ...': unknown field 'lrr' (did you mean lr?): the fields are da"),
        ("tag:x", "--where 'tag:x': unknown field 'tag:x' (did you mean tag?): the fields are "),
        ("(lr < 1", "--where '(lr < 1': ) is missing after '1'"),
        ("lr < 1)", "--where 'lr < 1 ...': ')' is not expected here"),
        (
            "name == my run",
            "--where 'name == my ...': 'run' is not expected here: "
            "put and, or, or quotes around the whole text",
        ),
        ("name == 'my run", "--where \"name == ' ...\": the quote ' is not closed"),
        ("lr = 1", "--where 'lr = ...': = is not known: write =="),
        ("lr < 1 && lr > 0", "--where 'lr < 1 && ...': && is not known: write and"),
        ("lr <> 1", "--where 'lr <> ...': <> is not known: write !="),
        ("lr * 2 < 1", "--where 'lr * ...': '*' is not known: put quotes around text"),
        ("lr < x", "--where 'lr < x': lr is a number, which 'x' is not"),
        ("lr < nan", "--where 'lr < nan': lr is a number, which 'nan' is not"),
        ("lr < 1e999", "--where 'lr < 1e999': '1e999' is too large for lr"),
        ("lr < 1_0", "--where 'lr < 1_0': lr is a number, which '1_0' is not"),
        ("lr < \u0661", "lr is a number, which '\u0661' is not"),
        ("lr == none", "--where 'lr == none': lr is a number, which none is not"),
        (
            "lr == (1, 2)",
            "--where 'lr == (1, 2)': lr is a number, and no list: "
            "write lr in (...) for one of several",
        ),
        ("lr[0] == 1", "--where 'lr[0] ...': lr is a number, and no list: leave out [0]"),
        ("seed < 1.5", "--where 'seed < 1.5': seed is a whole number, which '1.5' is not"),
        (f"seed < {2**63}", f"--where 'seed < {2**63}': '{2**63}' is too large for seed"),
        (f"id > {'9' * 5000}", "--where '..."),
        ("train_size == all", "train_size is a whole number or none, which 'all' is not"),
        ("train_size < none", "none has no order: compare it with ==, != or in"),
        (
            "state == done",
            "state is one of queued, running, succeeded, failed, cancelled, which 'd",
        ),
        (
            "dataset == minst",
            "dataset is one of mnist, fashion-mnist, digits, which 'minst' is not",
        ),
        ("mask == Batch", "mask is one of batch, sample, which 'Batch' is not"),
        ("sweep == x7", "sweep is a sweep, such as s7, which 'x7' is not"),
        ("priority == urgent", "priority is high, normal, low or a number, which 'urgent' is not"),
        ("state < failed", "--where 'state < failed': state has no order: compare it with ==, !="),
        ("hidden < (64, 64)", "hidden has no order"),
        ("sweep > 3", "sweep has no order"),
        ("tag < a", "tag has no order"),
        (
            "keep == 0.9",
            "--where 'keep == 0.9': keep has a value for each hidden layer: "
            "write keep[0] == 0.9, keep == 0.9x3 or keep == (0.9, 0.9)",
        ),
        ("hidden == none", "hidden is a whole number, which none is not"),
        ("keep == (0.9, none)", "keep is a number, which none is not"),
        ("hidden == 64x0", "'64x0' is not 1 to 100 layers"),
        ("hidden == 64x101", "'64x101' is not 1 to 100 layers"),
        ("hidden == ()", "--where 'hidden == ( ...': a value is missing after ("),
        ("keep[-1] == 1", "--where 'keep[-1 ...': '-1' is not the number of a layer, from 0"),
        ("keep[] == 1", "--where 'keep[ ...': the number of a layer, from 0, is missing after ["),
        ("keep[0 == 1", "--where 'keep[0 ...': ] is missing after '0'"),
        ("seed in 1", "--where 'seed in ...': ( is missing after in"),
        ("seed in (1 2)", "--where 'seed in (1 ...': ) is missing after '1'"),
        ("tag in ((a, b))", "tag is text or none, and no list"),
        ("seed in (1) == 1", "--where 'seed in (1) ...': '==' is not expected here"),
        ("name == '\0'", "--where \"name == '\\x00 ...\": '\\x00' is no character of a text"),
        ("name == \udcff", "--where 'name == \\udcff': '\\udcff' is no character of a text"),
    ],
)
def test_an_error_shows_where_it_is_and_what_to_write(text, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_where(text)


def test_an_unknown_field_is_refused_with_the_known_ones():
    with pytest.raises(UsageError) as caught:
        parse_where("x == 1")

    assert all(f" {name}," in str(caught.value) for name in ExperimentSpec.model_fields)
    assert str(caught.value).endswith("seconds, valid_acc, train_acc")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 4_000 + "id == 1" + ")" * 4_000,
        "(" * 21 + "id == 1" + ")" * 21,
        "name == '" + "x" * 1_000_000 + "'",
        "(" * 1_000_000,
        " or ".join(["id == 1"] * 301),
        f"id in ({','.join(['1'] * 301)})",
        f"hidden in ({','.join(['8x100'] * 4)})",
        f"hidden == ({','.join(['8x100'] * 1_400)})",
    ],
)
def test_a_huge_condition_is_refused_in_a_short_message(text):
    with pytest.raises(UsageError, match=r"more than|longer than") as caught:
        parse_where(text)

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("(" * 20 + "id == 1" + ")" * 20, [1]),
        ("not " * 2_000 + "id == 1", [1]),
        ("not (id != 1 or " * 20 + "id == 1" + ")" * 20, [1]),
        (" or ".join(["id == 1"] * 300), [1]),
        (" and ".join(["hidden[0] != 1"] * 300), [1, 2, 3, 4, 5, 6, 7]),
        ("not (" * 20 + " and ".join(["valid_loss > 0"] * 300) + ")" * 20, [3, 4]),
        (f"hidden in ({','.join(['64x100'] * 2)}) or id == 1", [1]),
    ],
)
def test_the_largest_conditions_are_accepted(text, selected):
    assert chosen(text) == selected


def test_one_value_more_than_the_largest_condition_has_is_refused():
    with pytest.raises(UsageError, match="more than 300 values"):
        chosen(f"hidden in ({','.join(['64x100'] * 3)}) or id == 1")


PIECES = [
    *(
        "and",
        "or",
        "not",
        "in",
        "(",
        ")",
        "[",
        "]",
        ",",
        "none",
        "'",
        '"',
        "''",
        "0",
        "1e5",
        "64x3",
    ),
    *SIGNS,
    *ORDERED,
    *UNORDERED,
    *NASTY,
]


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join)
    | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
)
@example("9" * 5_000)
@example("lr < " + "9" * 9_000)
@example("keep[" + "9" * 9_000 + "] == 1")
@example("hidden == 8x" + "9" * 9_000)
@example("sweep == " + "9" * 9_000)
def test_any_text_is_a_condition_or_a_usage_error(text):
    try:
        parsed = select(Job.id).where(parse_where(text))
    except UsageError:
        return
    connect().scalars(parsed).all()
    parsed.compile(dialect=postgresql.dialect())


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()])
@pytest.mark.parametrize("text", ["name == '{}'", "tag == '{}'", "tag in (a, '{}')", "name!='{}'"])
@pytest.mark.parametrize("hostile", ["x' OR 1=1 --", 'zq"; DROP TABLE jobs', "zq%(id)s :zq ?"])
def test_text_reaches_sql_only_as_a_bound_parameter(dialect, text, hostile):
    written = text.format(hostile.replace("'", "''"))

    compiled = parse_where(written).compile(dialect=dialect)

    assert "OR 1" not in str(compiled)
    assert "zq" not in str(compiled)
    assert hostile in compiled.params.values()


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.booleans())
def test_any_text_between_quotes_is_compared_unchanged(name, is_double):
    quote = '"' if is_double else "'"

    compiled = parse_where(f"name == {quote}{name.replace(quote, quote * 2)}{quote}").compile()

    assert list(compiled.params.values()) == [name]
