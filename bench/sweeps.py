"""Times a sweep of 64 small runs: packed, by the notebook's loop, and by Ray Tune."""

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from bench import notebook
from bench.section import Section, judge, time_once
from models.datasets import DATASETS
from models.settings import Settings
from models.spec import ExperimentSpec
from worker.training import engine
from worker.training.data.tensors import Data, load

_RUNS = 64
_SHAPES = ((64, 64), (128, 100))  # width, batch
KEEP = (0.9, 0.8, 0.8)
_LRS = (0.05, 0.1)
#: By which one process per core, packed, is to be ahead.
_TARGETS = {("one after another", 64): 5.0, ("Ray Tune", 64): 10.0}
_RAY = Path(__file__).with_name("ray_sweep.py")

#: Width, batch, seed, learning rate.
Trial = tuple[int, int, int, float]

_data: list[Data] = []


def measure(rounds: int, ray_python: str | None) -> Section:
    """Run every sweep once in each round; Ray Tune, which takes minutes, in the first one."""
    cores = len(os.sched_getaffinity(0))
    rows, notes = [], []
    with get_context("spawn").Pool(cores, prepare) as pool:
        pool.map(train_notebook, [(64, 64, 0, 0.1)] * cores, chunksize=1)  # warms up
        prepare()
        for width, batch in _SHAPES:
            seconds = _time_all(width, batch, rounds, pool, ray_python)
            rows += _describe(width, batch, seconds)
    if not ray_python:
        notes.append("Ray Tune was not measured: give the Python of a venv that has it, `--ray`.")
    about = (
        f"{_RUNS} runs of 3 hidden layers on MNIST (50,000 images, keep 0.9,0.8,0.8, "
        f"2 rates x 32 seeds), one epoch and its evaluation each, on a CPU of {cores} cores; "
        f"processes are up and have the data; the median of {rounds} rounds in which all take "
        "turns. The notebook's loop one after another has all cores of torch to itself (the "
        "faster of one and all threads); all others have one thread a process. Ray Tune trains "
        "by the notebook's loop, a core a trial, from `Tuner.fit` on."
    )
    columns = ["runs", "by", "sweep", "packed is ahead by", "target", ""]
    title = f"Sweeps, {torch.backends.cpu.get_cpu_capability()}"
    return Section(title, about, columns, rows, notes)


def _time_all(
    width: int, batch: int, rounds: int, pool: Any, ray_python: str | None
) -> dict[str, list[float]]:
    cores = len(os.sched_getaffinity(0))
    trials = make_trials(width, batch, _RUNS)
    size = min(16, -(-_RUNS // cores))
    packs = [trials[begin : begin + size] for begin in range(0, _RUNS, size)]
    systems: dict[str, Callable[[], object]] = {
        "packed, a process per core": lambda: pool.map(train_pack, packs, chunksize=1),
        "packed, one process": lambda: [train_pack(pack) for pack in packs],
        "notebook, one after another, 1 thread": lambda: list(map(train_notebook, trials)),
        f"notebook, one after another, {cores} threads": lambda: _with_threads(cores, trials),
        "notebook, a process per core": lambda: pool.map(train_notebook, trials, chunksize=1),
    }
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for number in range(rounds):
        for name, system in systems.items():
            seconds[name].append(time_once(system))
            print(width, name, f"{seconds[name][-1]:.1f}", flush=True)
        if ray_python and not number:
            seconds["Ray Tune"] = [_time_ray(ray_python, width, batch)]
            print(width, "Ray Tune", seconds["Ray Tune"], flush=True)
    return seconds


def make_trials(width: int, batch: int, number: int) -> list[Trial]:
    """Return a sweep's runs: half as many seeds, each at two rates."""
    return [(width, batch, seed, lr) for seed in range(number // len(_LRS)) for lr in _LRS]


def _describe(width: int, batch: int, seconds: dict[str, list[float]]) -> list[list[str]]:
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    packed = medians["packed, a process per core"]
    serial = min(value for name, value in medians.items() if "one after another" in name)
    rows = []
    for name, median in medians.items():
        is_serial = "one after another" in name and median == serial
        kind = "one after another" if is_serial else name
        target = _TARGETS.get((kind, width))
        times = median / packed
        rows.append(
            [
                f"{_RUNS} of 3 x {width}, batch {batch}",
                name,
                f"{median:.1f} s",
                f"{times:.2f} times",
                f"{target:g} times" if target else "",
                judge(times >= target, f"{target - times:.1f} times") if target else "",
            ]
        )
    return rows


def prepare(device: str = "cpu") -> None:
    """Load the data onto the device where this process trains."""
    torch.set_num_threads(1)
    _data.append(load("mnist", Settings.load().data_dir, device))


def train_pack(trials: Sequence[Trial]) -> None:
    """Train runs together, one epoch each."""
    members = {}
    for width, batch, seed, lr in trials:
        spec = ExperimentSpec(
            hidden=(width,) * 3, keep=KEEP, batch_size=batch, epochs=1, seed=seed, lr=lr
        )
        members[seed, lr] = engine.start(spec, _data[0], _data[0].device)
    assert len(list(engine.train(members, _data[0]))) == len(trials)


def train_notebook(trial: Trial) -> None:
    """Train one run by the notebook's loop, one epoch."""
    width, batch, seed, lr = trial
    torch.manual_seed(seed)
    dataset, data = DATASETS["mnist"], _data[0]
    widths = (dataset.features, *(width,) * 3, dataset.classes)
    network = notebook.build(widths, KEEP, data.device.type)
    notebook.train_epoch(network, data.train_x, data.train_y, batch, lr)
    notebook.evaluate(network, data.valid_x, data.valid_y)


def _with_threads(threads: int, trials: Sequence[Trial]) -> None:
    torch.set_num_threads(threads)
    try:
        for trial in trials:
            train_notebook(trial)
    finally:
        torch.set_num_threads(1)


def _time_ray(python: str, width: int, batch: int) -> float:
    root = Path(__file__).parent.parent
    environment = os.environ | {"PYTHONPATH": str(root), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    command = [python, str(_RAY), str(width), str(batch), str(_RUNS // len(_LRS))]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    seconds: float = json.loads(done.stdout.splitlines()[-1])
    return seconds
