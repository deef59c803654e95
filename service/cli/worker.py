"""`dq worker`: run jobs on this host."""

from collections.abc import Sequence

import click

from models.embedded_redis import EmbeddedRedis
from models.settings import Settings
from service.cli.output import print_message
from service.cli.parameters import GPUS, pack_option, workers_option
from service.operations.running_commands import RunningCommands
from service.operations.schema import open_when_reachable
from service.operations.worker_program import become


@click.command
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    help="Where to train; auto is every GPU, or the CPU if there is none.",
)
@click.option("--gpus", type=GPUS, help="Which GPUs to use, by number: 0,1.  [default: all]")
@workers_option
@pack_option
def command(
    *, device: str, gpus: tuple[int, ...] | None, workers: int | None, pack: str | None
) -> None:
    """Run jobs until stopped: a process for each GPU, or one for each CPU core.

    A GPU with less than 2 GiB of free memory is not used.

    Ctrl-C or SIGTERM gives running jobs back to the queue; a second one stops at once.

    \b
    dq worker --gpus 0,1
    dq worker --device cpu --workers 2
    """
    if gpus and device == "cpu":
        raise click.UsageError("--gpus and --device cpu exclude each other: leave one out")
    settings = Settings.load()
    open_when_reachable(settings, print_message)
    if others := RunningCommands(settings.home, "worker").register():
        running = " and ".join(map(str, others))
        print_message(
            f"{running} already runs workers here; these come on top. To see all: dq workers"
        )
    if settings.is_broker_embedded and EmbeddedRedis(settings.home).ensure_running():
        print_message(f"Started the embedded Redis in {settings.home}.")
    become(worker_arguments(device, workers, pack, gpus or ()))


def worker_arguments(
    device: str, workers: int | None, pack: str | None = None, gpus: Sequence[int] = ()
) -> list[str]:
    """Return the worker program's arguments for these options."""
    options = {
        "--workers": None if workers is None else str(workers),
        "--pack": pack,
        "--gpus": ",".join(map(str, gpus)) or None,
    }
    given = [word for option, value in options.items() if value for word in (option, value)]
    return ["supervise", "--device", device, *given]
