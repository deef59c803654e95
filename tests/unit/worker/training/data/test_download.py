import gzip
import hashlib
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models.errors import DatasetUnavailable, DatasetUnreadable
from worker.training.data.download import MIRRORS, FileState, fetch, verify
from worker.training.data.files import FILES, DataFile
from worker.training.data.tensors import Data, load

CONTENTS = {"images": b"pixels" * 50_000, "labels": b"labels"}


class Mirror:
    """A real HTTP server on this machine, and the requests it got."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[str] = []
        requests = self.requests

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                requests.append(self.path)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(autouse=True)
def files(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [
        DataFile(name, hashlib.sha256(content).hexdigest()) for name, content in CONTENTS.items()
    ]
    monkeypatch.setitem(FILES, "mnist", tuple(known))


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    mirror = Mirror(folder)
    thread = threading.Thread(target=mirror.server.serve_forever, args=(0.01,))
    thread.start()
    yield mirror
    mirror.server.shutdown()
    thread.join()
    mirror.server.server_close()


@pytest.fixture
def dead_url() -> Iterator[str]:
    # Bound and not listening: whoever connects is refused.
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unheard.getsockname()[1]}/"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def held(data_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (data_dir / "mnist").iterdir()}


def test_files_come_from_the_first_mirror(mirror: Mirror, dead_url: str, data_dir: Path) -> None:
    fetch("mnist", data_dir, mirrors={"mnist": [mirror.url, dead_url]})

    assert held(data_dir) == CONTENTS
    assert verify("mnist", data_dir) == [FileState("images", "ok"), FileState("labels", "ok")]


def test_files_have_the_permissions_that_the_umask_gives(mirror: Mirror, data_dir: Path) -> None:
    fetch("mnist", data_dir, mirrors={"mnist": [mirror.url]})

    (data_dir / "own").touch()
    mode = (data_dir / "own").stat().st_mode
    assert {path.stat().st_mode for path in (data_dir / "mnist").iterdir()} == {mode}


def test_the_second_mirror_serves_where_the_first_does_not_answer(
    mirror: Mirror, dead_url: str, data_dir: Path
) -> None:
    fetch("mnist", data_dir, mirrors={"mnist": [dead_url, mirror.url]})

    assert held(data_dir).keys() == CONTENTS.keys()


def test_the_second_mirror_serves_where_the_first_does_not_have_the_file(
    mirror: Mirror, data_dir: Path
) -> None:
    fetch("mnist", data_dir, mirrors={"mnist": [f"{mirror.url}moved/", mirror.url]})

    assert held(data_dir).keys() == CONTENTS.keys()


@pytest.mark.parametrize("content", [b"<html>log in", gzip.compress(b"other", mtime=0), b""])
def test_wrong_content_is_refused_and_nothing_is_left(
    mirror: Mirror, data_dir: Path, content: bytes
) -> None:
    (mirror.folder / "images.gz").write_bytes(content)

    with pytest.raises(DatasetUnavailable, match=r"images\.gz"):
        fetch("mnist", data_dir, mirrors={"mnist": [mirror.url]})

    assert [path for path in data_dir.rglob("*") if path.is_file()] == []


def test_without_a_network_the_error_names_both_mirrors_and_the_folder(
    dead_url: str, data_dir: Path
) -> None:
    mirrors = [f"{dead_url}first/", f"{dead_url}second/"]

    with pytest.raises(DatasetUnavailable) as raised:
        fetch("mnist", data_dir, mirrors={"mnist": mirrors})

    message = str(raised.value)
    assert all(mirror in message for mirror in mirrors)
    assert str(data_dir / "mnist") in message
    assert "`dq data verify mnist`" in message


def test_only_what_is_missing_or_damaged_is_downloaded(mirror: Mirror, data_dir: Path) -> None:
    fetch("mnist", data_dir, mirrors={"mnist": [mirror.url]})
    (data_dir / "mnist" / "labels").write_bytes(b"damaged")
    mirror.requests.clear()
    assert verify("mnist", data_dir) == [FileState("images", "ok"), FileState("labels", "corrupt")]

    fetch("mnist", data_dir, mirrors={"mnist": [mirror.url]})

    assert [line for line in mirror.requests if "images" in line] == []
    assert held(data_dir)["labels"] == CONTENTS["labels"]


class Bar:
    """A progress bar as pooch's downloaders take it."""

    total = received = 0

    def update(self, size: int) -> None:
        self.received += size

    def reset(self) -> None:
        self.received = 0

    def close(self) -> None:
        pass


def test_the_bar_of_each_file_ends_with_all_its_bytes(mirror: Mirror, data_dir: Path) -> None:
    bars: dict[str, Bar] = {}

    fetch("mnist", data_dir, lambda name: bars.setdefault(name, Bar()), {"mnist": [mirror.url]})

    sizes = {path.name: path.stat().st_size for path in mirror.folder.iterdir()}
    assert {name: bar.total for name, bar in bars.items()} == sizes
    assert {name: bar.received for name, bar in bars.items()} == sizes


def test_a_file_may_be_gzipped_by_anyone(mirror: Mirror, data_dir: Path) -> None:
    fetch("mnist", data_dir, mirrors={"mnist": [mirror.url]})

    repacked = gzip.compress(CONTENTS["labels"], compresslevel=1, mtime=1)
    (data_dir / "mnist" / "labels.gz").write_bytes(repacked)
    (data_dir / "mnist" / "labels").unlink()

    assert verify("mnist", data_dir) == [FileState("images", "ok"), FileState("labels", "ok")]


def test_a_folder_that_cannot_be_written_is_named(mirror: Mirror, data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "mnist").write_text("a file where the folder should be")

    with pytest.raises(DatasetUnreadable, match=r"mnist.*set DQ_DATA_DIR to another folder"):
        fetch("mnist", data_dir, mirrors={"mnist": [mirror.url]})


def test_the_digits_need_no_download(data_dir: Path) -> None:
    fetch("digits", data_dir)

    assert verify("digits", data_dir) == []
    assert not data_dir.exists()


def test_each_downloaded_data_set_has_two_mirrors_of_its_four_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()

    assert MIRRORS.keys() == {name for name, files in FILES.items() if files}
    for dataset, mirrors in MIRRORS.items():
        assert len(mirrors) == 2
        assert all(mirror.endswith("/") for mirror in mirrors)
        assert len(FILES[dataset]) == 4


def test_the_real_files_pass_through_a_mirror(
    mnist: Data, real_data_dir: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    mirror = Mirror(real_data_dir / "mnist")
    thread = threading.Thread(target=mirror.server.serve_forever, args=(0.01,))
    thread.start()

    try:
        fetch("mnist", data_dir, mirrors={"mnist": [mirror.url]})
    finally:
        mirror.server.shutdown()
        thread.join()
        mirror.server.server_close()

    assert load("mnist", data_dir, "cpu").content_hash == mnist.content_hash
