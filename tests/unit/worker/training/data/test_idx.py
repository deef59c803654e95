import numpy as np
import pytest

from worker.training.data import idx

IMAGES = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4) for n in (2, 3, 4)) + bytes(range(24))
LABELS = bytes([0, 0, 8, 1]) + (3).to_bytes(4) + bytes([7, 0, 9])


def test_images_are_read_row_by_row() -> None:
    images = idx.parse(IMAGES, 3)

    assert np.array_equal(images, np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


def test_labels_are_read_as_bytes() -> None:
    assert idx.parse(LABELS, 1).tolist() == [7, 0, 9]


@pytest.mark.parametrize(
    ("content", "dimensions", "reason"),
    [
        (b"", 1, "starts with  instead of 00000801"),
        (LABELS, 3, "starts with 00000801 instead of 00000803"),
        (bytes([0, 0, 13, 1]) + LABELS[4:], 1, "starts with 00000d01"),
        (b"\x80\x04\x95\x00" + LABELS[4:], 1, "starts with 80049500"),
        (LABELS[:-1], 1, "has 10 bytes instead of 11"),
        (LABELS + b"\0", 1, "has 12 bytes instead of 11"),
        (IMAGES[:10], 3, "has 10 bytes instead of"),
    ],
)
def test_anything_else_is_refused(content: bytes, dimensions: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        idx.parse(content, dimensions)
