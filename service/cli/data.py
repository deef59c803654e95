"""`dq data`: the data sets' files."""

import click

from models.settings import Settings
from service.cli.output import format_option, print_message, print_table
from service.cli.parameters import DATASET
from service.operations import worker_program
from service.reports.table import Column, Format, Table

_STYLES = {"ok": "green", "missing": "yellow", "corrupt": "red", "unreadable": "red"}


@click.group
def command() -> None:
    """Download or check data sets."""


@command.command
@click.argument("dataset", type=DATASET, default="mnist")
def fetch(*, dataset: str) -> None:
    """Download the files of a data set (mnist by default) that are missing or damaged."""
    if code := worker_program.call(["fetch", dataset]):
        raise SystemExit(code)
    print_message(f"{dataset} is complete. Check it with: dq data verify {dataset}")


@command.command
@click.argument("dataset", type=DATASET, default="mnist")
@format_option
def verify(*, dataset: str, format: Format) -> None:
    """Check the files of a data set by their checksums; exit with 1 if one is wrong."""
    files = worker_program.ask(["verify", dataset])
    columns = (Column("name", "file"), Column("state", "state", style=_STYLES.__getitem__))
    folder = Settings.load().data_dir / dataset
    print_table(Table(columns, files, title=(str(folder),) if files else ()), format)
    if not files:
        print_message(f"{dataset} needs no files: scikit-learn brings it along.")
    elif any(file["state"] != "ok" for file in files):
        print_message(f"Next: dq data fetch {dataset}")
        raise SystemExit(1)
