"""Measures how fast a core multiplies matrices, without torch: `python -m worker.product_rate`."""

import time

import numpy

#: A batch of 1,000 images through a layer of 1,024 units: 30 ms a product.
_BATCH, _WIDTH = 1000, 1024
_TIMES = 4


def measure() -> float:
    """Return the fp32 operations a second of the fastest of some products."""
    images = numpy.full((_BATCH, _WIDTH), 0.5, numpy.float32)
    weights = numpy.full((_WIDTH, _WIDTH), 0.5, numpy.float32)
    best = min(_time(images, weights) for _ in range(_TIMES))
    return 2 * _BATCH * _WIDTH**2 / best


def _time(a: "numpy.ndarray", b: "numpy.ndarray") -> float:
    began = time.process_time()  # not wall time: other programs may run, too
    a @ b
    return time.process_time() - began


if __name__ == "__main__":
    print(measure())
