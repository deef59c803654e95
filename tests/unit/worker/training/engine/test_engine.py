"""The engine compared with the reference, and runs in a pack with the same runs alone."""

import itertools
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trainings import Stop, stop_before, train_run, untimed

from models.errors import Diverged, PrecisionUnavailable
from models.metrics import EpochMetrics
from models.spec import ExperimentSpec
from worker.training import checkpoint, engine
from worker.training.data.tensors import Data, load
from worker.training.engine import batched_runs, capacity, single_run
from worker.training.engine.masks import Masks, draw_batch_masks, draw_sample_masks
from worker.training.randomness import Randomness
from worker.training.reference import trainer

pytestmark = pytest.mark.slow

#: Batched on a CPU, and not.
WIDTHS = [32, 336]
CPU = torch.device("cpu")


def widen(spec: ExperimentSpec, width: int, **changes: Any) -> ExperimentSpec:
    fields = {**spec.model_dump(), "hidden": (width,) * len(spec.hidden), "lr": 0.1, **changes}
    return ExperimentSpec(**fields)


def train_alone(spec: ExperimentSpec, data: Data) -> list[EpochMetrics]:
    return untimed(train_run(engine.start(spec, data, "cpu"), data))


@cache
def train_undisturbed(spec: ExperimentSpec, data: Data) -> list[EpochMetrics]:
    return train_alone(spec, data)


def train_by_reference(spec: ExperimentSpec, data: Data) -> list[EpochMetrics]:
    return list(trainer.train(spec, trainer.start(spec, data, "cpu"), data))


def train_together(
    runs: Mapping[int, engine.Run], data: Data, leaving: Mapping[int, int] | None = None
) -> dict[int, list[Any]]:
    """Train a pack, some leaving before a batch counted from 0; return the outcomes of each."""
    outcomes: dict[int, list[Any]] = {key: [] for key in runs}
    batches = itertools.count()

    def before_batch() -> Mapping[int, Exception]:
        now = next(batches)
        return {key: Stop() for key, batch in (leaving or {}).items() if batch == now}

    for key, outcome in engine.train(runs, data, before_batch):
        is_measured = isinstance(outcome, EpochMetrics)
        outcomes[key].append(replace(outcome, seconds=0) if is_measured else outcome)
    return outcomes


FEATURES = [
    {},
    {"keep": (1.0, 1.0, 1.0)},
    {"keep": (1.0, 0.5, 1.0)},
    {"input_keep": 0.8},
    {"mask": "sample"},
    {"mask": "sample", "input_keep": 0.8},
    {"momentum": 0.9, "lr": 0.02},
    {"max_norm": 0.5},
    {"lr_decay": 0.5},
    {"evaluation": "test"},
    {"batch_size": 250},
    {"train_size": None, "epochs": 1},
    {
        "input_keep": 0.8,
        "mask": "sample",
        "momentum": 0.9,
        "max_norm": 1.0,
        "lr_decay": 0.9,
        "evaluation": "test",
    },
]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("features", FEATURES, ids=str)
def test_the_engine_follows_the_reference(
    spec: ExperimentSpec, digits: Data, width: int, features: dict[str, Any]
) -> None:
    spec = widen(spec, width, **features)

    ours, theirs = train_alone(spec, digits), train_by_reference(spec, digits)

    check(ours, theirs)


@pytest.mark.parametrize("features", [{}, {"momentum": 0.9, "lr": 0.02}], ids=str)
def test_the_engine_follows_the_reference_with_all_products_by_onednn(
    spec: ExperimentSpec, digits: Data, features: dict[str, Any]
) -> None:
    spec = widen(spec, 32, **features)

    with mock.patch.object(batched_runs, "_ONEDNN_SIZE", 1):
        ours = train_alone(spec, digits)

    check(ours, train_by_reference(spec, digits))


