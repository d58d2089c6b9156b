"""The `nas` command. Commands parse, call and print; the work is done elsewhere."""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn


def main() -> None:
    """Run the command line; errors of the user end with one message and exit code 2, Ctrl-C with 130."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal without ± shows "?" instead of failing after the work is done.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        code = _run()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader of our output went away (`nas ... | head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"cannot write the output: {error.strerror or error}", 2)
    if code == 130:
        _fail("interrupted", code)
    sys.exit(code)


def _run() -> int:
    """Parse and do what was asked; returns the exit code. Imports happen here, where Ctrl-C is caught."""
    from typer.exceptions import TyperException

    from nas.cli.app import app
    from nas.errors import NasError

    try:
        return app(standalone_mode=False) or 0
    except NasError as error:
        _fail(str(error), error.exit_code)
    except TyperException as error:
        _fail(error.format_message(), 2)


def _fail(message: str, code: int) -> NoReturn:
    print(f"nas: {message}", file=sys.stderr)
    sys.exit(code)
