"""Times one run's training by the engine against the notebook's loop, epoch by epoch in turn."""

import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
from scipy import stats

from bench import machine, notebook
from bench.section import Section, judge, time_calls
from models.datasets import DATASETS
from models.metrics import EpochMetrics
from models.settings import Settings
from models.spec import ExperimentSpec, Precision
from worker.training import engine
from worker.training.data.tensors import Data, load
from worker.training.engine import capacity, products
from worker.training.reference import trainer

_KEEP = (0.9, 0.8, 0.8)
_BATCH = 1000
_CPU_WIDTHS = (64, 256, 512, 1024)
_CUDA_WIDTHS = (512, 2048, 8192)
#: Width and precision: how many times as fast as the notebook's loop.
_TARGETS = {
    ("cpu", 512, "fp32"): 2.2,
    ("cpu", 512, "bf16"): 3.2,
    ("cuda", 8192, "tf32"): 5.0,
    ("cuda", 8192, "bf16"): 10.0,
}
#: The share of a GPU's peak rate to reach as well, where there is such a target.
_SHARE_TARGET = 0.6
#: Products timed at once, so that waiting for the device does not count.
_TOGETHER = 4
#: Of the square matrices whose product says what a device reaches.
_PEAK_SIZES = {"cpu": 2048, "cuda": 8192}


