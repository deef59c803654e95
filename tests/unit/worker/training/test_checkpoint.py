import hashlib
import io
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.spec import TRAINER_VERSION, ExperimentSpec
from worker.training import checkpoint
from worker.training.checkpoint import CheckpointUnreadable
from worker.training.data.tensors import Data
from worker.training.reference import trainer


@pytest.fixture
def snapshot(spec: ExperimentSpec, digits: Data) -> trainer.Snapshot:
    return trainer.snapshot(trainer.start(spec, digits, "cpu"))


@pytest.fixture
def path(tmp_path: Path, spec: ExperimentSpec, snapshot: trainer.Snapshot) -> Path:
    path = tmp_path / "12.checkpoint"
    checkpoint.save(path, spec, snapshot)
    return path


def test_what_is_loaded_is_what_was_saved(
    path: Path, spec: ExperimentSpec, snapshot: trainer.Snapshot
) -> None:
    loaded = checkpoint.load(path, spec)

    assert vars(loaded).keys() == vars(snapshot).keys()
    assert (loaded.epoch, loaded.batch, loaded.seconds) == (0, 0, 0.0)
    assert all(torch.equal(loaded.weights[name], w) for name, w in snapshot.weights.items())
    assert all(torch.equal(loaded.randomness[name], s) for name, s in snapshot.randomness.items())


def test_velocities_are_loaded_as_they_were_saved(
    tmp_path: Path, paper_spec: ExperimentSpec, digits: Data
) -> None:
    run = trainer.start(paper_spec, digits, "cpu")
    next(trainer.train(paper_spec, run, digits))

    checkpoint.save(tmp_path / "1.checkpoint", paper_spec, trainer.snapshot(run))
    loaded = checkpoint.load(tmp_path / "1.checkpoint", paper_spec)

    assert all(map(torch.equal, loaded.velocities, run.velocities))
    assert [v.shape for v in loaded.velocities] == [p.shape for p in run.network.parameters()]
    assert all(v.any() for v in loaded.velocities)


def test_a_checkpoint_without_momentum_holds_no_velocities(snapshot: trainer.Snapshot) -> None:
    assert snapshot.velocities == []


def test_a_second_save_replaces_the_first_and_leaves_nothing_else(
    path: Path, spec: ExperimentSpec, snapshot: trainer.Snapshot
) -> None:
    checkpoint.save(path, spec, replace(snapshot, epoch=2))

    assert checkpoint.load(path, spec).epoch == 2
    assert list(path.parent.iterdir()) == [path]


def test_a_checkpoint_that_is_not_there_is_a_file_not_found(
    tmp_path: Path, spec: ExperimentSpec
) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "13.checkpoint", spec)


@pytest.mark.parametrize("kept", [0, 1, 31, 32, 33, 1000, -1])
def test_a_truncated_checkpoint_is_refused(path: Path, spec: ExperimentSpec, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(CheckpointUnreadable, match="damaged"):
        checkpoint.load(path, spec)


@pytest.mark.parametrize("place", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_checkpoint_with_one_bit_flipped_is_refused(
    path: Path, spec: ExperimentSpec, place: float
) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0b100
    path.write_bytes(content)

    with pytest.raises(CheckpointUnreadable, match="damaged"):
        checkpoint.load(path, spec)


def test_a_checkpoint_longer_than_it_was_is_refused(path: Path, spec: ExperimentSpec) -> None:
    path.write_bytes(path.read_bytes() + b"\0")

    with pytest.raises(CheckpointUnreadable, match="damaged"):
        checkpoint.load(path, spec)


@pytest.mark.parametrize(
    "difference",
    [{"seed": 8}, {"lr": 0.4}, {"keep": (0.9, 0.8, 0.7)}, {"momentum": 0.9}, {"mask": "sample"}],
)
def test_a_checkpoint_of_another_spec_is_refused(
    path: Path, spec: ExperimentSpec, difference: dict[str, object]
) -> None:
    with pytest.raises(CheckpointUnreadable, match="another spec"):
        checkpoint.load(path, spec.model_copy(update=difference))


def test_a_checkpoint_of_another_version_of_the_trainer_is_refused(
    path: Path, spec: ExperimentSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "TRAINER_VERSION", TRAINER_VERSION + 1)

    with pytest.raises(CheckpointUnreadable, match="version of the trainer"):
        checkpoint.load(path, spec)


class Hostile:
    """What makes a file as soon as it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._file,)


def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(
    path: Path, spec: ExperimentSpec, tmp_path: Path
) -> None:
    body = io.BytesIO()
    torch.save(Hostile(tmp_path / "it ran"), body)
    path.write_bytes(hashlib.sha256(body.getvalue()).digest() + body.getvalue())

    with pytest.raises(CheckpointUnreadable):
        checkpoint.load(path, spec)

    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_its_place_is_refused(tmp_path: Path, spec: ExperimentSpec) -> None:
    with pytest.raises(CheckpointUnreadable, match="cannot be read"):
        checkpoint.load(tmp_path, spec)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Let this process write no file over 20,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.usefixtures("path", "full_disk")
def test_a_full_disk_is_an_os_error_and_keeps_the_checkpoint_there_was(
    path: Path, spec: ExperimentSpec, snapshot: trainer.Snapshot
) -> None:
    before = path.read_bytes()
    assert len(before) > 20_000

    with pytest.raises(OSError, match="File too large"):
        checkpoint.save(path, spec, snapshot)

    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_an_os_error(
    tmp_path: Path, spec: ExperimentSpec, snapshot: trainer.Snapshot
) -> None:
    with pytest.raises(OSError, match="No such file"):
        checkpoint.save(tmp_path / "gone" / "12.checkpoint", spec, snapshot)
