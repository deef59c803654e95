"""Times a sweep of 64 small runs on a GPU, packed and by the notebook's loop, and smaller packs."""

import statistics

import torch

from bench import machine
from bench.section import Section, judge, time_once
from bench.sweeps import make_trials, prepare, train_notebook, train_pack
from models.spec import ExperimentSpec
from worker.training import engine

_WIDTH, _BATCH = 128, 100
_RUNS = 64
#: How many times as fast as the notebook's loop the pack is to be.
_TARGET = 100.0
_SIZES = (2, 8, 32)


def measure(rounds: int) -> Section:
    """Train the packs in each round, and by the notebook's loop, which takes a minute, in one."""
    prepare("cuda")
    _check_size()
    trials = {size: make_trials(_WIDTH, _BATCH, size) for size in (*_SIZES, _RUNS)}
    train_pack(trials[_RUNS])  # warms up
    train_notebook(trials[_RUNS][0])
    seconds: dict[int, list[float]] = {size: [] for size in trials}
    memory = {}
    notebook = 0.0
    for number in range(rounds):
        for size, pack in trials.items():
            torch.cuda.reset_peak_memory_stats()
            seconds[size].append(time_once(lambda: train_pack(pack)))  # noqa: B023  # called at once
            memory[size] = torch.cuda.max_memory_allocated() / 2**20
        if not number:
            notebook = time_once(lambda: [train_notebook(trial) for trial in trials[_RUNS]])
    medians = {size: statistics.median(each) for size, each in seconds.items()}
    rows = [_describe(size, medians, memory[size], notebook) for size in sorted(medians)]
    rows.append(["the notebook's loop", str(_RUNS), *_format(notebook, _RUNS), "", "", "", ""])
    about = (
        f"Runs of 3 x {_WIDTH}, batch {_BATCH}, on MNIST (50,000 images, keep "
        f"0.9,0.8,0.8, fp32, 2 rates), one epoch and its evaluation each, on {machine.gpu()}, in "
        f"one process that is up and has the data. A pack's time is from its specs to its figures, "
        f"the median of {rounds} rounds; the notebook's loop trains one run after another, once, "
        "between the first two rounds. Memory is the highest that torch allocated, data included."
    )
    columns = ["by", "runs", "sweep", "each", "memory", "of the notebook's", "target", ""]
    return Section("A sweep", about, columns, rows, gpu=machine.gpu())


def _check_size() -> None:
    """Assert that a worker would take as many together."""
    spec = ExperimentSpec(hidden=(_WIDTH,) * 3, batch_size=_BATCH)
    free = torch.cuda.mem_get_info()[0] / 2
    assert engine.pack_size(spec, torch.device("cuda"), free) >= _RUNS


def _describe(size: int, medians: dict[int, float], memory: float, notebook: float) -> list[str]:
    times = notebook / _RUNS * size / medians[size]
    is_asked = size == _RUNS
    return [
        "dq, packed",
        str(size),
        *_format(medians[size], size),
        f"{memory:,.0f} MiB",
        f"{times:.0f} times as fast",
        f"{_TARGET:g} times" if is_asked else "",
        judge(times >= _TARGET, f"{_TARGET - times:.0f} times") if is_asked else "",
    ]


def _format(seconds: float, runs: int) -> list[str]:
    return [f"{seconds:.2f} s", f"{1000 * seconds / runs:.1f} ms"]
