"""The files of the data sets: where they are, and what they must hold."""

import gzip
import hashlib
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from models.errors import DatasetCorrupt, DatasetUnavailable, DatasetUnreadable


@dataclass(frozen=True)
class DataFile:
    """One file of a data set: its name and the SHA-256 of its content, both unzipped.

    Archives may differ from mirror to mirror; what is in them does not.
    """

    name: str
    sha256: str

    @property
    def archive(self) -> str:
        """The name of the gzipped file."""
        return f"{self.name}.gz"


_MNIST = (
    DataFile(
        "train-images-idx3-ubyte",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    DataFile(
        "train-labels-idx1-ubyte",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    DataFile(
        "t10k-images-idx3-ubyte",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    DataFile(
        "t10k-labels-idx1-ubyte",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)

# What the archives at https://github.com/zalandoresearch/fashion-mnist#get-the-data hold.
_FASHION_MNIST = (
    DataFile(
        "train-images-idx3-ubyte",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    DataFile(
        "train-labels-idx1-ubyte",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    DataFile(
        "t10k-images-idx3-ubyte",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    DataFile(
        "t10k-labels-idx1-ubyte",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)

#: The files of each data set: train images, train labels, test images, test labels. The digits have
#: none: they are part of scikit-learn.
FILES: dict[str, tuple[DataFile, ...]] = {
    "mnist": _MNIST,
    "fashion-mnist": _FASHION_MNIST,
    "digits": (),
}


def read(dataset: str, file: DataFile, data_dir: Path) -> bytes:
    """Return the file's unzipped content, whose checksum is right.

    The file may be gzipped, by anyone, or not; where both exist, one that is right is enough.
    Raises DatasetUnavailable if neither exists, DatasetUnreadable if this user may not read it, and
    DatasetCorrupt if its content is wrong.
    """
    *others, last = _find(dataset, file, data_dir)
    for path in others:
        with suppress(DatasetCorrupt):
            return _read(dataset, file, path)
    return _read(dataset, file, last)


def _read(dataset: str, file: DataFile, path: Path) -> bytes:
    try:
        return _check(file, path.read_bytes(), zipped=path.suffix == ".gz")
    except OSError as error:
        raise unusable(path, error) from error
    except ValueError as error:
        raise corrupt(dataset, path, error) from error


def _check(file: DataFile, content: bytes, *, zipped: bool) -> bytes:
    """Return the content of a file, unzipped; raise ValueError if it is not the right one."""
    unzipped = unzip(content) if zipped else content
    found = hashlib.sha256(unzipped).hexdigest()
    if found != file.sha256:
        what = "the sha256 of its content" if zipped else "its sha256"
        raise ValueError(f"{what} is {found} instead of {file.sha256}")
    return unzipped


def corrupt(dataset: str, path: Path, reason: Exception) -> DatasetCorrupt:
    """Return the error that names the file, what is wrong with it, and what to type."""
    return DatasetCorrupt(
        f"{path} is damaged: {reason}. Type `dq data fetch {dataset}` to download it again."
    )


def unusable(path: Path, error: OSError) -> DatasetUnreadable:
    """Return the error for a path that the system does not let this user read or write."""
    return DatasetUnreadable(
        f"{path}: {error.strerror or error}. Mend that, or set DQ_DATA_DIR to another folder."
    )


def _find(dataset: str, file: DataFile, data_dir: Path) -> list[Path]:
    folder = data_dir / dataset
    names = (file.archive, file.name)
    try:
        found = [folder / name for name in names if (folder / name).is_file()]
    except OSError as error:
        raise unusable(folder, error) from error
    if not found:
        raise DatasetUnavailable(
            f"{dataset} is not here: {folder} has no {' or '.join(names)}. "
            f"Type `dq data fetch {dataset}` to download it."
        )
    return found


def unzip(content: bytes) -> bytes:
    """Return what is in a gzip file; raise ValueError if it is not a whole one."""
    try:
        return gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"it is not a whole gzip file ({error})") from error
