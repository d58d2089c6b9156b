"""Samplers of OptunaHub, a registry of samplers by others: `optunahub:PACKAGE`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nas.errors import NasError, suggestion
from nas.strategies.optuna_sampler import OptunaSampler, quiet_optuna, required_arguments

#: where OptunaHub keeps the packages of its registry, below its cache
REGISTRY = Path("github.com", "optuna", "optunahub-registry", "main", "package")


class OptunaHubSampler(OptunaSampler):
    """A sampler of a package of OptunaHub that the user has installed.

    A package is code, so nothing is downloaded here: the name of a strategy may come from a file of settings, and
    reading that must not run what its author chose. Installing one is a step of its own, as it is with pip.

    Raises:
        NasError: no package is named.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        if self.sampler is None:
            raise NasError("optunahub needs the name of a package: optunahub:PACKAGE")
        super().__init__(*args, **kwargs)

    @classmethod
    def with_argument(cls, sampler: str) -> type[OptunaSampler]:
        """Return the strategy of `PACKAGE`, or `PACKAGE:CLASS` where it has several samplers.

        Raises:
            NasError: OptunaHub or the package is not installed, or has no such sampler that needs no arguments.
        """
        package, _, wanted = sampler.partition(":")
        if not re.fullmatch(r"\w+(/\w+)*", package):
            raise NasError(f"{package!r} is no name of an OptunaHub package, such as cma_mae or samplers/cma_mae")
        package = package if "/" in package else f"samplers/{package}"
        found = _samplers(package)
        if wanted and wanted not in found:
            raise NasError(f"the OptunaHub package {package} has no sampler {wanted!r}{suggestion(wanted, found)}")
        if len(found) > 1 and not wanted:
            names = ", ".join(f"optunahub:{package}:{name}" for name in sorted(found))
            raise NasError(f"the OptunaHub package {package} has several samplers; name one: {names}")
        name = wanted or next(iter(found))
        if missing := required_arguments(found[name]):
            raise NasError(f"{name} of the OptunaHub package {package} needs arguments: {', '.join(missing)}")
        return cls._of(found[name], f"optunahub:{sampler}", f"{name} of the OptunaHub package {package}.")


def _samplers(package: str) -> dict[str, Callable[..., Any]]:
    """Import an installed package; returns what it exports for use as a sampler, by name."""
    if find_spec("optunahub") is None:
        raise NasError("strategies optunahub:... need the package optunahub: pip install optunahub")
    with quiet_optuna() as optuna:
        import optunahub
        from optunahub._conf import cache_home

        root = Path(cache_home()) / REGISTRY
        if not (root / package / "__init__.py").is_file():
            installed = [str(file.parent.relative_to(root)) for file in root.glob("*/*/__init__.py")]
            raise NasError(
                f"the OptunaHub package {package} is not installed{suggestion(package, installed)}; read its code at "
                f"https://hub.optuna.org, then install it: python -c "
                f"\"import optunahub; optunahub.load_module('{package}')\""
            )
        try:
            module = optunahub.load_local_module(package, registry_root=str(root))
        except ImportError as error:
            raise NasError(
                f"the OptunaHub package {package} needs the package {error.name}: pip install {error.name}"
            ) from error
        except Exception as error:
            raise NasError(f"the OptunaHub package {package} cannot be imported: {error}") from error
        exported = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
        named = {name: getattr(module, name) for name in exported}
        found: dict[str, Callable[..., Any]] = {
            name: value
            for name, value in named.items()
            if inspect.isclass(value)
            and issubclass(value, optuna.samplers.BaseSampler)
            and value.__module__.startswith("optunahub_registry.")
        }
    if not found:
        raise NasError(f"the OptunaHub package {package} has no sampler")
    return found
