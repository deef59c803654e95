"""The state of a run on disk, from which the next attempt continues."""

import hashlib
import io
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models import files
from models.spec import TRAINER_VERSION, ExperimentSpec

_DIGEST_BYTES = hashlib.sha256().digest_size


class CheckpointUnreadable(Exception):
    """The checkpoint is damaged or belongs to another spec."""


@dataclass(frozen=True)
class Snapshot:
    """A copy, on the CPU, of all that a run needs to continue with the same bits."""

    weights: dict[str, Tensor]
    randomness: dict[str, Tensor]
    epoch: int
    batch: int
    seconds: float
    #: One for each parameter; none without momentum.
    velocities: list[Tensor]
    #: The epoch's permutation of the images where a trainer keeps it, else empty.
    order: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))


def save(path: Path, spec: ExperimentSpec, snapshot: Snapshot) -> None:
    """Write the snapshot of a run of `spec`, atomically and durably, for `load`.

    Raises OSError, a full disk included; what was at `path` before is then still there.
    """
    body = io.BytesIO()
    torch.save({"belongs_to": _owner(spec), **vars(snapshot)}, body)
    with files.replacing(path) as part, part.open("wb") as file:
        file.write(hashlib.sha256(body.getbuffer()).digest())
        file.write(body.getbuffer())


def load(path: Path, spec: ExperimentSpec) -> Snapshot:
    """Return the snapshot at `path`, every byte of it as `save` wrote it.

    Raises FileNotFoundError if there is none, and CheckpointUnreadable if it is damaged, of
    another spec, or of another version of the trainer.
    """
    content = _unpack(path, _read(path))
    if content.pop("belongs_to", None) != _owner(spec):
        raise CheckpointUnreadable(f"{path} belongs to another spec or version of the trainer")
    return Snapshot(**content)


def _owner(spec: ExperimentSpec) -> str:
    return f"{TRAINER_VERSION} {spec.model_dump_json()}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CheckpointUnreadable(f"{path} cannot be read: {error}") from error


def _unpack(path: Path, content: bytes) -> dict[str, Any]:
    digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise CheckpointUnreadable(f"{path} is damaged: its checksum does not match")
    try:
        unpacked: dict[str, Any] = torch.load(io.BytesIO(body), weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointUnreadable(f"{path} is of another version of torch: {error}") from error
    return unpacked
