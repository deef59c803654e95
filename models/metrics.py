"""What an epoch measured, as it travels from the training loop to the table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EpochMetrics:
    """The figures after one epoch, as the notebook takes them, under their right names.

    The training figures are those of the LAST batch, in training mode (dropout on); the validation
    figures are those of the whole validation split, or of the test images where the spec's
    `evaluation` says so, in evaluation mode. Losses are mean cross-entropies in nats, accuracies
    fractions in [0, 1], `seconds` wall time.
    """

    epoch: int  # from 1
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float
    seconds: float


#: Every metric a comparison can be about, and whether more of it is better.
HIGHER_IS_BETTER = {
    "valid_accuracy": True,
    "valid_loss": False,
    "train_accuracy": True,
    "train_loss": False,
    "seconds": False,
}


#: The metrics that each epoch has.
EPOCH_METRICS = tuple(name for name in HIGHER_IS_BETTER if name != "seconds")
