"""Requests that schemathesis makes up from the OpenAPI document, on real servers."""

from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as options
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.config import SchemathesisConfig

from integration import rows
from integration.rows import measured_all, spec, submit
from integration.web import BEARING, TOKEN
from models.database import Database
from models.settings import Settings
from service.web.app import make_app
from service.web.auth import Access
from worker.execution.recorder import AttemptUpdate, Recorder

#: Of each mode for each operation that has a parameter.
EXAMPLES = 30
#: 400 is for words of the right kind that make no sense together: grammars are not in the document.
CONFIG = SchemathesisConfig.from_dict(
    {"checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", 400, 404]}}}
)
#: Of text that is made up the grammars would let nothing through.
SENSE = {
    "where": ["lr < 0.05 and keep[0] == 0.5", "tag == paper", "state in (queued, failed)"],
    "sort": ["valid_acc", "lr:asc", "seed", "id:asc"],
    "at": ["final", "best:valid_loss", "epoch:2"],
}


@pytest.fixture
def backend() -> str:
    """The database that refuses more."""
    return "postgresql"


@pytest.fixture
def schema(
    settings: Settings, database: Database, recorder: Recorder
) -> schemathesis.schemas.BaseSchema:
    """The document of an application that holds some jobs, one with a result."""
    first, *_ = submit(database, spec(), spec(seed=1), spec(keep=(0.5,)), tags=("paper",))
    claim = rows.claim(recorder, first)
    rows.succeed(recorder, claim, AttemptUpdate(measured_all()))
    app = make_app(settings, database, Access(TOKEN), names=["testserver"])
    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, config=CONFIG)


@pytest.mark.timeout(600)
def test_no_made_up_request_gets_an_answer_that_the_document_does_not_promise(schema):
    asked: list[str] = []

    for operation in schema.get_all_operations():
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _ask(operation.ok(), mode, asked)

    assert len(asked) > 500
    assert set(asked) == {each.ok().label for each in schema.get_all_operations()}


def _ask(operation, mode: GenerationMode, asked: list[str]) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @options(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Case) -> None:
        asked.append(operation.label)
        if mode is GenerationMode.POSITIVE:
            _make_sense(case)
        case.call_and_validate(headers=BEARING)

    with suppress(Unsatisfiable):  # without a parameter there is nothing to be wrong
        ask()


def _make_sense(case: Case) -> None:
    """Put what the grammars know in the place of what was made up."""
    for name, words in SENSE.items():
        if case.query and name in case.query:
            case.query[name] = words[len(str(case.query[name])) % len(words)]
    for each in case.body["specs"] if isinstance(case.body, dict) and "specs" in case.body else ():
        # FastAPI writes the limit as a float, 190 more than it is.
        each["seed"] = int(each.get("seed", 0)) % 2**63