def check(ours: list[EpochMetrics], theirs: list[EpochMetrics]) -> None:
    for mine, reference in zip(ours, theirs, strict=True):
        assert mine.epoch == reference.epoch
        assert mine.train_loss == pytest.approx(reference.train_loss, abs=1e-5)
        assert mine.valid_loss == pytest.approx(reference.valid_loss, abs=1e-5)
        assert mine.train_accuracy == pytest.approx(
            reference.train_accuracy, abs=0.021
        )  # one of 50 images
        assert mine.valid_accuracy == pytest.approx(
            reference.valid_accuracy, abs=0.004
        )  # one of 300


@pytest.mark.parametrize("width", [64, 256])
def test_the_engine_follows_the_reference_on_mnist(mnist: Data, width: int) -> None:
    spec = ExperimentSpec(
        train_size=2000, hidden=(width,) * 3, keep=(0.9, 0.8, 0.8), batch_size=500, epochs=2
    )

    ours, theirs = train_alone(spec, mnist), train_by_reference(spec, mnist)

    for mine, reference in zip(ours, theirs, strict=True):
        assert mine.train_loss == pytest.approx(reference.train_loss, abs=1e-5)
        assert mine.valid_loss == pytest.approx(reference.valid_loss, abs=1e-5)


@pytest.mark.parametrize("width", WIDTHS)
def test_bf16_differs_from_fp32_by_its_rounding_alone(
    spec: ExperimentSpec, digits: Data, width: int
) -> None:
    spec = widen(spec, width)

    fp32 = train_alone(spec, digits)
    bf16 = train_alone(spec.model_copy(update={"precision": "bf16"}), digits)

    assert bf16 != fp32
    for rounded, exact in zip(bf16, fp32, strict=True):
        assert rounded.valid_loss == pytest.approx(exact.valid_loss, abs=0.01)


def test_tf32_on_a_cpu_is_refused_with_what_to_type(spec: ExperimentSpec, digits: Data) -> None:
    spec = widen(spec, 32, precision="tf32")

    with pytest.raises(PrecisionUnavailable, match="--precision fp32"):
        train_alone(spec, digits)


# 3 batches an epoch.
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("batch", [0, 1, 3, 4, 8])
@pytest.mark.parametrize(
    "features",
    [{}, {"mask": "sample", "momentum": 0.9, "input_keep": 0.8}, {"precision": "bf16"}],
    ids=str,
)
def test_a_run_resumed_from_disk_at_any_batch_has_the_metrics_of_an_undisturbed_one(
    *,
    spec: ExperimentSpec,
    digits: Data,
    tmp_path: Path,
    width: int,
    batch: int,
    features: dict[str, Any],
) -> None:
    spec = widen(spec, width, **features)
    training = engine.start(spec, digits, "cpu")
    before: list[EpochMetrics] = []
    with pytest.raises(Stop):
        before.extend(train_run(training, digits, stop_before(batch)))
    checkpoint.save(tmp_path / "c", spec, engine.snapshot(training))

    resumed = engine.restore(spec, digits, "cpu", checkpoint.load(tmp_path / "c", spec))
    after = list(train_run(resumed, digits))

    assert untimed(before + after) == train_undisturbed(spec, digits)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_stopped_within_an_epoch_and_trained_on_has_the_metrics_of_an_undisturbed_one(
    spec: ExperimentSpec, digits: Data, width: int
) -> None:
    spec = widen(spec, width)
    training = engine.start(spec, digits, "cpu")
    with pytest.raises(Stop):
        list(train_run(training, digits, stop_before(2)))

    after = untimed(train_run(training, digits))

    assert after == train_undisturbed(spec, digits)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_snapshot_holds_the_network_as_the_reference_names_it(
    spec: ExperimentSpec, digits: Data, width: int
) -> None:
    spec = widen(spec, width)
    training = engine.start(spec, digits, "cpu")
    metrics = list(train_run(training, digits))

    network = trainer.start(spec, digits, "cpu").network
    network.load_state_dict(engine.snapshot(training).weights)

    logits = network.eval()(digits.valid_x)
    loss = torch.nn.functional.cross_entropy(logits, digits.valid_y).item()
    assert metrics[-1].valid_loss == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_that_diverges_says_at_which_epoch(
    spec: ExperimentSpec, digits: Data, width: int
) -> None:
    with pytest.raises(Diverged, match="diverged at epoch 1"):
        train_alone(widen(spec, width, lr=1e6), digits)


