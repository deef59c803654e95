"""`dq completion`: the completion script of a shell."""

import click
from click.shell_completion import get_completion_class

from service.cli.output import print_text


@click.command
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, *, shell: str) -> None:
    """Print the completion script for a shell: commands and options.

    \b
    dq completion bash >> ~/.bashrc
    """
    kind = get_completion_class(shell)
    assert kind is not None
    print_text(kind(ctx.find_root().command, {}, "dq", "_DQ_COMPLETE").source())
