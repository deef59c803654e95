"""Progress bars of downloads, on standard error."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn


class DownloadBars:
    """Makes a bar for each file; leaving it ends the display."""

    def __init__(self) -> None:
        columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        if self._progress.tasks:
            self._progress.stop()

    def __call__(self, name: str) -> "DownloadBar":
        """Return the bar of a file, not shown yet."""
        return DownloadBar(self._progress, name)


class DownloadBar:
    """The bar of one file, as pooch's downloaders move it."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._name = progress, name

    @property
    def total(self) -> int:
        """The size of the file in bytes; 0 is unknown. Setting it shows the bar."""
        return self._total

    @total.setter
    def total(self, size: int) -> None:
        self._total = size
        self._progress.start()  # not before: without a network there is nothing to show
        self._task = self._progress.add_task(self._name, total=size or None)

    def update(self, size: int) -> None:
        """Count bytes as received."""
        self._progress.advance(self._task, size)

    def reset(self) -> None:
        """Count from 0 again: pooch ends with one update by the total, which may be unknown."""
        if self._total:
            self._progress.update(self._task, completed=0)

    def close(self) -> None:
        """Leave the bar as it is."""