def test_training_leaves_the_global_generator_alone(spec: ExperimentSpec, digits: Data) -> None:
    before = torch.random.get_rng_state()

    train_alone(spec, digits)

    assert torch.equal(torch.random.get_rng_state(), before)


# Packs


@st.composite
def packs(draw: st.DrawFn) -> list[ExperimentSpec]:
    """Draw specs of one shape that a CPU packs."""
    layers = draw(st.integers(1, 3))
    shape = {
        "dataset": "digits",
        "hidden": tuple(draw(st.sampled_from([16, 32, 48, 128])) for _ in range(layers)),
        "train_size": draw(st.sampled_from([45, 50])),
        "batch_size": draw(st.sampled_from([7, 10, 32, 45])),
        "epochs": 2,
        "mask": draw(st.sampled_from(["batch", "sample"])),
        "precision": draw(st.sampled_from(["fp32", "bf16"])),
    }
    moves, is_limited, has_input = (draw(st.booleans()) for _ in range(3))
    keeps = st.sampled_from([1.0, 0.9, 0.5])
    return [
        ExperimentSpec(
            **shape,
            keep=tuple(draw(keeps) for _ in range(layers)),
            lr=draw(st.sampled_from([0.01, 0.1])),
            lr_decay=draw(st.sampled_from([1.0, 0.9])),
            momentum=draw(st.sampled_from([0.5, 0.9])) if moves else 0.0,
            max_norm=draw(st.sampled_from([0.7, 2.0])) if is_limited else None,
            input_keep=0.8 if has_input else 1.0,
            seed=draw(st.integers(0, 2)),  # runs of one seed see the same images
        )
        for _ in range(draw(st.integers(2, 6)))
    ]


#: At this size products go through oneDNN one by one: no products here, or all of them.
ONEDNN_SIZES = [batched_runs._ONEDNN_SIZE, 1]


@pytest.mark.parametrize("onednn_size", ONEDNN_SIZES)
@pytest.mark.parametrize("mask", ["batch", "sample"])
def test_runs_with_other_numbers_in_one_pack_have_the_metrics_of_each_alone(
    spec: ExperimentSpec, digits: Data, onednn_size: int, mask: str
) -> None:
    """Whatever may differ within a shape does."""
    paper = {"mask": mask, "input_keep": 0.9, "momentum": 0.5, "max_norm": 0.7, "lr_decay": 0.9}
    first = widen(spec, 32, **paper)
    other = {"input_keep": 0.7, "momentum": 0.9, "max_norm": 2.0, "lr_decay": 0.5, "lr": 0.05}
    changes = [{}, other, {"keep": (1.0, 0.5, 1.0)}, {"seed": 8, "keep": (1.0, 1.0, 0.9)}]
    specs = [first.model_copy(update=change) for change in changes]

    with mock.patch.object(batched_runs, "_ONEDNN_SIZE", onednn_size):
        runs = {key: engine.start(each, digits, "cpu") for key, each in enumerate(specs)}
        outcomes = train_together(runs, digits)
        alone = [train_alone(each, digits) for each in specs]

    assert list(outcomes.values()) == alone


