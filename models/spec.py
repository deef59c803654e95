"""What the user asks for: one experiment, validated and frozen."""

import hashlib
import json
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from models.datasets import DATASETS

Keep = Annotated[float, Field(gt=0, le=1)]
#: A million units are 3 GiB of weights for each thousand of the layer before.
Width = Annotated[int, Field(ge=1, le=1_000_000)]
# -0.0 is the same experiment as 0, and JSONB has no such number.
Momentum = Annotated[float, Field(ge=0, lt=1), AfterValidator(lambda momentum: momentum or 0.0)]
Mask = Literal["batch", "sample"]
Precision = Literal["fp32", "tf32", "bf16"]

#: Raised whenever the same spec gives other metrics than before; results of two versions never mix.
TRAINER_VERSION = 4

#: The fields that describe every spec; the others do where they are not at their default.
_ALWAYS_DESCRIBED = {"dataset", "hidden", "keep", "lr", "batch_size", "epochs", "seed"}
#: Fields that came later: at their defaults, configurations keep the names they had before.
_LATER = {"precision": "fp32"}
#: The fields that runs trained together share; `shape` has what they share of the others.
_SHAPE = {
    "dataset",
    "train_size",
    "hidden",
    "batch_size",
    "epochs",
    "mask",
    "evaluation",
    "precision",
}


class ExperimentSpec(BaseModel):
    """One experiment; its results depend on these values alone.

    The defaults are the notebook's. `keep` holds, for each hidden layer, the probability that an
    activation is KEPT (Srivastava et al. 2014, section 4); one value stands for every layer, and
    none is no dropout. From `input_keep` on, the fields are what table 2 of that paper needs
    besides (https://jmlr.org/papers/v15/srivastava14a.html).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str = "mnist"
    #: How many training images to use, the first ones; None is all of them.
    train_size: Annotated[int, Field(ge=1)] | None = None
    hidden: Annotated[tuple[Width, ...], Field(min_length=1, max_length=1000)] = (8192, 8192, 8192)
    keep: Annotated[tuple[Keep, ...], Field(validate_default=True)] = ()
    lr: Annotated[float, Field(gt=0)] = 0.1
    batch_size: Annotated[int, Field(ge=1, validate_default=True)] = 1000
    epochs: Annotated[int, Field(ge=1, lt=2**31)] = 10  # a column of SQL counts them
    #: The probability that an input feature (a pixel) is kept.
    input_keep: Keep = 1.0
    #: One mask a layer for all rows of a batch, as in the notebook, or one for each sample.
    mask: Mask = "batch"
    #: The share of its velocity that a parameter keeps from batch to batch; 0 is plain SGD.
    momentum: Momentum = 0.0
    #: The largest L2 norm of a hidden unit's incoming weights; None is no limit.
    max_norm: Annotated[float, Field(gt=0)] | None = None
    #: What the learning rate is multiplied by after each epoch.
    lr_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    #: The images that the metrics named valid_* are taken on; training never sees either.
    evaluation: Literal["valid", "test"] = "valid"
    #: What products are computed in: fp32 means fp32, tf32 needs a GPU, and bf16 has bf16 operands
    #: and fp32 weights.
    precision: Precision = "fp32"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @field_validator("dataset")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in DATASETS:
            raise ValueError(f"unknown data set {name!r}: use one of {', '.join(DATASETS)}")
        return name

    @field_validator("train_size")
    @classmethod
    def _is_held(cls, size: int | None, info: ValidationInfo) -> int | None:
        held = _images_held(info)
        if size and held and size > held:
            raise ValueError(f"{size:,} is more than the {held:,} training images there are")
        return None if size == held else size

    @field_validator("keep")
    @classmethod
    def _fits_layers(cls, keep: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        """Return a rate for each layer, so that equal experiments are equal specs."""
        layers = len(info.data.get("hidden", keep))
        if len(keep) <= 1:
            return (keep or (1.0,)) * layers
        if len(keep) != layers:
            one, many = "1 hidden layer: write 1", "{0} hidden layers: write {0}, or 1 for all"
            rule = one if layers == 1 else many.format(layers)
            raise ValueError(f"{len(keep)} rates for {rule}")
        return keep

    @field_validator("batch_size")
    @classmethod
    def _fits_images(cls, size: int, info: ValidationInfo) -> int:
        images = info.data.get("train_size") or _images_held(info)
        if images and size > images:
            raise ValueError(f"{size:,} is more than the {images:,} training images of an epoch")
        return size

    @property
    def has_dropout(self) -> bool:
        """Whether any activation or input feature may be dropped."""
        return any(keep < 1 for keep in (self.input_keep, *self.keep))

    @property
    def images(self) -> int:
        """How many training images an epoch sees."""
        return self.train_size or DATASETS[self.dataset].train

    @property
    def batches(self) -> int:
        """How many batches make an epoch; the last one may be smaller."""
        return -(-self.images // self.batch_size)

    @property
    def evaluation_images(self) -> int:
        """How many images the metrics named valid_* are taken on."""
        dataset = DATASETS[self.dataset]
        return dataset.test if self.evaluation == "test" else dataset.valid

    @property
    def described_fields(self) -> list[str]:
        """The names of the fields that describe this spec."""
        return [
            name
            for name, info in type(self).model_fields.items()
            if name in _ALWAYS_DESCRIBED or getattr(self, name) != info.default
        ]

    @property
    def configuration(self) -> str:
        """A short stable name of everything but the seed: equal for repeats of an experiment."""
        return _name_configuration(self.model_copy(update={"seed": 0}))

    @property
    def shape(self) -> str:
        """A short stable name of what runs must share to be trained as one batch.

        That is what decides which computations there are, not their numbers: rates and
        probabilities may differ, but not whether there is a velocity, or a mask on the input.
        """
        return _name_shape(self.model_copy(update={"seed": 0}))


# Cached: a submit of thousands asks for each name several times, and most differ in the seed alone.


@lru_cache(maxsize=20_000)
def _name_configuration(spec: ExperimentSpec) -> str:
    later = {name for name, default in _LATER.items() if getattr(spec, name) == default}
    return _name(spec.model_dump(mode="json", exclude={"seed", *later}))


@lru_cache(maxsize=20_000)
def _name_shape(spec: ExperimentSpec) -> str:
    shared = spec.model_dump(mode="json", include=_SHAPE)
    has = [spec.momentum > 0, spec.max_norm is not None, spec.input_keep < 1]
    return _name({**shared, "has": has})


def _name(values: dict[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _images_held(info: ValidationInfo) -> int | None:
    """Return the size of the training split, or None if the data set itself was refused."""
    dataset = info.data.get("dataset")
    return DATASETS[dataset].train if dataset else None
