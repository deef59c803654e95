import pytest

from models.errors import UsageError
from models.metrics import EPOCH_METRICS
from service.queries.epoch_choice import FINAL, EpochChoice, expand_metric_name, parse_epoch_choice


@pytest.mark.parametrize(
    ("text", "epoch_choice"),
    [
        ("final", FINAL),
        ("epoch:1", EpochChoice(epoch=1)),
        ("epoch:2147483647", EpochChoice(epoch=2147483647)),
        *[(f"best:{metric}", EpochChoice(metric=metric)) for metric in EPOCH_METRICS],
    ],
)
def test_an_epoch_choice_is_written_as_it_is_parsed(text, epoch_choice):
    assert parse_epoch_choice(text) == epoch_choice
    assert str(epoch_choice) == text


@pytest.mark.parametrize(
    ("text", "metric"), [("best:valid_acc", "valid_accuracy"), ("best:train_acc", "train_accuracy")]
)
def test_accuracy_may_be_abbreviated(text, metric):
    assert parse_epoch_choice(text) == EpochChoice(metric=metric)


@pytest.mark.parametrize("text", ["valid_loss", "seconds", "acc", "valid_accuracy", "lr", ""])
def test_other_names_of_metrics_are_left_as_they_are(text):
    assert expand_metric_name(text) == text


def test_only_the_last_epoch_is_final():
    assert FINAL.is_final
    assert not EpochChoice(epoch=3).is_final
    assert not EpochChoice(metric="valid_loss").is_final


@pytest.mark.parametrize(
    "text",
    [
        *("", "last", "Final", "final:3", "final ", "best", "best:", "best:acc", "best:lr"),
        *("best:seconds", "epoch", "epoch:", "epoch:-1", "epoch:1.5", "epoch:x"),
        *("epoch:²", "epoch:٣", "epoch: 3", "5", "epoch:5:6"),
    ],
    ids=lambda text: text[:20],
)
def test_an_unknown_epoch_choice_is_refused_with_the_known_ones(text):
    with pytest.raises(UsageError) as refusal:
        parse_epoch_choice(text)

    assert str(refusal.value).startswith(f"--at {text}: give final, epoch:5, or best:METRIC of ")
    assert all(metric in str(refusal.value) for metric in EPOCH_METRICS)


@pytest.mark.parametrize("number", ["0", "2147483648", "9" * 5000], ids=lambda text: text[:20])
def test_an_impossible_epoch_is_refused_with_the_possible_ones(number):
    with pytest.raises(UsageError, match="epochs are numbered from 1 to 2,147,483,647"):
        parse_epoch_choice(f"epoch:{number}")


def test_no_epoch_is_best_by_seconds():
    assert "seconds" not in EPOCH_METRICS