@pytest.mark.parametrize("onednn_size", ONEDNN_SIZES)
@settings(max_examples=10, deadline=None)
@given(specs=packs(), data=st.data())
def test_a_run_in_a_pack_has_the_metrics_of_the_run_alone(
    digits: Data, onednn_size: int, specs: list[ExperimentSpec], data: st.DataObject
) -> None:
    """In any order, with any other runs, and whatever run leaves before whatever batch."""
    batches = specs[0].batches * specs[0].epochs
    order = data.draw(st.permutations(range(len(specs))))
    leaving = data.draw(st.dictionaries(st.sampled_from(order), st.integers(0, batches - 1)))

    with mock.patch.object(batched_runs, "_ONEDNN_SIZE", onednn_size):
        runs = {key: engine.start(specs[key], digits, "cpu") for key in order}
        outcomes = train_together(runs, digits, leaving)
        alone = [train_alone(spec, digits) for spec in specs]

    assert len({spec.shape for spec in specs}) == 1
    for key, spec in enumerate(specs):
        measured = [each for each in outcomes[key] if isinstance(each, EpochMetrics)]
        assert measured == alone[key][: len(measured)]
        assert len(measured) == leaving.get(key, batches) // spec.batches
        assert (key in leaving) == isinstance(outcomes[key][-1], Stop)


@pytest.mark.parametrize("onednn_size", ONEDNN_SIZES)
@settings(max_examples=6, deadline=None)
@given(specs=packs(), data=st.data())
def test_a_run_that_left_a_pack_continues_in_another_one_with_the_same_metrics(
    digits: Data, onednn_size: int, specs: list[ExperimentSpec], data: st.DataObject
) -> None:
    left_at = data.draw(st.integers(0, specs[0].batches * specs[0].epochs - 1))

    with mock.patch.object(batched_runs, "_ONEDNN_SIZE", onednn_size):
        runs = {key: engine.start(spec, digits, "cpu") for key, spec in enumerate(specs)}
        first = train_together(runs, digits, {0: left_at, 1: left_at // 2})
        again = {
            key: engine.restore(specs[key], digits, "cpu", engine.snapshot(runs[key]))
            for key in (0, 1)
        }
        again[2] = engine.start(specs[0].model_copy(update={"seed": 99}), digits, "cpu")
        second = train_together(again, digits)
        alone = [train_alone(spec, digits) for spec in specs[:2]]

    assert [first[key][:-1] + second[key] for key in (0, 1)] == alone


def test_runs_of_one_seed_at_different_epochs_have_the_metrics_of_each_alone(
    spec: ExperimentSpec, digits: Data
) -> None:
    spec = widen(spec, 32)
    ahead = engine.start(spec, digits, "cpu")
    first = train_together({0: ahead}, digits, {0: spec.batches})[0][:-1]

    again = engine.restore(spec, digits, "cpu", engine.snapshot(ahead))
    rest, other = train_together({0: again, 1: engine.start(spec, digits, "cpu")}, digits).values()

    assert len(first) == 1
    assert [first + rest, other] == [train_alone(spec, digits)] * 2


@pytest.mark.parametrize("onednn_size", [2**21, math.inf])
def test_runs_of_one_seed_on_mnist_have_the_metrics_of_each_alone(
    mnist: Data, onednn_size: float
) -> None:
    """At the size at which their first layers are one product, or share their input."""
    specs = [
        ExperimentSpec(
            train_size=300, hidden=(64, 64), keep=keep, lr=lr, batch_size=64, epochs=2, seed=seed
        )
        for seed in (0, 1)
        for keep in ((1.0, 1.0), (0.9, 0.8))
        for lr in (0.05, 0.1)
    ]

    with mock.patch.object(batched_runs, "_ONEDNN_SIZE", onednn_size):
        runs = {key: engine.start(spec, mnist, "cpu") for key, spec in enumerate(specs)}
        outcomes = train_together(runs, mnist)
        alone = [train_alone(spec, mnist) for spec in specs]

    assert list(outcomes.values()) == alone


def test_a_run_that_diverges_leaves_its_pack_and_the_others_continue(
    spec: ExperimentSpec, digits: Data
) -> None:
    specs = [widen(spec, 32), widen(spec, 32, lr=1e6), widen(spec, 32, seed=3)]

    outcomes = train_together(
        {key: engine.start(each, digits, "cpu") for key, each in enumerate(specs)}, digits
    )

    assert [str(each) for each in outcomes[1]] == ["diverged at epoch 1"]
    assert outcomes[0] == train_alone(specs[0], digits)
    assert outcomes[2] == train_alone(specs[2], digits)


def test_the_time_of_a_pack_is_shared_among_its_runs(
    spec: ExperimentSpec, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))
    runs = {seed: engine.start(widen(spec, 32, seed=seed), digits, "cpu") for seed in range(4)}

    ends = [outcome for _, outcome in engine.train(runs, digits)]

    # A second a batch, by this clock, and one for the evaluation.
    assert ends[0].seconds == pytest.approx((spec.batches + 1) / 4)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("hidden", "most"), [((64, 64), 16), ((128,), 16), ((60,), 1), ((64, 272), 1), ((512,) * 3, 1)]
)
def test_on_a_cpu_narrow_layers_of_whole_cache_lines_are_packed(
    hidden: tuple[int, ...], most: int
) -> None:
    spec = ExperimentSpec(hidden=hidden, batch_size=100)

    assert engine.pack_size(spec, CPU, free_bytes=1e12) == most


