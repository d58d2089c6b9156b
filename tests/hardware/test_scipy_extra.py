"""Without SciPy every fit says what to install."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest

from nas.errors import NasError
from nas.hardware.fitting.fit_kernels import KernelFit
from nas.hardware.fitting.fit_regression import fit_regression
from nas.hardware.fitting.fit_roofline import fit_roofline
from nas.hardware.fitting.kernel_samples import samples_of
from nas.space import SearchSpace


def regression(space: SearchSpace) -> None:
    codes = space.sample(20, np.random.default_rng(0))
    fit_regression(space, codes, np.ones(20))


def roofline(space: SearchSpace) -> None:
    layers = [space.spec(code).layers() for code in space.sample(10, np.random.default_rng(0))]
    fit_roofline(samples_of(layers, np.ones(10)))


def interval_of_a_few_networks(space: SearchSpace) -> None:
    specs = [space.spec(code) for code in space.sample(4, np.random.default_rng(0))]
    _ = KernelFit(specs, [1.0, 1.1, 1.2, 1.3]).held_out


@pytest.mark.parametrize("fit", [regression, roofline, interval_of_a_few_networks])
def test_what_to_install(mbconv: SearchSpace, monkeypatch: pytest.MonkeyPatch, fit: Callable[..., None]) -> None:
    for module in ("scipy.optimize", "scipy.stats"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    with pytest.raises(NasError, match=r"needs SciPy: pip install 'nas\[fit\]'"):
        fit(mbconv)
