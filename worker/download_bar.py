"""Shows how far a download is, on standard error."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TaskID, TransferSpeedColumn


class DownloadBar:
    """A bar a file; call it with the file's name, the bytes received and all its bytes."""

    def __init__(self) -> None:
        columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
        self._bars = Progress(*columns, console=Console(stderr=True))
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        if self._tasks:
            self._bars.stop()

    def __call__(self, name: str, received: int, total: int) -> None:
        """Move a file's bar; a `total` of 0 is unknown."""
        if not self._tasks:
            self._bars.start()  # not before: without a network there is nothing to show
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=None)
        self._bars.update(self._tasks[name], completed=received, total=total or None)
