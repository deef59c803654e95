"""`dq worker`: run jobs on this host."""

import click

from models.settings import Settings
from service.cli.output import say
from service.cli.parameters import pack_option


@click.command
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    help="Where to train; auto is every GPU, or else the CPU.",
)
@click.option("--processes", type=click.IntRange(1, 256), help="On the CPU: how many at once.")
@pack_option
def command(*, device: str, processes: int | None, pack: str | None) -> None:
    """Run jobs until told to stop: a process per GPU, or one per CPU core.

    Ctrl-C or SIGTERM gives running jobs back to the queue; a second one stops at once.

    \b
    dq worker --device cpu --processes 2
    """
    from models.embedded_redis import EmbeddedRedis
    from service.store import open_database
    from service.worker_program import become

    settings = Settings.load()
    open_database(settings)
    if settings.is_broker_embedded and EmbeddedRedis(settings.home).ensure_running():
        say(f"Started the embedded Redis in {settings.home}.")
    become(worker_arguments(device, processes, pack))


def worker_arguments(device: str, processes: int | None, pack: str | None = None) -> list[str]:
    """Return the worker program's words for these options."""
    chosen = [] if processes is None else ["--processes", str(processes)]
    packing = [] if pack is None else ["--pack", pack]
    return ["supervise", "--device", device, *chosen, *packing]
