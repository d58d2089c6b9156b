"""The `nas` command. Commands parse, call and print; the work is done elsewhere."""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from nas.cli import export, listing, report, resume, search, show
from nas.errors import NasError

app = typer.Typer(
    name="nas",
    help="Search for the best network for your hardware.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("search")(search.search)
app.command("resume")(resume.resume)
app.command("show")(show.show)
app.command("list")(listing.list_names)
app.command("report")(report.report)
app.command("export")(export.export)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Search for the best network for your hardware."""
    if version:
        from nas import __version__

        typer.echo(f"nas {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; errors of the user end with one message and exit code 2, Ctrl-C with 130."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal without ± shows "?" instead of failing after the work is done.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        code = app(standalone_mode=False) or 0
    except NasError as error:
        _fail(str(error), error.exit_code)
    except TyperException as error:
        _fail(error.format_message(), 2)
    except BrokenPipeError:
        # The reader of our output went away (`nas ... | head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"cannot write the output: {error.strerror or error}", 2)
    if code == 130:
        _fail("interrupted", code)
    sys.exit(code)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"nas: {message}", err=True)
    sys.exit(code)
