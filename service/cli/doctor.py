"""`dq doctor`: check everything."""

import click

from service.cli.output import emit, format_option, say
from service.report import Column, Format, Table

_STYLES = {"ok": "green", "note": "yellow", "fail": "red"}


@click.command
@format_option
def command(*, format: Format) -> None:
    """Check settings, database, Redis, worker, data sets; exit with 1 if one fails."""
    from service.doctor import examine

    checks = examine()
    columns = (
        Column("name", "check"),
        Column("state", "state", style=_STYLES.__getitem__),
        Column("found", "found"),
        Column("fix", "what to do"),
    )
    emit(Table(columns, checks), format)
    failed = sum(check.state == "fail" for check in checks)
    say("All is well." if not failed else f"{failed} of {len(checks)} checks failed.")
    if failed:
        raise SystemExit(1)
