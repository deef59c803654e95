"""The data files dq knows: where they lie, and which content is the right one."""

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from models.errors import DatasetCorrupt, DatasetUnavailable


@dataclass(frozen=True)
class DataFile:
    """One file of a data set, under its unzipped name.

    `checksum` is "algorithm:hex"; `of_archive` says that it is the .gz file's and not its
    content's, and then only the .gz file can be checked, and used.
    """

    name: str
    checksum: str
    of_archive: bool = False

    @property
    def archive(self) -> str:
        """The name it is downloaded under."""
        return f"{self.name}.gz"


# The gzip containers of MNIST differ from mirror to mirror; what is inside does not.
_MNIST = (
    DataFile(
        "train-images-idx3-ubyte",
        "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    DataFile(
        "train-labels-idx1-ubyte",
        "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    DataFile(
        "t10k-images-idx3-ubyte",
        "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    DataFile(
        "t10k-labels-idx1-ubyte",
        "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)

# As published at https://github.com/zalandoresearch/fashion-mnist#get-the-data
_FASHION_MNIST = (
    DataFile("train-images-idx3-ubyte", "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d", of_archive=True),
    DataFile("train-labels-idx1-ubyte", "md5:25c81989df183df01b3e8a0aad5dffbe", of_archive=True),
    DataFile("t10k-images-idx3-ubyte", "md5:bef4ecab320f06d8554ea6380940ec79", of_archive=True),
    DataFile("t10k-labels-idx1-ubyte", "md5:bb300cfdad3c16e7a12a480ee83cd310", of_archive=True),
)

#: The files of each data set in the order train images, train labels, test images, test labels.
#: The digits have none: they lie inside scikit-learn.
FILES: dict[str, tuple[DataFile, ...]] = {
    "mnist": _MNIST,
    "fashion-mnist": _FASHION_MNIST,
    "digits": (),
}


def read(dataset: str, file: DataFile, data_dir: Path) -> bytes:
    """Return the file's unzipped content, checked against its checksum.

    Raises DatasetUnavailable if it is not there, DatasetCorrupt if its content is not the right
    one.
    """
    path = _find(dataset, file, data_dir)
    try:
        return check(file, path.read_bytes(), zipped=path.suffix == ".gz")
    except ValueError as error:
        raise corrupt(dataset, path, error) from error


def check(file: DataFile, content: bytes, *, zipped: bool) -> bytes:
    """Return the content of a file, unzipped; raise ValueError if it is not the right one."""
    unzipped = _unzip(content) if zipped else content
    algorithm, expected = file.checksum.split(":")
    checked = content if file.of_archive else unzipped
    found = hashlib.new(algorithm, checked, usedforsecurity=False).hexdigest()
    if found != expected:
        raise ValueError(f"its {algorithm} is {found} instead of {expected}")
    return unzipped


def corrupt(dataset: str, path: Path, reason: Exception) -> DatasetCorrupt:
    """Return the error that names the file, what is wrong with it, and what to type."""
    return DatasetCorrupt(
        f"{path} is damaged: {reason}. Type `dq data fetch {dataset}` to download it again."
    )


def _find(dataset: str, file: DataFile, data_dir: Path) -> Path:
    folder = data_dir / dataset
    names = [file.archive] if file.of_archive else [file.archive, file.name]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DatasetUnavailable(
        f"{dataset} is not here: {folder} has no {' or '.join(names)}. "
        f"Type `dq data fetch {dataset}` to download it."
    )


def _unzip(content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"it is no whole gzip file ({error})") from error
