"""Downloads of the data sets: two mirrors, checked content, whole files only."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pooch

from models import files
from models.errors import DatasetCorrupt, DatasetUnavailable, DatasetUnreadable
from worker.training.data.files import FILES, DataFile, check, read, unusable

#: Called with a file's name, the bytes received so far, and all its bytes (0 if unknown).
Progress = Callable[[str, int, int], None]

#: Where each data set is looked for, the first that answers rightly being used.
MIRRORS: Mapping[str, Sequence[str]] = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
}

State = Literal["ok", "missing", "corrupt", "unreadable"]

_TIMEOUT = (5, 30)  # seconds: to connect, and between two pieces received
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class FileState:
    """Whether one file of a data set is there and right."""

    name: str
    state: State


def verify(dataset: str, data_dir: Path) -> list[FileState]:
    """Return the state of each of the data set's files; the digits have none."""
    return [FileState(file.name, _state(dataset, file, data_dir)) for file in FILES[dataset]]


def fetch(
    dataset: str,
    data_dir: Path,
    progress: Progress | None = None,
    mirrors: Mapping[str, Sequence[str]] = MIRRORS,
) -> None:
    """Download those of the data set's files that are missing or damaged.

    A file appears under its name only when it is whole and its checksum right. Raises
    DatasetUnavailable, naming every mirror tried, if none gave a file; DatasetUnreadable if it
    cannot be written.
    """
    for file in FILES[dataset]:
        if _state(dataset, file, data_dir) != "ok":
            content = _download(dataset, file, data_dir, progress, mirrors[dataset])
            _save(data_dir / dataset / file.archive, content)


def _save(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise unusable(path, error) from error


def _state(dataset: str, file: DataFile, data_dir: Path) -> State:
    try:
        read(dataset, file, data_dir)
    except DatasetUnavailable:
        return "missing"
    except DatasetCorrupt:
        return "corrupt"
    except DatasetUnreadable:
        return "unreadable"
    return "ok"


def _download(
    dataset: str,
    file: DataFile,
    data_dir: Path,
    progress: Progress | None,
    mirrors: Sequence[str],
) -> bytes:
    """Return the zipped file from the first mirror that has it right."""
    failures = []
    for mirror in mirrors:
        try:
            return _get(mirror, file, progress)
        except (OSError, ValueError) as error:  # the network's errors are all OSErrors
            failures.append(f"  {mirror}{file.archive}: {error}")
    raise DatasetUnavailable(
        f"No mirror gave {file.archive} of {dataset}:\n" + "\n".join(failures) + "\n"
        f"Put the files into {data_dir / dataset} by hand, then type `dq data verify {dataset}`."
    )


def _get(mirror: str, file: DataFile, progress: Progress | None) -> bytes:
    # The largest file has 26 MB: small enough to be checked before any of it is on disk.
    content = io.BytesIO()
    bar = _Bar(file.archive, content, progress) if progress else False
    downloader = pooch.HTTPDownloader(bar, chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT)
    downloader(f"{mirror}{file.archive}", content, None)
    check(file, content.getvalue(), zipped=True)
    return content.getvalue()


class _Bar:
    """What pooch moves on as it receives a file; it sets `total` itself."""

    total = 0

    def __init__(self, name: str, content: io.BytesIO, progress: Progress) -> None:
        self._name = name
        self._content = content
        self._progress = progress

    def update(self, _: int) -> None:
        # Not the number given: pooch counts the last piece as a full one.
        self._progress(self._name, self._content.tell(), self.total)

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass
