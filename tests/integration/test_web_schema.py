"""Requests that schemathesis generates from the OpenAPI document, on a real database."""

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

#: How many requests of each mode for each operation.
EXAMPLES = 3 * options.default.max_examples // 10
#: 400 is for text of the right type that is wrong: the document does not have the grammars.
CONFIG = SchemathesisConfig.from_dict(
    {"checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", 400, 404]}}}
)
#: Generated text would never be valid in the grammars.
VALID_TEXT = {
    "where": ["lr < 0.05 and keep[0] == 0.5", "tag == paper", "state in (queued, failed)"],
    "sort": ["valid_acc", "lr:asc", "seed", "id:asc"],
    "at": ["final", "best:valid_loss", "epoch:2"],
}


@pytest.fixture
def backend() -> str:
    """The stricter database."""
    return "postgresql"


@pytest.fixture
def schema(
    settings: Settings, database: Database, recorder: Recorder
) -> schemathesis.schemas.BaseSchema:
    """The OpenAPI document of an application with some jobs, one of which has a result."""
    first, *_ = submit(database, spec(), spec(seed=1), spec(keep=(0.5,)), tags=("paper",))
    claim = rows.claim(recorder, first)
    rows.succeed(recorder, claim, AttemptUpdate(measured_all()))
    app = make_app(settings, database, Access(TOKEN), names=["testserver"])
    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, config=CONFIG)


@pytest.mark.timeout(600)
def test_generated_requests_get_only_documented_responses(schema):
    requests: list[str] = []

    for operation in schema.get_all_operations():
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _run_operation(operation.ok(), mode, requests)

    assert len(requests) > 500
    assert set(requests) == {each.ok().label for each in schema.get_all_operations()}


def _run_operation(operation, mode: GenerationMode, requests: list[str]) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @options(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def run(case: Case) -> None:
        requests.append(operation.label)
        if mode is GenerationMode.POSITIVE:
            _insert_valid_text(case)
        case.call_and_validate(headers=BEARING)

    with suppress(Unsatisfiable):  # an operation without parameters has no invalid requests
        run()


def _insert_valid_text(case: Case) -> None:
    """Replace generated text by valid text."""
    for name, words in VALID_TEXT.items():
        if case.query and name in case.query:
            case.query[name] = words[len(str(case.query[name])) % len(words)]
    for each in case.body["specs"] if isinstance(case.body, dict) and "specs" in case.body else ():
        # FastAPI writes the limit as a float, 190 more than it is.
        each["seed"] = int(each.get("seed", 0)) % 2**63
