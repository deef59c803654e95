"""Downloads of the data sets by pooch: from two mirrors, whole files of the right content only."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pooch
from requests import RequestException

from models.errors import DatasetCorrupt, DatasetUnavailable, DatasetUnreadable
from worker.training.data.files import FILES, DataFile, read, unusable, unzip

#: Makes the progress bar of a file from its name: an object as pooch's downloaders take it.
MakeBar = Callable[[str], Any]

#: Where each data set is looked for; the first mirror that has the right content is used.
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

_TIMEOUT = (5, 30)  # seconds: to connect, and between two chunks received
_CHUNK_BYTES = 64 * 1024

pooch.get_logger().setLevel("WARNING")  # it announces each download


@dataclass(frozen=True)
class FileState:
    """Whether one file of a data set is there and right."""

    name: str
    state: State


def verify(dataset: str, data_dir: Path) -> list[FileState]:
    """Return the state of each file of the data set; the digits have none."""
    return [FileState(file.name, _state(dataset, file, data_dir)) for file in FILES[dataset]]


def fetch(
    dataset: str,
    data_dir: Path,
    make_bar: MakeBar | None = None,
    mirrors: Mapping[str, Sequence[str]] = MIRRORS,
) -> None:
    """Download, and unzip, the files of the data set that are missing or damaged.

    A file appears under its name only once it is whole and its checksum right. Raises
    DatasetUnavailable, naming every mirror tried, if none has a file; DatasetUnreadable if it
    cannot be written.
    """
    for file in FILES[dataset]:
        if _state(dataset, file, data_dir) != "ok":
            _download(dataset, file, data_dir, make_bar, mirrors[dataset])


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
    make_bar: MakeBar | None,
    mirrors: Sequence[str],
) -> None:
    """Download a file from the first mirror that has it right."""
    folder = data_dir / dataset
    failures = []
    for mirror in mirrors:
        url = f"{mirror}{file.archive}"
        download = _Download(make_bar(file.archive) if make_bar else False)
        try:
            pooch.retrieve(url, f"sha256:{file.sha256}", file.name, folder, downloader=download)
        except (RequestException, ValueError) as error:
            failures.append(f"  {url}: {error}")
        except OSError as error:
            raise unusable(folder, error) from error
        else:
            return
    raise DatasetUnavailable(
        f"No mirror gave {file.archive} of {dataset}:\n" + "\n".join(failures) + "\n"
        f"Put the files into {folder} by hand, then type `dq data verify {dataset}`."
    )


class _Download:
    """Downloads an archive and keeps what is in it, whose checksum is the same on all mirrors."""

    def __init__(self, bar: Any) -> None:
        self._http = pooch.HTTPDownloader(bar, chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT)

    def __call__(self, url: str, output_file: str, _: object) -> None:
        archive = io.BytesIO()  # of at most 26 MB
        self._http(url, archive, None)
        content = unzip(archive.getvalue())
        Path(output_file).unlink()  # pooch made it for this user alone; the data are for all
        Path(output_file).write_bytes(content)
