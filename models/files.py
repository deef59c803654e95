"""Write a file whole or not at all, whatever happens meanwhile."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a path to write to; it becomes `path` when the block ends well.

    Otherwise `path` is left as it was, and nothing else is left. A `durable` file is by
    then safe on disk, which takes longer. Raises OSError.
    """
    # In the same folder: a rename is atomic within one file system only. Without the suffixes:
    # TensorBoard reads any file with "tfevents" in its name, the half of one, too.
    stem = path.name.partition(".")[0]
    part = path.with_name(f"{stem}.{secrets.token_hex(8)}.part")
    try:
        yield part
        if durable:
            _sync(part)
        part.replace(path)
        if durable:
            _sync(path.parent)  # or a power cut may undo the rename
    finally:
        part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
