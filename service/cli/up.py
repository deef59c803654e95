"""`dq up`: all that runs jobs here, and shows them, until Ctrl-C."""

from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from models.errors import DqError
from models.settings import Settings
from service.cli.output import on_ctrl_c, print_message
from service.cli.parameters import pack_option, workers_option
from service.cli.worker import worker_arguments
from service.operations.local_service import LocalService

if TYPE_CHECKING:
    from service.web.server import WebServer


@click.command
@workers_option
@pack_option
def command(*, workers: int | None, pack: str | None) -> None:
    """Start the embedded Redis, a worker and the page; Ctrl-C stops all. Nothing queued is lost."""
    settings = Settings.load()
    end = "dq is down. What is queued is kept. Type: dq up"
    arguments = worker_arguments("auto", workers, pack)
    with on_ctrl_c(end), LocalService(settings, arguments, name="up") as local:
        print_message(
            f"dq is up in {settings.home}. Type in another terminal: dq submit. Ctrl-C stops it."
        )
        with ExitStack() as page:
            if find_spec("fastapi"):
                server = page.enter_context(_serve(settings))
                print_message(f"To look, and to act, open: {server.login_url}")
            else:
                print_message("There is no page without: pip install 'dq[web]'")
            code = local.wait()
    print_message(end)
    raise SystemExit(code)


def _serve(settings: Settings) -> "WebServer":
    """Return the page's server, on the port where it always is, or else on any."""
    from service.web.server import DEFAULT_PORT, WebServer  # noqa: PLC0415 - needs an extra

    try:
        return WebServer(settings, "127.0.0.1", DEFAULT_PORT)
    except DqError:
        return WebServer(settings, "127.0.0.1", 0)
