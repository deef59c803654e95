"""One training in the engine: its parameters, its random numbers, its position."""

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
    """Where one training stands; `engine.train` moves it on."""

    spec: ExperimentSpec
    #: Each layer's weight (units, inputs) and bias (units,) in turn, as the network's parameters.
    parameters: list[Tensor]
    #: One for each parameter; none without momentum.
    velocities: list[Tensor]
    randomness: Randomness
    #: How many epochs are done.
    epoch: int = 0
    #: How many batches of the current epoch are done.
    batch: int = 0
    #: Time the current epoch has taken so far; in a pack, this run's share of it.
    seconds: float = 0.0
    #: The generators' state when the current epoch began: it is drawn again from there. Empty
    #: before that.
    drawn_from: dict[str, Tensor] = field(default_factory=dict)

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
        """Set the generators to where the epoch's draws start, also if it was begun before."""
        if self.drawn_from:
            self.randomness.restore(self.drawn_from)
        else:
            self.drawn_from = self.randomness.state

    def end_epoch(self) -> None:
        """Count the current epoch as done."""
        self.epoch, self.batch, self.seconds = self.epoch + 1, 0, 0.0
        self.drawn_from = {}


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
    """Return a copy of the run's state; it must stand between two batches."""
    names = network.build(run.spec, run.randomness.masks).state_dict()
    weights = [parameter.to("cpu", copy=True).contiguous() for parameter in run.parameters]
    return Snapshot(
        weights=dict(zip(names, weights, strict=True)),
        randomness=run.drawn_from or run.randomness.state,
        epoch=run.epoch,
        batch=run.batch,
        seconds=run.seconds,
        velocities=[v.to("cpu", copy=True).contiguous() for v in run.velocities],
    )


def _check_device(randomness: Randomness, snapshot: Snapshot) -> None:
    mine, given = randomness.state["order"], snapshot.randomness["order"]
    if mine.shape != given.shape:
        raise CheckpointUnreadable("it was written on another kind of device")
