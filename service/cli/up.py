"""`dq up`: all that runs jobs here, until Ctrl-C."""

import click

from models.settings import Settings
from service.cli.output import say
from service.cli.parameters import pack_option


@click.command
@click.option("--workers", type=click.IntRange(1, 256), help="On the CPU: how many at once.")
@pack_option
def command(*, workers: int | None, pack: str | None) -> None:
    """Start the embedded Redis and a worker; Ctrl-C stops both. Nothing queued is lost."""
    from service.cli.worker import worker_arguments
    from service.local_service import LocalService

    settings = Settings.load()
    with LocalService(settings, worker_arguments("auto", workers, pack), stops_redis=True) as local:
        say(f"dq is up in {settings.home}. Type in another terminal: dq submit. Ctrl-C stops it.")
        code = local.wait()
    say("dq is down.")
    raise SystemExit(code)
