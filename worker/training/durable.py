"""Files that are there whole or not at all, whatever happens while they are written."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def replace(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write `parts`, one after the other, to `path`; it is on disk when this returns.

    Raises OSError, a full disk included, and leaves what was at `path` before, and nothing else.
    """
    # In the same folder: a rename is atomic within one file system only.
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        _write(unfinished, parts)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _write(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    with path.open("xb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    # Without it a power cut may undo the rename.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
