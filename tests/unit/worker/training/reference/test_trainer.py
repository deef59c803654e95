import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from trainings import Stop, stop_before, untimed

from models.errors import Diverged
from models.metrics import EpochMetrics
from models.spec import ExperimentSpec
from worker.training import checkpoint
from worker.training.data.tensors import Data
from worker.training.reference import trainer

pytestmark = pytest.mark.slow


def draw_globally() -> None:
    torch.randn(10)


def train_all(spec: ExperimentSpec, data: Data) -> list[EpochMetrics]:
    return untimed(trainer.train(spec, trainer.start(spec, data, "cpu"), data))


def train_until(
    batch: int, spec: ExperimentSpec, run: trainer.ReferenceRun, data: Data
) -> list[EpochMetrics]:
    metrics: list[EpochMetrics] = []
    with pytest.raises(Stop):
        metrics.extend(trainer.train(spec, run, data, stop_before(batch)))
    return untimed(metrics)


def resume_at(
    batch: int, spec: ExperimentSpec, data: Data, path: Path
) -> tuple[list[EpochMetrics], list[EpochMetrics]]:
    """Return the metrics before and after a run was saved before a batch and resumed."""
    run = trainer.start(spec, data, "cpu")
    before = train_until(batch, spec, run, data)
    checkpoint.save(path, spec, trainer.snapshot(run))
    resumed = trainer.restore(spec, data, "cpu", checkpoint.load(path, spec))
    return before, untimed(trainer.train(spec, resumed, data))


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def test_epochs_are_numbered_from_one_and_timed(spec: ExperimentSpec, digits: Data) -> None:
    metrics = list(trainer.train(spec, trainer.start(spec, digits, "cpu"), digits))

    assert [epoch.epoch for epoch in metrics] == [1, 2, 3]
    assert all(0 < epoch.seconds < 10 for epoch in metrics)


def test_a_network_learns_the_digits(digits: Data) -> None:
    spec = ExperimentSpec(dataset="digits", hidden=(64,), lr=0.5, batch_size=50, epochs=8)

    metrics = train_all(spec, digits)

    assert metrics[-1].valid_accuracy > 0.9


def test_the_same_spec_gives_the_same_metrics_to_the_bit(
    spec: ExperimentSpec, digits: Data
) -> None:
    first = train_all(spec, digits)

    torch.manual_seed(99)
    second = []
    for epoch in trainer.train(spec, trainer.start(spec, digits, "cpu"), digits, draw_globally):
        torch.randn(10)
        second.append(epoch)

    assert untimed(second) == first


def test_two_runs_in_turns_give_what_each_gives_alone(spec: ExperimentSpec, digits: Data) -> None:
    other = spec.model_copy(update={"seed": 8})
    alone = [train_all(spec, digits), train_all(other, digits)]

    runs = [trainer.train(s, trainer.start(s, digits, "cpu"), digits) for s in (spec, other)]
    in_turns = list(zip(*runs, strict=True))

    assert [untimed(metrics) for metrics in zip(*in_turns, strict=True)] == alone
    assert alone[0] != alone[1]


@pytest.mark.parametrize("name", ["spec", "paper_spec"])
def test_one_thread_gives_the_metrics_of_two(
    name: str, digits: Data, request: pytest.FixtureRequest
) -> None:
    wide = request.getfixturevalue(name).model_copy(
        update={
            "hidden": (512, 512),
            "keep": (0.9, 0.8),
            "train_size": 800,
            "batch_size": 400,
            "epochs": 1,
        }
    )
    with threads(1):
        one = train_all(wide, digits)

    with threads(2):
        two = train_all(wide, digits)

    assert one == two


def test_training_leaves_the_global_generator_alone(spec: ExperimentSpec, digits: Data) -> None:
    before = torch.random.get_rng_state()

    train_all(spec, digits)

    assert torch.equal(torch.random.get_rng_state(), before)


# 3 batches an epoch: in the first one, around the ends of epochs, before the very last batch.
@pytest.mark.parametrize("batch", [0, 1, 2, 3, 4, 6, 8])
def test_a_run_resumed_from_disk_at_any_batch_gives_the_metrics_of_an_undisturbed_one(
    spec: ExperimentSpec, digits: Data, tmp_path: Path, batch: int
) -> None:
    before, after = resume_at(batch, spec, digits, tmp_path / "run.checkpoint")

    assert before + after == train_all(spec, digits)
    assert len(before) == batch // 3


@pytest.mark.parametrize("batch", [0, 1, 3, 4, 8])
def test_a_run_with_velocities_resumed_at_any_batch_gives_the_metrics_of_an_undisturbed_one(
    paper_spec: ExperimentSpec, digits: Data, tmp_path: Path, batch: int
) -> None:
    before, after = resume_at(batch, paper_spec, digits, tmp_path / "run.checkpoint")

    assert before + after == train_all(paper_spec, digits)


def test_a_run_resumed_from_an_epochs_end_ends_with_the_same_weights(
    spec: ExperimentSpec, digits: Data, tmp_path: Path
) -> None:
    path = tmp_path / "run.checkpoint"
    run = trainer.start(spec, digits, "cpu")
    metrics = trainer.train(spec, run, digits)
    next(metrics)
    checkpoint.save(path, spec, trainer.snapshot(run))
    list(metrics)

    resumed = trainer.restore(spec, digits, "cpu", checkpoint.load(path, spec))
    list(trainer.train(spec, resumed, digits))

    pairs = zip(run.network.parameters(), resumed.network.parameters(), strict=True)
    assert all(torch.equal(mine, again) for mine, again in pairs)


