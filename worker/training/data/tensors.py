"""A data set as tensors: its training, validation and test images."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.datasets import DATASETS
from worker.training.data import idx
from worker.training.data.files import FILES, DataFile, corrupt, read

_Bytes = NDArray[np.uint8]
_Split = tuple[_Bytes, _Bytes]  # images, labels

_IMAGE_DIMENSIONS = 3  # images, rows, columns
_LABEL_DIMENSIONS = 1


@dataclass(frozen=True)
class Data:
    """The images (images, features) as float32 in [0, 1], and their labels (images,) as int64.

    Training images stay the bytes of their files, of which a batch is gathered faster.
    """

    train_pixels: Tensor  # uint8
    #: The byte that stands for 1.0: a power of two, so that dividing by it is exact.
    scale: int
    train_y: Tensor
    valid_x: Tensor
    valid_y: Tensor
    test_x: Tensor
    test_y: Tensor
    #: sha256 of the splits' bytes, before scaling: equal if and only if the data are.
    content_hash: str

    @property
    def device(self) -> torch.device:
        """The device of all tensors."""
        return self.train_pixels.device

    @cached_property
    def train_x(self) -> Tensor:
        """All training images."""
        return self.train_pixels / self.scale

    def require(self, images: int) -> None:
        """Raise ValueError if there are fewer training images."""
        if len(self.train_y) < images:
            raise ValueError(f"{len(self.train_y)} training images for a spec of {images}")

    def train_batch(self, indexes: Tensor) -> Tensor:
        """Return the training images of some indexes."""
        return self.train_pixels.index_select(0, indexes).float().mul_(1 / self.scale)


def load(dataset: str, data_dir: Path, device: torch.device | str) -> Data:
    """Return a data set on the device, split as `models.datasets` says.

    Pixels are byte / 256 as in the notebook's file; those of the digits, which go from 0 to 16,
    are value / 16. Raises DatasetUnavailable or DatasetCorrupt, naming the file at fault.
    """
    is_digits = dataset == "digits"
    splits = _split_digits() if is_digits else _split_files(dataset, data_dir)
    scale = 16 if is_digits else 256
    pixels, labels = _make_tensors(splits[0], device)
    valid, test = (_divide(_make_tensors(split, device), scale) for split in splits[1:])
    return Data(pixels, scale, labels, *valid, *test, content_hash=_hash(splits))


def _split_files(dataset: str, data_dir: Path) -> list[_Split]:
    dimensions = (_IMAGE_DIMENSIONS, _LABEL_DIMENSIONS) * 2
    x, y, test_x, test_y = (
        _read_array(dataset, file, data_dir, count)
        for file, count in zip(FILES[dataset], dimensions, strict=True)
    )
    size = DATASETS[dataset].train
    return [(x[:size], y[:size]), (x[size:], y[size:]), (test_x, test_y)]


def _read_array(dataset: str, file: DataFile, data_dir: Path, dimensions: int) -> _Bytes:
    try:
        return idx.parse(read(dataset, file, data_dir), dimensions)
    except ValueError as error:
        raise corrupt(dataset, data_dir / dataset / file.name, error) from error


def _split_digits() -> list[_Split]:
    """Return scikit-learn's 1,797 digits, always in the same random order."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes 1 s, for one data set

    pixels, labels = load_digits(return_X_y=True)
    # RandomState, because its stream never changes: https://numpy.org/neps/nep-0019-rng-policy.html
    order = np.random.RandomState(0).permutation(len(labels))
    sizes = DATASETS["digits"]
    parts = np.split(order, [sizes.train, sizes.train + sizes.valid])
    return [(pixels[part].astype(np.uint8), labels[part].astype(np.uint8)) for part in parts]


def _make_tensors(split: _Split, device: torch.device | str) -> tuple[Tensor, Tensor]:
    pixels, labels = split  # pixels: (images, rows, columns) or (images, features)
    flat = torch.tensor(pixels.reshape(len(pixels), -1), device=device)
    return flat, torch.tensor(labels, dtype=torch.int64, device=device)


def _divide(split: tuple[Tensor, Tensor], scale: int) -> tuple[Tensor, Tensor]:
    pixels, labels = split
    return pixels / scale, labels


def _hash(splits: list[_Split]) -> str:
    digest = hashlib.sha256()
    for array in (array for split in splits for array in split):
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
