import os
from pathlib import Path

import pytest

from models.spec import ExperimentSpec
from worker.training.data.tensors import Data, load


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Train as workers do; two threads on a busy machine wait for each other most of the time."""


@pytest.fixture(scope="session")
def digits() -> Data:
    return load("digits", Path("nowhere"), "cpu")


@pytest.fixture
def spec() -> ExperimentSpec:
    # 3 batches an epoch, the last one of 50 images.
    return ExperimentSpec(
        dataset="digits",
        train_size=250,
        hidden=(32, 32, 32),
        keep=(0.9, 0.8, 0.8),
        lr=0.5,
        batch_size=100,
        epochs=3,
        seed=7,
    )


@pytest.fixture
def paper_spec(spec: ExperimentSpec) -> ExperimentSpec:
    """The same with all that table 2 of the paper trains with besides."""
    paper = {
        "input_keep": 0.8,
        "mask": "sample",
        "lr": 0.1,
        "momentum": 0.9,
        "max_norm": 1.0,
        "lr_decay": 0.9,
        "evaluation": "test",
    }
    return ExperimentSpec(**{**spec.model_dump(), **paper})


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    return find_real("mnist")


@pytest.fixture(scope="session")
def mnist(real_data_dir: Path) -> Data:
    return load("mnist", real_data_dir, "cpu")


@pytest.fixture(scope="session")
def real_fashion_dir() -> Path:
    return find_real("fashion-mnist")


def find_real(dataset: str) -> Path:
    folder = os.environ.get("DQ_DATA_DIR")
    if not folder or not (Path(folder) / dataset).is_dir():
        pytest.skip(f"set DQ_DATA_DIR to a folder whose {dataset}/ holds its four files")
    return Path(folder)
