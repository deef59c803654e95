"""The metrics of an epoch."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class EpochMetrics:
    """The metrics after one epoch, as the notebook takes them.

    Those named train_* are of the LAST batch, in training mode (dropout on); those named valid_* of
    the whole validation split, or of the test images where the spec's `evaluation` says so, in
    evaluation mode. Losses are mean cross-entropies in nats, accuracies fractions in [0, 1],
    `seconds` wall time.
    """

    epoch: int  # from 1
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float
    seconds: float


#: The names of the metrics, in the order of EpochMetrics.
METRICS = tuple(field.name for field in fields(EpochMetrics) if field.name != "epoch")
#: The metrics of a model; all but the time.
EPOCH_METRICS = METRICS[:-1]

#: Whether more of a metric is better, the most important metric first.
HIGHER_IS_BETTER = {
    "valid_accuracy": True,
    "valid_loss": False,
    "train_accuracy": True,
    "train_loss": False,
    "seconds": False,
}
