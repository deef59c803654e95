"""One run: its parameters, its random generators, its position in the training."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.spec import ExperimentSpec
from worker.training.checkpoint import CheckpointUnreadable, Snapshot
from worker.training.data.tensors import Data
from worker.training.randomness import Randomness
from worker.training.reference import network


@dataclass(eq=False)
class Run:
    """The state of one run; `engine.train` advances it."""

    spec: ExperimentSpec
    #: Each layer's weight (units, inputs) and bias (units,), in the order of the network.
    parameters: list[Tensor]
    #: One for each parameter; none without momentum.
    velocities: list[Tensor]
    randomness: Randomness
    #: Epochs done.
    epoch: int = 0
    #: Batches of the current epoch done.
    batch: int = 0
    #: Time the current epoch has taken so far; in a pack, this run's share of it.
    seconds: float = 0.0
    #: The generators' state at the start of the current epoch, whose random numbers a resumed run
    #: draws again; empty between epochs.
    epoch_randomness: dict[str, Tensor] = field(default_factory=dict)

    @property
    def has_begun(self) -> bool:
        """Whether it has trained a batch."""
        return self.epoch > 0 or self.batch > 0

    @property
    def is_done(self) -> bool:
        """Whether it has trained all of its spec's epochs."""
        return self.epoch >= self.spec.epochs

    @property
    def lr(self) -> float:
        """The learning rate of the current epoch."""
        return self.spec.lr * self.spec.lr_decay**self.epoch

    def begin_epoch(self) -> None:
        """Set the generators to the start of the epoch, also if it was begun before."""
        if self.epoch_randomness:
            self.randomness.restore(self.epoch_randomness)
        else:
            self.epoch_randomness = self.randomness.state

    def end_epoch(self) -> None:
        """Count the current epoch as done."""
        self.epoch, self.batch, self.seconds = self.epoch + 1, 0, 0.0
        self.epoch_randomness = {}


def start(spec: ExperimentSpec, data: Data, device: torch.device | str) -> Run:
    """Return a run of the spec before its first batch, on the device where `data` lies."""
    data.require(spec.images)
    randomness = Randomness.of(spec.seed, device)
    built = network.build(spec, randomness.masks)
    network.initialise(built, randomness.init)
    parameters = [p.detach().to(device, copy=True) for p in built.parameters()]
    velocities = [torch.zeros_like(p) for p in parameters] if spec.momentum else []
    return Run(spec, parameters, velocities, randomness)


def restore(
    spec: ExperimentSpec, data: Data, device: torch.device | str, snapshot: Snapshot
) -> Run:
    """Return a run that continues where `snapshot` was taken, on a CPU with the same bits.

    Raises CheckpointUnreadable if it was taken on another kind of device: its numbers differ.
    """
    data.require(spec.images)
    randomness = Randomness.of(spec.seed, device)
    _check_device(randomness, snapshot)
    randomness.restore(snapshot.randomness)
    parameters = [weight.to(device, copy=True) for weight in snapshot.weights.values()]
    velocities = [velocity.to(device, copy=True) for velocity in snapshot.velocities]
    return Run(
        spec=spec,
        parameters=parameters,
        velocities=velocities,
        randomness=randomness,
        epoch=snapshot.epoch,
        batch=snapshot.batch,
        seconds=snapshot.seconds,
    )


def snapshot(run: Run) -> Snapshot:
    """Return a copy of the run's state; it must be between two batches."""
    names = network.build(run.spec, run.randomness.masks).state_dict()
    weights = [parameter.to("cpu", copy=True).contiguous() for parameter in run.parameters]
    return Snapshot(
        weights=dict(zip(names, weights, strict=True)),
        randomness=run.epoch_randomness or run.randomness.state,
        epoch=run.epoch,
        batch=run.batch,
        seconds=run.seconds,
        velocities=[v.to("cpu", copy=True).contiguous() for v in run.velocities],
    )


def _check_device(randomness: Randomness, snapshot: Snapshot) -> None:
    mine, given = randomness.state["order"], snapshot.randomness["order"]
    if mine.shape != given.shape:
        raise CheckpointUnreadable("it was written on another kind of device")
