"""`dq web`: the page where people look."""

import signal

import click

from models.settings import Settings
from service.cli.output import print_message
from service.extras import needing


@click.command
@click.option("--host", default="127.0.0.1", help="The address to bind.", show_default=True)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, help="0 takes any.", show_default=True
)
@click.option(
    "--allow-host", "names", multiple=True, help="Another name that browsers may call it by."
)
@click.option("--public-url", metavar="URL", help="The address of a reverse proxy in front of it.")
def command(*, host: str, port: int, names: tuple[str, ...], public_url: str | None) -> None:
    """Serve the queue, sweeps, jobs and comparisons as pages and by REST, until Ctrl-C.

    Viewing needs no token; acting does. By default only this host reaches the page, and the address
    that is printed contains a new token. For other hosts set DQ_WEB_TOKEN or DQ_WEB_TOKEN_FILE.

    \b
    dq web --port 8765
    dq web --public-url https://dq.example.org/dq
    """
    with needing("fastapi", "web", "The page"):
        from service.web.server import WebServer  # noqa: PLC0415 - needs an extra

    # Blocked before any thread starts: none takes them, and `sigwait` has them whenever they came.
    stopping = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)
    with WebServer(Settings.load(), host, port, names, public_url) as web:
        print_message(f"dq is at {web.url}. Ctrl-C stops it.")
        print_message(f"To act, open: {web.login_url}")
        if public_url:
            print_message(f"The proxy reaches it at {web.own_url}.")
        signal.sigwait(stopping)
    print_message("The page is down.")