def test_a_run_stopped_and_continued_twice_in_one_epoch_gives_the_same_metrics(
    spec: ExperimentSpec, digits: Data
) -> None:
    run = trainer.start(spec, digits, "cpu")

    train_until(1, spec, run, digits)
    train_until(1, spec, run, digits)
    metrics = untimed(trainer.train(spec, run, digits))

    assert metrics == train_all(spec, digits)


def test_a_snapshot_does_not_move_with_its_run(spec: ExperimentSpec, digits: Data) -> None:
    run = trainer.start(spec, digits, "cpu")
    taken = trainer.snapshot(run)

    list(trainer.train(spec, run, digits))

    restored = trainer.restore(spec, digits, "cpu", taken)
    assert untimed(trainer.train(spec, restored, digits)) == train_all(spec, digits)


def test_velocities_of_a_snapshot_move_neither_with_its_run_nor_with_one_restored(
    paper_spec: ExperimentSpec, digits: Data
) -> None:
    run = trainer.start(paper_spec, digits, "cpu")
    train_until(2, paper_spec, run, digits)
    taken = trainer.snapshot(run)
    before = [velocity.clone() for velocity in taken.velocities]

    list(trainer.train(paper_spec, run, digits))
    restored = trainer.restore(paper_spec, digits, "cpu", taken)
    list(trainer.train(paper_spec, restored, digits))

    assert all(map(torch.equal, taken.velocities, before))


def test_an_epochs_time_includes_that_before_its_resumption(
    spec: ExperimentSpec, digits: Data
) -> None:
    run = trainer.start(spec, digits, "cpu")
    train_until(2, spec, run, digits)
    taken = replace(trainer.snapshot(run), seconds=1000.0)

    resumed = trainer.restore(spec, digits, "cpu", taken)
    metrics = list(trainer.train(spec, resumed, digits))

    assert run.seconds > 0
    assert metrics[0].seconds > 1000
    assert metrics[1].seconds < 1000


def test_a_finished_run_has_nothing_left_to_train(spec: ExperimentSpec, digits: Data) -> None:
    run = trainer.start(spec, digits, "cpu")
    list(trainer.train(spec, run, digits))

    assert list(trainer.train(spec, run, digits)) == []


def test_before_batch_is_called_once_before_each_batch(spec: ExperimentSpec, digits: Data) -> None:
    calls: list[None] = []

    run = trainer.start(spec, digits, "cpu")
    list(trainer.train(spec, run, digits, lambda: calls.append(None)))

    assert len(calls) == spec.batches * spec.epochs


def test_a_rate_far_too_high_diverges_and_yields_nothing(
    spec: ExperimentSpec, digits: Data
) -> None:
    wild = spec.model_copy(update={"lr": 1e6})
    metrics: list[EpochMetrics] = []

    with pytest.raises(Diverged, match=r"^diverged at epoch 1$"):
        metrics.extend(trainer.train(wild, trainer.start(wild, digits, "cpu"), digits))

    assert metrics == []


def test_divergence_names_its_epoch_and_keeps_those_before(
    spec: ExperimentSpec, digits: Data
) -> None:
    run = trainer.start(spec, digits, "cpu")
    metrics = trainer.train(spec, run, digits)
    first = next(metrics)
    torch.nn.init.constant_(next(run.network.parameters()), math.inf)

    with pytest.raises(Diverged, match=r"^diverged at epoch 2$"):
        next(metrics)

    assert math.isfinite(first.train_loss + first.valid_loss)


def test_a_validation_loss_that_is_infinite_is_divergence(
    spec: ExperimentSpec, digits: Data
) -> None:
    blinding = replace(digits, valid_x=torch.full_like(digits.valid_x, math.inf))

    with pytest.raises(Diverged, match=r"^diverged at epoch 1$"):
        next(trainer.train(spec, trainer.start(spec, digits, "cpu"), blinding))


def test_data_with_fewer_images_than_the_spec_names_are_refused(
    spec: ExperimentSpec, digits: Data
) -> None:
    short = replace(digits, train_y=digits.train_y[:100])

    with pytest.raises(ValueError, match="100 training images for a spec of 250"):
        trainer.start(spec, short, "cpu")


def test_the_rate_of_an_epoch_is_that_of_the_first_times_the_decay_to_its_number(
    spec: ExperimentSpec, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    monkeypatch.setattr(trainer.sgd, "step", lambda _, lr: rates.append(lr))

    train_all(spec.model_copy(update={"lr_decay": 0.5}), digits)

    assert rates == [0.5] * 3 + [0.25] * 3 + [0.125] * 3


def test_no_row_of_a_hidden_weight_is_longer_than_the_limit_and_the_output_layer_has_none(
    spec: ExperimentSpec, digits: Data
) -> None:
    limited = spec.model_copy(update={"max_norm": 0.4})
    run = trainer.start(limited, digits, "cpu")

    list(trainer.train(limited, run, digits))

    *hidden, output = (w.norm(dim=1) for w in run.network.parameters() if w.ndim == 2)
    assert [norms.max().item() for norms in hidden] == pytest.approx([0.4] * 3)
    assert output.min() > 0.4


def test_what_is_evaluated_on_changes_nothing_of_the_training(
    spec: ExperimentSpec, digits: Data
) -> None:
    on_valid = train_all(spec, digits)

    on_test = train_all(spec.model_copy(update={"evaluation": "test"}), digits)

    assert [m.train_loss for m in on_test] == [m.train_loss for m in on_valid]
    assert [m.valid_loss for m in on_test] != [m.valid_loss for m in on_valid]


def test_evaluation_on_test_images_looks_at_no_validation_image(
    spec: ExperimentSpec, digits: Data
) -> None:
    blinding = replace(digits, valid_x=torch.full_like(digits.valid_x, math.inf))

    metrics = train_all(spec.model_copy(update={"evaluation": "test"}), blinding)

    assert len(metrics) == spec.epochs
