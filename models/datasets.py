"""The data sets, and how many images each split has."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dataset:
    """The sizes of one data set: images per split, features (pixels) per image, classes."""

    name: str
    train: int
    valid: int
    test: int
    features: int
    classes: int = 10


# MNIST is split as in the notebook: the last 10,000 of the 60,000 training images validate.
DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset("mnist", train=50_000, valid=10_000, test=10_000, features=784),
        Dataset("fashion-mnist", train=50_000, valid=10_000, test=10_000, features=784),
        Dataset("digits", train=1_197, valid=300, test=300, features=64),
    )
}
