import os
from pathlib import Path

import pytest

from models import files


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, bytes | None]]:
    """What is forced to disk, by the name of its kind, and what is at `file` at that moment."""
    seen: list[tuple[str, bytes | None]] = []
    force = os.fsync

    def watch(handle: int) -> None:
        kind = "folder" if Path(f"/proc/self/fd/{handle}").is_dir() else "file"
        file = tmp_path / "file"
        seen.append((kind, file.read_bytes() if file.exists() else None))
        force(handle)

    monkeypatch.setattr(os, "fsync", watch)
    return seen


def test_content_is_on_disk_before_it_has_its_name_and_the_name_before_it_returns(
    tmp_path: Path, synced: list[tuple[str, bytes | None]]
) -> None:
    """So that a power cut at any moment leaves the old content or the new one."""
    (tmp_path / "file").write_bytes(b"old")

    with files.replacing(tmp_path / "file") as part:
        part.write_bytes(b"new")

    assert synced == [("file", b"old"), ("folder", b"new")]


def test_a_file_that_can_be_made_again_is_not_forced_to_disk(
    tmp_path: Path, synced: list[tuple[str, bytes | None]]
) -> None:
    with files.replacing(tmp_path / "file", durable=False) as part:
        part.write_bytes(b"new")

    assert (tmp_path / "file").read_bytes() == b"new"
    assert synced == []
