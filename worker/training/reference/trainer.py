"""The training loop: a generator of epoch metrics that can stop and continue at any batch."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models.errors import Diverged
from models.metrics import EpochMetrics
from models.spec import ExperimentSpec
from worker.training.checkpoint import Snapshot
from worker.training.data.tensors import Data
from worker.training.randomness import Randomness
from worker.training.reference import network, sgd


@dataclass
class ReferenceRun:
    """The position of one training; `train` advances it."""

    network: nn.Sequential
    randomness: Randomness
    #: Epochs done.
    epoch: int = 0
    #: Batches of the current epoch done.
    batch: int = 0
    #: The epoch's permutation of the images, on the CPU; empty between epochs.
    order: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    #: Wall time the current epoch has taken so far, in all attempts.
    seconds: float = 0.0
    #: One for each of the network's parameters, on its device; none without momentum.
    velocities: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class _Outputs:
    """The loss and accuracy of the network on some images, still on the device."""

    loss: Tensor  # (), mean cross-entropy in nats
    accuracy: Tensor  # (), fraction


def start(spec: ExperimentSpec, data: Data, device: torch.device | str) -> ReferenceRun:
    """Return a run of the spec before its first batch, on the device where `data` lies."""
    run = _make_run(spec, data)
    network.initialise(run.network, run.randomness.init)
    run.network.to(device)
    if spec.momentum:
        run.velocities = [torch.zeros_like(p) for p in run.network.parameters()]
    return run


def restore(
    spec: ExperimentSpec, data: Data, device: torch.device | str, snapshot: Snapshot
) -> ReferenceRun:
    """Return a run that continues where `snapshot` was taken, with the same metrics to the bit.

    On another kind of device the arithmetic rounds differently.
    """
    run = _make_run(spec, data)
    run.network.load_state_dict(snapshot.weights)
    run.network.to(device)
    run.randomness.restore(snapshot.randomness)
    run.epoch, run.batch, run.seconds = snapshot.epoch, snapshot.batch, snapshot.seconds
    run.order = snapshot.order.clone()
    run.velocities = [velocity.clone().to(device) for velocity in snapshot.velocities]
    return run


def snapshot(run: ReferenceRun) -> Snapshot:
    """Return a copy of the run's state; it must be between two batches."""
    return Snapshot(
        weights={name: weight.cpu().clone() for name, weight in run.network.state_dict().items()},
        randomness=run.randomness.state,
        epoch=run.epoch,
        batch=run.batch,
        order=run.order.clone(),
        seconds=run.seconds,
        velocities=[velocity.cpu().clone() for velocity in run.velocities],
    )


def train(
    spec: ExperimentSpec,
    run: ReferenceRun,
    data: Data,
    before_batch: Callable[[], None] = lambda: None,
) -> Iterator[EpochMetrics]:
    """Train from the run's position to the spec's last epoch; yield each epoch's metrics.

    `before_batch` may raise to stop: the run is then between two batches, fit for `snapshot` or for
    another `train`. Raises Diverged, and does not yield the metrics, if a loss is NaN or infinite.
    At a yield the run is at the end of the epoch yielded.
    """
    while run.epoch < spec.epochs:
        metrics = _train_epoch(spec, run, data, before_batch)
        run.epoch, run.batch, run.seconds = run.epoch + 1, 0, 0.0
        run.order = torch.empty(0, dtype=torch.int64)
        yield metrics


def _make_run(spec: ExperimentSpec, data: Data) -> ReferenceRun:
    data.require(spec.images)
    randomness = Randomness.of(spec.seed)
    return ReferenceRun(network.build(spec, randomness.masks), randomness)


def _train_epoch(
    spec: ExperimentSpec, run: ReferenceRun, data: Data, before_batch: Callable[[], None]
) -> EpochMetrics:
    began = time.perf_counter() - run.seconds
    if not len(run.order):
        run.order = run.randomness.draw_order(spec.images)
    run.network.train()
    batches = torch.split(run.order.to(data.device), spec.batch_size)
    for indexes in batches[run.batch :]:
        before_batch()
        last = _train_batch(spec, run, data.train_x[indexes], data.train_y[indexes])
        run.batch += 1
        run.seconds = time.perf_counter() - began
    values = _fetch(last, _evaluate(run.network, *_pick_images(spec, data)))
    if not all(map(math.isfinite, values)):
        raise Diverged(f"diverged at epoch {run.epoch + 1}")
    return EpochMetrics(run.epoch + 1, *values, time.perf_counter() - began)


def _train_batch(spec: ExperimentSpec, run: ReferenceRun, x: Tensor, y: Tensor) -> _Outputs:
    # x: (batch, features), y: (batch,)
    logits = run.network(x)
    loss = cross_entropy(logits, y)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    _update(spec, run)
    return _Outputs(loss.detach(), _accuracy(logits, y))


def _update(spec: ExperimentSpec, run: ReferenceRun) -> None:
    lr = spec.lr * spec.lr_decay**run.epoch
    if spec.momentum:
        sgd.step_with_momentum(run.network.parameters(), run.velocities, lr, spec.momentum)
    else:
        sgd.step(run.network.parameters(), lr)
    if spec.max_norm is not None:
        sgd.limit_norms(network.hidden_weights(run.network), spec.max_norm)


def _pick_images(spec: ExperimentSpec, data: Data) -> tuple[Tensor, Tensor]:
    """Return the images and labels that the metrics named valid_* are taken on."""
    return (data.test_x, data.test_y) if spec.evaluation == "test" else (data.valid_x, data.valid_y)


@torch.no_grad()
def _evaluate(network: nn.Sequential, x: Tensor, y: Tensor) -> _Outputs:
    # In one pass: parts would sum the mean loss in another order, which rounds differently.
    network.eval()
    logits = network(x)
    return _Outputs(cross_entropy(logits, y), _accuracy(logits, y))


def _accuracy(logits: Tensor, y: Tensor) -> Tensor:
    return (logits.argmax(1) == y).double().mean()


def _fetch(train: _Outputs, valid: _Outputs) -> tuple[float, float, float, float]:
    """Return both losses and accuracies: the epoch's one wait for the device."""
    values = (train.loss.double(), train.accuracy, valid.loss.double(), valid.accuracy)
    train_loss, train_accuracy, valid_loss, valid_accuracy = torch.stack(values).tolist()
    return train_loss, train_accuracy, valid_loss, valid_accuracy
