"""Parts of a page that loads nothing and runs nothing but its own scripts."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from importlib.resources import files
from typing import Any


def asset(name: str) -> str:
    """Return a file that lies beside this module."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def embed(value: Any) -> str:
    """Return JSON that cannot end its <script> element or open a comment: ASCII only, without <, > and &.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def script_text(text: str) -> str:
    """Return code as the HTML parser will hand it to the engine, so that its digest is the one a policy allows."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def content_policy(*scripts: str) -> str:
    """Return a Content-Security-Policy that allows these scripts alone, inline styles and pictures inside the page."""
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
        f"script-src {' '.join(map(_digest, scripts))}"
    )


@functools.cache
def plotly_script() -> str:
    """Return plotly.js, about 5 MB."""
    from plotly.offline import get_plotlyjs

    return script_text(get_plotlyjs())


# Of a page that is written again and again, plotly.js is digested once.
@functools.lru_cache(maxsize=8)
def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
