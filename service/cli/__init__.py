"""The command `dq`: each command is a module, imported when that command runs."""

import atexit
import gc
import importlib
from typing import Any

import click

from models.errors import DqError, UsageError
from service.cli import streams

# Collecting at exit all that was imported would take a quarter of a short command's time.
atexit.register(gc.freeze)

#: Each command's module and its line in `dq --help`, in the order of a person's first day.
COMMANDS = {
    "demo": "Train the notebook's comparison here, and print the table.",
    "submit": "Queue experiments: a grid of specs times seeds.",
    "worker": "Run jobs on this host until stopped.",
    "up": "Start all that jobs need here: Redis, a worker and the page.",
    "web": "Serve the queue, results and comparisons as pages and by REST.",
    "status": "Show the queue: jobs by state, and what runs now.",
    "wait": "Wait until jobs have ended.",
    "watch": "Show the progress of jobs, live.",
    "results": "List results, or compare configurations.",
    "tune": "Find the best rate, and confirm it on new seeds.",
    "reproduce": "Run what is missing for a published table, and compare with it.",
    "export": "Export results to files, TensorBoard or MLflow.",
    "show": "Show a job: spec, curve, attempts, provenance.",
    "diff": "Show how two jobs differ.",
    "tag": "Tag jobs with words to name them by.",
    "note": "Write a note on jobs.",
    "logs": "Print what happened to a job.",
    "cancel": "Cancel jobs, queued or running.",
    "retry": "Queue failed or cancelled jobs again.",
    "delete": "Delete jobs that have ended: results, logs, tags and checkpoints.",
    "prioritize": "Change which queued jobs start first.",
    "hold": "Keep queued jobs from starting.",
    "release": "Let held jobs start.",
    "pause": "Stop all workers from taking jobs.",
    "resume": "Let workers take jobs again.",
    "workers": "List the workers and what each does.",
    "metrics": "Print metrics for Prometheus.",
    "drain": "Stop workers after their current job.",
    "data": "Download or check data sets.",
    "db": "Migrate, check, repair or prune the database.",
    "doctor": "Check everything, and say how to fix it.",
    "completion": "Print the completion script for a shell.",
}


class Failure(click.ClickException):
    """A DqError as Click shows it, with its exit code."""

    def __init__(self, error: DqError) -> None:
        super().__init__(str(error))
        self.__dict__["exit_code"] = error.exit_code  # Click declares it on the class


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is used."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run as the program, with the standard streams of this process."""
        streams.prepare()
        try:
            return super().__call__(*args, **kwargs)
        except DqError as error:  # from --help, which prints before there is a command
            Failure(error).show()
            raise SystemExit(error.exit_code) from error

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse arguments that are not valid UTF-8, which no database and no terminal takes."""
        for word in args:
            if any("\ud800" <= char <= "\udfff" for char in word):
                raise Failure(
                    UsageError(
                        f"{word!r:.100} is not valid UTF-8: leave out the bytes that are not"
                    )
                )
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module, and return its `command`."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"service.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; where there is none, suggest those of a similar name."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, None, COMMANDS, ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; show a DqError as one message."""
        try:
            return super().invoke(ctx)
        except DqError as error:
            raise Failure(error) from error
        except KeyboardInterrupt:
            streams.end_line()
            ctx.exit(130)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dq")
def main() -> None:
    """Queue dropout experiments, train them on GPU workers, compare them honestly.

    \b
    dq submit --dropout 0.9,0.8,0.8 --dropout none --seeds 5
    dq results --compare

    Jobs are named by an id (142), a range (140..151), a sweep (s7), tag:paper, state:failed,
    owner:ann, @mine or @last. Settings are environment variables DQ_*: see `dq doctor`.
    """
