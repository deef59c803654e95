import gzip
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.datasets import DATASETS, Dataset
from models.errors import DatasetCorrupt, DatasetUnavailable, DatasetUnreadable
from worker.training.data.download import verify
from worker.training.data.files import FILES, DataFile
from worker.training.data.tensors import Data, load

CONTENTS = {
    "train-images-idx3-ubyte": bytes([0, 0, 8, 3, *[0, 0, 0, 6, 0, 0, 0, 2, 0, 0, 0, 1]])
    + bytes(range(0, 240, 20)),
    "train-labels-idx1-ubyte": bytes([0, 0, 8, 1, 0, 0, 0, 6, 0, 1, 2, 3, 4, 5]),
    "t10k-images-idx3-ubyte": bytes([0, 0, 8, 3, *[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1]])
    + bytes([255, 128]),
    "t10k-labels-idx1-ubyte": bytes([0, 0, 8, 1, 0, 0, 0, 1, 9]),
}


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an MNIST of seven images, the checksums being theirs."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    expect(CONTENTS, monkeypatch)
    tiny = Dataset("mnist", train=4, valid=2, test=1, features=2)
    monkeypatch.setitem(DATASETS, "mnist", tiny)
    return tmp_path


def expect(contents: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    files = tuple(
        DataFile(name, hashlib.sha256(content).hexdigest()) for name, content in contents.items()
    )
    monkeypatch.setitem(FILES, "mnist", files)


def test_the_last_training_images_validate_and_pixels_are_256ths(data_dir: Path) -> None:
    data = load("mnist", data_dir, "cpu")

    assert torch.equal(data.train_x * 256, torch.arange(0.0, 160, 20).reshape(4, 2))
    assert torch.equal(data.valid_x * 256, torch.arange(160.0, 240, 20).reshape(2, 2))
    assert data.test_x.tolist() == [[255 / 256, 0.5]]
    assert data.train_y.tolist() == [0, 1, 2, 3]
    assert data.valid_y.tolist() == [4, 5]
    assert data.test_y.tolist() == [9]
    assert (data.train_x.dtype, data.train_y.dtype) == (torch.float32, torch.int64)


def test_files_may_lie_there_unzipped(data_dir: Path) -> None:
    zipped = load("mnist", data_dir, "cpu")
    for name, content in CONTENTS.items():
        (data_dir / "mnist" / name).write_bytes(content)
        (data_dir / "mnist" / f"{name}.gz").unlink()

    assert load("mnist", data_dir, "cpu").content_hash == zipped.content_hash


def test_a_right_file_is_used_though_a_damaged_one_lies_beside_it(data_dir: Path) -> None:
    intact = load("mnist", data_dir, "cpu")
    for name, content in CONTENTS.items():
        (data_dir / "mnist" / name).write_bytes(content)
        (data_dir / "mnist" / f"{name}.gz").write_bytes(b"<html>")

    assert load("mnist", data_dir, "cpu").content_hash == intact.content_hash


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_not_called_damaged(data_dir: Path) -> None:
    (data_dir / "mnist" / "t10k-labels-idx1-ubyte.gz").chmod(0)

    with pytest.raises(DatasetUnreadable, match=r"t10k-labels-idx1-ubyte\.gz: Permission denied"):
        load("mnist", data_dir, "cpu")


def test_a_missing_file_is_named_with_what_to_type(data_dir: Path) -> None:
    (data_dir / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()

    with pytest.raises(DatasetUnavailable, match=r"t10k-labels-idx1-ubyte\.gz") as raised:
        load("mnist", data_dir, "cpu")

    assert "Type `dq data fetch mnist`" in str(raised.value)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: b"", "sha256 of its content is"),
        (lambda content: b"<html>" + content, "not a whole gzip file"),
        (lambda content: content[:-9], "not a whole gzip file"),
        (lambda content: content[:12] + b"\xff\xff" + content[14:], "not a whole gzip file"),
        (lambda content: gzip.compress(b"another"), "sha256 of its content is"),
    ],
)
def test_a_damaged_file_is_named_with_what_to_type(
    data_dir: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    path = data_dir / "mnist" / "train-labels-idx1-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(DatasetCorrupt, match=reason) as raised:
        load("mnist", data_dir, "cpu")

    assert str(path) in str(raised.value)
    assert "Type `dq data fetch mnist`" in str(raised.value)


def test_a_file_of_the_right_checksum_and_the_wrong_format_is_corrupt(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"\x80\x04not an IDX file."
    path = data_dir / "mnist" / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(content))
    expect(CONTENTS | {"t10k-labels-idx1-ubyte": content}, monkeypatch)

    with pytest.raises(DatasetCorrupt, match="starts with 80046e6f instead of 00000801"):
        load("mnist", data_dir, "cpu")


def test_one_other_pixel_gives_another_content_hash(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load("mnist", data_dir, "cpu").content_hash
    content = CONTENTS["t10k-images-idx3-ubyte"][:-1] + bytes([127])
    (data_dir / "mnist" / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
    expect(CONTENTS | {"t10k-images-idx3-ubyte": content}, monkeypatch)

    assert load("mnist", data_dir, "cpu").content_hash != before


def test_the_digits_need_no_files_and_are_always_split_alike(digits: Data) -> None:
    sizes = DATASETS["digits"]

    assert digits.train_x.shape == (sizes.train, sizes.features)
    assert digits.valid_x.shape == (sizes.valid, sizes.features)
    assert digits.test_x.shape == (sizes.test, sizes.features)
    assert digits.content_hash == "c95044c3db78cad73383609a661aa7ba5d491367e7061e403f5694ae342dbc2a"


def test_the_digits_splits_share_no_image_and_hold_every_class(digits: Data) -> None:
    everything = torch.cat([digits.train_x, digits.valid_x, digits.test_x])

    assert len({tuple(image) for image in everything.tolist()}) == 1797
    assert (everything.min().item(), everything.max().item()) == (0, 1)
    for labels in (digits.train_y, digits.valid_y, digits.test_y):
        assert set(labels.tolist()) == set(range(10))


def test_a_training_batch_has_the_images_of_its_indexes(digits: Data) -> None:
    chosen = torch.tensor([5, 1000, 0, 5])

    assert torch.equal(digits.train_batch(chosen), digits.train_x[chosen])


def test_mnist_is_the_real_one(mnist: Data) -> None:
    data = mnist

    assert data.train_x.shape == (50_000, 784)
    assert (len(data.valid_x), len(data.test_x)) == (10_000, 10_000)
    assert data.train_y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.test_y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert data.train_x.max() == 255 / 256
    # 0.1307 is the mean everyone normalises with, of all 60,000 and of pixels / 255.
    mean = torch.cat([data.train_x, data.valid_x]).double().mean() * 256 / 255
    assert mean.item() == pytest.approx(0.1307, abs=5e-5)
    assert data.content_hash == "215c290c2666b55a9fdeec0c7823f21a3806109dc56d9cd2e23ae1f9f82849eb"


def test_fashion_mnist_is_the_real_one_however_gzipped(real_fashion_dir: Path) -> None:
    data = load("fashion-mnist", real_fashion_dir, "cpu")

    assert data.train_x.shape == (50_000, 784)
    assert data.test_y[:5].tolist() == [9, 2, 1, 1, 6]


def test_fashion_mnist_is_the_real_one_unzipped_too(real_fashion_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "fashion-mnist").mkdir()
    for path in (real_fashion_dir / "fashion-mnist").glob("*.gz"):
        unzipped = tmp_path / "fashion-mnist" / path.stem
        unzipped.write_bytes(gzip.decompress(path.read_bytes()))

    assert {file.state for file in verify("fashion-mnist", tmp_path)} == {"ok"}
    assert {file.state for file in verify("fashion-mnist", real_fashion_dir)} == {"ok"}
