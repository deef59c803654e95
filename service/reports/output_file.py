"""Writes a file where a person wants it: whole, or not at all with a message."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import DqError
from models.files import replacing


@contextmanager
def writing_output(path: Path) -> Iterator[Path]:
    """Give a path to write to; it becomes `path` if the block succeeds, and else is deleted.

    Makes the folder. Raises DqError where the disk refuses.
    """
    try:
        target = path.expanduser().resolve()  # a link stays one, and what it leads to is replaced
    except RuntimeError:
        raise DqError(f"{path}: there is no such user. Write the whole path.") from None
    if target.exists() and not target.is_file():
        raise DqError(f"{path} is not a file. Give the path of one.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target, durable=False) as part:  # it can be exported again
            yield part
    except OSError as error:
        raise DqError(f"{path} cannot be written: {error.strerror or error}.") from error
