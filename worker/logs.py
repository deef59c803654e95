"""How worker processes log: one line an event, to standard error."""

import logging
import warnings
from typing import Any

from celery import signals
from celery.exceptions import CPendingDeprecationWarning


@signals.setup_logging.connect  # type: ignore[untyped-decorator] # Celery publishes no types
def configure(**_: Any) -> None:
    """Log our own events from INFO on and everybody else's from WARNING on.

    Celery calls this in each of its processes instead of its own set-up.
    """
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(levelname)-7s [%(process)d] %(message)s",
        datefmt="%H:%M:%S",
    )
    logging.getLogger("worker").setLevel(logging.INFO)
    # At each lost connection Celery announces the next default of a setting that dq sets.
    warnings.simplefilter("ignore", CPendingDeprecationWarning)