@pytest.mark.parametrize(("batch", "most"), [(128, 16), (129, 1)])
def test_on_a_cpu_small_batches_of_narrow_layers_are_packed(batch: int, most: int) -> None:
    spec = ExperimentSpec(hidden=(256,), batch_size=batch)

    assert engine.pack_size(spec, CPU, free_bytes=1e12) == most


def test_a_pack_takes_no_more_memory_than_there_is() -> None:
    spec = ExperimentSpec(hidden=(128, 128), batch_size=100)

    few = engine.pack_size(spec, CPU, free_bytes=30e6)
    fewer = engine.pack_size(widen(spec, 128, momentum=0.9), CPU, free_bytes=30e6)

    assert 1 < fewer < few < 16
    assert engine.pack_size(spec, CPU, free_bytes=1) == 1


@pytest.mark.parametrize(
    ("width", "batch", "most"),
    [(128, 256, 64), (128, 300, 8), (512, 100, 8), (512, 1000, 1), (4096, 64, 1)],
)
def test_a_gpu_trains_as_many_together_as_a_lone_run_leaves_room_for(
    width: int, batch: int, most: int
) -> None:
    spec = ExperimentSpec(hidden=(32, width, 32), batch_size=batch)

    assert engine.pack_size(spec, torch.device("cuda"), free_bytes=1e12) == most


# On a GPU


@pytest.fixture
def gpu_digits() -> Data:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here")
    return load("digits", Path("nowhere"), "cuda")


@pytest.fixture
def gpu_mnist(gpu_digits: Data, real_data_dir: Path) -> Data:
    return load("mnist", real_data_dir, "cuda")


@pytest.fixture
def drawn_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have runs on a GPU draw on the CPU, as the reference does: a GPU draws other numbers."""
    order, batch, sample = Randomness.draw_order, draw_batch_masks, draw_sample_masks

    def to_gpu(masks: Masks) -> Masks:
        return {layer: mask.cuda() for layer, mask in masks.items()}

    monkeypatch.setattr(Randomness, "draw_order", lambda *given: order(*given).cuda())
    for module in (batched_runs, single_run):
        monkeypatch.setattr(module, "draw_batch_masks", lambda *given: to_gpu(batch(*given)))
        monkeypatch.setattr(module, "draw_sample_masks", lambda *given: to_gpu(sample(*given)))


@pytest.fixture
def skipping_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a GPU skip dropped units in layers that are fast to test."""
    monkeypatch.setattr(capacity, "_SKIPPING_WIDTH", GPU_WIDTHS[1])


#: Batched on a GPU, and not.
GPU_WIDTHS = [64, 400]


@pytest.mark.gpu
@pytest.mark.usefixtures("drawn_on_cpu", "skipping_early")
@pytest.mark.parametrize("width", GPU_WIDTHS)
@pytest.mark.parametrize("features", FEATURES, ids=str)
def test_on_a_gpu_the_engine_follows_the_reference(
    spec: ExperimentSpec, digits: Data, gpu_digits: Data, width: int, features: dict[str, Any]
) -> None:
    spec = widen(spec, width, **features)
    started = engine.start(spec, gpu_digits, "cuda")
    started.randomness = Randomness.of(spec.seed, "cpu")

    ours = train_run(started, gpu_digits)

    for mine, reference in zip(ours, train_by_reference(spec, digits), strict=True):
        assert mine.train_loss == pytest.approx(reference.train_loss, abs=1e-4)
        assert mine.valid_loss == pytest.approx(reference.valid_loss, abs=1e-4)
        assert mine.valid_accuracy == pytest.approx(reference.valid_accuracy, abs=0.01)


