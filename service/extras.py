"""Says what to install where a package that dq does not insist on is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from models.errors import DqError


@contextmanager
def needing(package: str, extra: str, what: str) -> Iterator[None]:
    """Import within this; where there is no such package, raise a DqError that names dq's extra.

    `what` begins the message: "A plot as .png".
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise DqError(f"{what} needs {package}. Type: pip install 'dq[{extra}]'") from error
