"""SciPy, which fitting needs and predicting does not."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from nas.errors import NasError


def scipy_module(name: str) -> Any:
    """Import `scipy.<name>` and return it.

    Raises:
        NasError: SciPy is not installed.
    """
    try:
        return import_module(f"scipy.{name}")
    except ImportError:
        raise NasError("fitting needs SciPy: pip install 'nas[fit]'") from None
