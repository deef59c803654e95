"""The errors that a user can cause; each says what happened, then what to type."""


class DqError(Exception):
    """An error shown to the user as one message, without a traceback."""

    exit_code = 1


class UsageError(DqError):
    """A command's arguments do not make sense together."""

    exit_code = 2


class BrokerUnreachable(DqError):
    """No Redis answers."""

    exit_code = 3


class DatabaseUnreachable(DqError):
    """The database does not answer now; it may later."""

    exit_code = 3

    def __init__(self, found: str, fix: str = "Type: dq doctor") -> None:
        super().__init__(f"{found}. {fix}")
        self.found, self.fix = found, fix


class DatabaseRefused(DatabaseUnreachable):
    """The database refuses, until a person changes something there."""


class ValueRefused(DqError):
    """The database can never store a value."""

    exit_code = 2

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(f"{found}. {fix}")


class SchemaOutdated(DqError):
    """The database's tables are not those of this version of dq."""

    exit_code = 3


class WaitTimedOut(DqError):
    """The jobs waited for did not end in time."""

    exit_code = 124


class OutputFailed(DqError):
    """Standard output cannot be written."""


class DatasetUnavailable(DqError):
    """The data set is neither on disk nor to be downloaded."""


class DatasetCorrupt(DqError):
    """A data file does not match its checksum."""


class DatasetUnreadable(DqError):
    """A data file, or its folder, may not be read by this user."""


class Diverged(DqError):
    """A loss became NaN or infinite."""


class PrecisionUnavailable(DqError):
    """The device does not support a precision."""