def measure(rounds: int) -> Section:
    """Train an epoch of each in each round."""
    device = torch.device("cuda" if machine.gpu() else "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    data = load("mnist", Settings.load().data_dir, device)
    widths = _CUDA_WIDTHS if device.type == "cuda" else _CPU_WIDTHS
    rows = [row for width in widths for row in _measure_width(width, data, device, rounds)]
    torch.set_num_threads(threads)
    about = (
        f"One epoch of MNIST (50,000 images, batch {_BATCH}, 3 hidden layers, keep "
        f"0.9,0.8,0.8, and the evaluation on 10,000), on {_name(device)}, one thread each, as a "
        f"dq worker has; the median of {rounds} epochs that alternate. FLOP/s counts the products, "
        "of kept units only where the others are skipped, over what products of square matrices of "
        f"{_PEAK_SIZES[device.type]}, one behind the other, reach here by the same way."
    )
    columns = ["width", "trainer", "epoch", "of the notebook's", "target", "GFLOP/s", "of peak", ""]
    instructions = torch.backends.cpu.get_cpu_capability()
    title = f"Solo training, {'cuda' if device.type == 'cuda' else instructions}"
    return Section(title, about, columns, rows, gpu=machine.gpu())


def _measure_width(width: int, data: Data, device: torch.device, rounds: int) -> list[list[str]]:
    epochs = {"notebook": _notebook(width, data, device)}
    epochs |= {each: _engine(width, each, data, rounds) for each in _precisions(device)}
    seconds = {name: [] for name in epochs}
    for number in range(rounds + 1):
        for name, epoch in epochs.items():
            began = time.perf_counter()
            epoch()
            if number:  # the first warms up
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    return [_row(width, name, medians, device) for name in medians]


def _precisions(device: torch.device) -> list[Precision]:
    """Return those that the device has: elsewhere bf16 is emulated, at a tenth of the speed."""
    if device.type == "cuda":
        return ["fp32", "tf32", "bf16"]
    return ["fp32", "bf16"] if torch.ops.mkldnn._is_mkldnn_bf16_supported() else ["fp32"]


def _notebook(width: int, data: Data, device: torch.device) -> Callable[[], object]:
    widths = (DATASETS["mnist"].features, width, width, width, DATASETS["mnist"].classes)
    network = notebook.build(widths, _KEEP, device.type)

    def epoch() -> None:
        products.choose("fp32", device)
        notebook.train_epoch(network, data.train_x, data.train_y, _BATCH)
        notebook.evaluate(network, data.valid_x, data.valid_y)

    return epoch


def _engine(width: int, precision: Precision, data: Data, rounds: int) -> Callable[[], object]:
    spec = _spec(width, precision, rounds + 1)
    outcomes = engine.train({0: engine.start(spec, data, data.device)}, data)
    return lambda: next(outcomes)


def _spec(width: int, precision: Precision, epochs: int = 1) -> ExperimentSpec:
    return ExperimentSpec(
        hidden=(width,) * 3, keep=_KEEP, batch_size=_BATCH, epochs=epochs, precision=precision
    )


def _row(width: int, name: str, medians: dict[str, float], device: torch.device) -> list[str]:
    seconds = medians[name]
    precision: Precision = "fp32" if name == "notebook" else name  # type: ignore[assignment]
    target = _TARGETS.get((device.type, width, name))
    is_skipping = name != "notebook" and not capacity.is_batched(_spec(width, precision), device)
    rate = _count_flops(width, skipping=is_skipping) / seconds
    share = rate / _measure_peak(precision, device)
    times = medians["notebook"] / seconds
    return [
        str(width),
        name if name == "notebook" else f"dq, {name}",
        f"{seconds:.3f} s",
        f"{times:.2f} times as fast",
        f"{target} times" if target else "",
        f"{rate / 1e9:,.0f}",
        f"{share:.0%}",
        _judge(times, target, share if device.type == "cuda" else 1.0) if target else "",
    ]


def _judge(times: float, target: float, share: float) -> str:
    verdict = judge(times >= target, f"{target - times:.2f} times")
    return verdict if share >= _SHARE_TARGET else f"{verdict}; under {_SHARE_TARGET:.0%} of peak"


def _count_flops(width: int, *, skipping: bool) -> float:
    """Return the operations of an epoch's products: forward, both gradients, evaluation."""
    dataset = DATASETS["mnist"]
    widths = (dataset.features, width, width, width, dataset.classes)
    keeps = (1.0, *(_KEEP if skipping else (1.0,) * 3), 1.0)
    layers = list(zip(pairwise(widths), pairwise(keeps), strict=True))
    kept = [fan_in * fan_out * before * after for (fan_in, fan_out), (before, after) in layers]
    training = 2 * dataset.train * (3 * sum(kept) - kept[0])
    return training + 2 * dataset.valid * sum(i * o for i, o in pairwise(widths))


def _measure_peak(precision: Precision, device: torch.device) -> float:
    """Return the FLOP/s of a product of large matrices."""
    size, chosen = _PEAK_SIZES[device.type], products.choose(precision, device)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    x, weight = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    bias = torch.zeros(size, device=device, dtype=dtype)

    def multiply() -> None:
        for _ in range(_TOGETHER):
            chosen.forward(x, weight, bias)
        _wait(device)

    return float(2 * size**3 * _TOGETHER / min(time_calls(multiply)))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _name(device: torch.device) -> str:
    return machine.gpu() if device.type == "cuda" else f"the CPU (of {os.cpu_count()} cores)"


def compare_accuracy(seeds: int) -> Section:
    """Train by the reference and by the engine at each precision; compare accuracies."""
    torch.set_num_threads(1)
    device = torch.device("cuda" if machine.gpu() else "cpu")
    data = load("mnist", Settings.load().data_dir, device)
    rows = []
    for hidden, batch in (((64, 64, 64), 64), ((400, 400, 400), 500)):
        specs = [
            ExperimentSpec(
                train_size=10_000, hidden=hidden, keep=_KEEP, batch_size=batch, epochs=5, seed=seed
            )
            for seed in range(seeds)
        ]
        rows += _compare(f"{len(hidden)} x {hidden[0]}, batch {batch}", specs, data)
    about = (
        f"Final validation accuracy over {seeds} seeds, MNIST's first 10,000 "
        "images, 5 epochs: the readable reference (fp32) and the engine that workers use, both on "
        f"{_name(device)}. Met where the engine's mean lies within the reference's 95 % interval "
        "over seeds; the difference paired by seed is shown beside it: a sharper test on a CPU, "
        "while a GPU's generators draw other orders and masks than the reference."
    )
    columns = ["layers", "trainer", "mean, 95 % interval", "difference, paired by seed", ""]
    title = "Accuracy of the engine"
    return Section(title, about, columns, rows, gpu=machine.gpu())


def _compare(shape: str, specs: Sequence[ExperimentSpec], data: Data) -> list[list[str]]:
    at = data.device
    reference = [_last(trainer.train(s, trainer.start(s, data, at), data)) for s in specs]
    middle, half = _interval(reference)
    rows = [[shape, "reference", f"{middle:.4f} ± {half:.4f}", "", ""]]
    for precision in _precisions(at):
        ours = [_train(spec.model_copy(update={"precision": precision}), data) for spec in specs]
        mean, spread = _interval(ours)
        paired, paired_half = _interval([a - b for a, b in zip(ours, reference, strict=True)])
        off = abs(mean - middle)
        verdict = judge(off <= half, f"{off - half:.4f}")
        difference = f"{paired:+.5f} ± {paired_half:.5f}"
        rows.append([shape, f"dq, {precision}", f"{mean:.4f} ± {spread:.4f}", difference, verdict])
    return rows


def _train(spec: ExperimentSpec, data: Data) -> float:
    """Return the last accuracy of a run by the engine."""
    return _last(m for _, m in engine.train({0: engine.start(spec, data, data.device)}, data))


def _last(metrics: Iterable[EpochMetrics]) -> float:
    *_, last = metrics
    return last.valid_accuracy


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and half the width of its 95 % interval."""
    quantile = stats.t.ppf(0.975, len(values) - 1)
    return statistics.mean(values), quantile * statistics.stdev(values) / len(values) ** 0.5
