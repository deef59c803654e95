"""The IDX format of MNIST's files, read by hand."""

import math

import numpy as np
from numpy.typing import NDArray

_UNSIGNED_BYTE = 8


def parse(content: bytes, dimensions: int) -> NDArray[np.uint8]:
    """Return the array of bytes in `content`, which has this number of dimensions.

    The format: two zero bytes, the element type, the number of dimensions, each dimension's size
    as a big-endian int32, the elements (http://yann.lecun.com/exdb/mnist/). Raises ValueError if
    `content` is anything else.
    """
    magic = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    if content[:4] != magic:
        raise ValueError(f"it starts with {content[:4].hex()} instead of {magic.hex()}")
    body = 4 + 4 * dimensions
    sizes = [int.from_bytes(content[start : start + 4]) for start in range(4, body, 4)]
    if len(content) != body + math.prod(sizes):
        raise ValueError(f"it has {len(content)} bytes instead of {body + math.prod(sizes)}")
    return np.frombuffer(content, np.uint8, offset=body).reshape(sizes)
