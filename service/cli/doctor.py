"""`dq doctor`: check everything."""

import click

from service.cli.output import format_option, print_message, print_table
from service.operations.doctor import check_all, check_liveness, check_readiness
from service.reports.table import Column, Format, Table

_STYLES = {"ok": "green", "note": "yellow", "fail": "red"}


@click.command
@click.option(
    "--ready", is_flag=True, help="Check only what every command needs: database and Redis."
)
@click.option("--live", is_flag=True, help="Check only whether a worker of this host is alive.")
@format_option
def command(*, ready: bool, live: bool, format: Format) -> None:
    """Check settings, database, Redis, worker, data sets; exit with 1 if one fails.

    --ready and --live answer fast, for the health checks of containers.
    """
    checks = check_liveness() if live else check_readiness() if ready else check_all()
    columns = (
        Column("name", "check"),
        Column("state", "state", style=_STYLES.__getitem__),
        Column("found", "found"),
        Column("fix", "what to do"),
    )
    print_table(Table(columns, checks), format)
    failed = sum(check.state == "fail" for check in checks)
    print_message(f"{failed} of {len(checks)} checks failed." if failed else "All is well.")
    if failed:
        raise SystemExit(1)