@pytest.mark.gpu
@pytest.mark.usefixtures("drawn_on_cpu")
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_on_a_gpu_a_lower_precision_differs_by_its_rounding_alone(
    spec: ExperimentSpec, digits: Data, gpu_digits: Data, precision: str
) -> None:
    rounded = widen(spec, 64, precision=precision)
    started = engine.start(rounded, gpu_digits, "cuda")
    started.randomness = Randomness.of(spec.seed, "cpu")

    *_, last = train_run(started, gpu_digits)

    *_, reference = train_by_reference(widen(spec, 64), digits)
    assert last.valid_loss != reference.valid_loss
    assert last.valid_loss == pytest.approx(reference.valid_loss, rel=0.05)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_on_a_gpu_a_run_in_a_pack_has_the_metrics_of_the_run_alone(
    spec: ExperimentSpec, gpu_digits: Data, precision: str
) -> None:
    specs = [widen(spec, 64, seed=seed, precision=precision) for seed in range(5)]
    runs = {key: engine.start(each, gpu_digits, "cuda") for key, each in enumerate(specs)}

    outcomes = train_together(runs, gpu_digits, {3: 4})

    for key in (0, 1, 2, 4):
        alone = train_run(engine.start(specs[key], gpu_digits, "cuda"), gpu_digits)
        for mine, solo in zip(outcomes[key], alone, strict=True):
            assert mine.train_loss == pytest.approx(solo.train_loss, rel=1e-6)
            assert mine.valid_loss == pytest.approx(solo.valid_loss, rel=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("width", [128, 512])
def test_on_a_gpu_a_run_in_a_pack_has_the_metrics_of_the_run_alone_on_mnist(
    gpu_mnist: Data, precision: str, width: int
) -> None:
    specs = [
        ExperimentSpec(
            hidden=(width,) * 3,
            keep=(0.9, 0.8, 0.8) if seed % 2 else (1, 1, 1),
            batch_size=100,
            epochs=2,
            seed=seed,
            precision=precision,
        )
        for seed in range(5)
    ]
    outcomes = train_together(
        {key: engine.start(each, gpu_mnist, "cuda") for key, each in enumerate(specs)}, gpu_mnist
    )

    for key in (0, 3):
        alone = train_run(engine.start(specs[key], gpu_mnist, "cuda"), gpu_mnist)
        for mine, solo in zip(outcomes[key], alone, strict=True):
            assert mine.train_loss == pytest.approx(solo.train_loss, rel=1e-6)
            assert mine.valid_loss == pytest.approx(solo.valid_loss, rel=1e-6)


@pytest.mark.gpu
@pytest.mark.usefixtures("skipping_early")
@pytest.mark.parametrize("width", GPU_WIDTHS)
def test_on_a_gpu_a_resumed_run_draws_the_same_random_numbers(
    spec: ExperimentSpec, gpu_digits: Data, width: int
) -> None:
    spec = widen(spec, width)
    training = engine.start(spec, gpu_digits, "cuda")
    before: list[EpochMetrics] = []
    with pytest.raises(Stop):
        before.extend(train_run(training, gpu_digits, stop_before(4)))

    resumed = engine.restore(spec, gpu_digits, "cuda", engine.snapshot(training))
    after = list(train_run(resumed, gpu_digits))

    whole = train_run(engine.start(spec, gpu_digits, "cuda"), gpu_digits)
    for mine, undisturbed in zip(before + after, whole, strict=True):
        assert mine.valid_loss == pytest.approx(undisturbed.valid_loss, rel=1e-4)
