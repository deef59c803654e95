"""Why jobs failed."""

from integration import rows
from integration.rows import spec, submit
from models.database import Database
from service.queries.failures import list_failures
from service.queries.selectors import parse_selectors


def test_failures_are_grouped_by_reason_with_what_to_type(database: Database):
    ids = submit(database, *(spec(seed=seed, lr=5) for seed in range(7)))
    reasons = ["diverged at epoch 1", "diverged at epoch 12", "diverged at epoch 1"]
    reasons += ["not done after the 3 s it may take", "KeyError: 'x'\nTraceback", None]
    for job_id, reason in zip(ids, reasons, strict=False):
        rows.change(database, job_id, state="failed", reason=reason)

    diverged, *others = list_failures(database, parse_selectors(["s1"]))

    assert (diverged.reason, diverged.jobs) == ("diverged at epoch 1", 3)
    assert "smaller learning rate" in diverged.advice
    assert diverged.command == f"dq submit --like {ids[0]} --lr 0.5"
    assert [each.reason for each in others] == [
        "not done after the 3 s it may take",
        "KeyError: 'x'",
        "no reason was recorded",
    ]
    assert "--timeout" in others[0].command
    assert f"dq retry {ids[4]}" in others[1].command
    assert list_failures(database, parse_selectors([str(ids[6])])) == []
