"""Fit the accuracy surrogate of the space mbconv: `python experiments/mbconv_surrogate/fit.py`, about ten minutes.

Reads accel_nasbench/ from the folder NAS_DATA (default ../shared/data beside the repository), fits on the rows of the
split `train` alone, and writes search_spaces/surrogates/mbconv.npz and results.json. The split `val` is only reported.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import kendalltau, spearmanr

from nas.estimators.regressor import Encoding, Prediction, Regressor

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA = Path(os.environ.get("NAS_DATA", ROOT.parent / "shared" / "data")) / "accel_nasbench"
ARTEFACT = ROOT / "search_spaces" / "surrogates" / "mbconv.npz"
COLUMNS = ("expand", "kernel", "layers", "se")
WIDTHS = (16, 24, 40, 80, 112, 192, 320)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
#: chosen by cross-validation on `train`: percent; rows that tune the kernel; centres; degrees of freedom of the noise
CEILING = {"proxy": 80.0, "full": 85.0}
HYPER_ROWS = 3000
CENTRES = 1152
STUDENT = 5.0


def read_networks() -> pd.DataFrame:
    return pd.read_csv(DATA / "imagenet_mbconv.csv.gz")


def decision_values(frame: pd.DataFrame, columns: tuple[str, ...] = COLUMNS) -> np.ndarray:
    """Return int[n, 28] in the order stage1.expand, stage1.kernel, stage1.layers, stage1.se, stage2.expand, ..."""
    per_column = [np.array([[int(v) for v in row.split()] for row in frame[column]]) for column in columns]
    return np.stack(per_column, axis=2).reshape(len(frame), -1)


def folds(values: np.ndarray, count: int = 5) -> np.ndarray:
    """Return the fold of each row; copies of a network share one."""
    _, network = np.unique(values, axis=0, return_inverse=True)
    return np.random.default_rng(0).permutation(network.max() + 1)[network] % count


def to_latent(accuracy: np.ndarray, ceiling: float) -> np.ndarray:
    return -np.log(ceiling - accuracy)


def stage_amounts(stage: int, expand: int, kernel: int, layers: int, se: int) -> list[float]:
    """Return params, multiply-adds, activations, depthwise multiply-adds and weights, receptive field and layers."""
    size = 112 // int(np.prod(STRIDES[:stage]))
    channels = 32 if stage == 0 else WIDTHS[stage - 1]
    amounts = np.zeros(7)
    for layer in range(layers):
        out_size = size // STRIDES[stage] if layer == 0 else size
        middle, squeezed = channels * expand, max(1, channels // 4)
        expansion = channels * middle if expand > 1 else 0
        params = middle * kernel**2 + 2 * middle + middle * WIDTHS[stage] + 2 * WIDTHS[stage]
        params += expansion + (2 * middle if expand > 1 else 0) + se * (2 * middle * squeezed + squeezed + middle)
        macs = expansion * size**2 + (middle * kernel**2 + middle * WIDTHS[stage]) * out_size**2
        activations = (middle * size**2 if expand > 1 else 0) + (middle + WIDTHS[stage]) * out_size**2
        depthwise = middle * kernel**2
        amounts += [params, macs, activations, depthwise * out_size**2, depthwise, (kernel - 1) * 112 // out_size, 1]
        size, channels = out_size, WIDTHS[stage]
    return amounts.tolist()


@dataclass
class Features:
    """Unscaled features: `tables` are float[states, f] a stage, the encoding holds the amounts of whole networks."""

    encoding: Encoding
    tables: list[np.ndarray]

    def local(self, states: np.ndarray) -> np.ndarray:
        starts = np.cumsum([0] + [len(table) for table in self.tables])
        return np.hstack([table[states[:, g] - starts[g]] for g, table in enumerate(self.tables)])

    def __call__(self, values: np.ndarray) -> np.ndarray:
        states = self.encoding.states(values)
        return np.hstack([self.local(states), self.encoding.aggregates(states)])


def build_features(values: np.ndarray) -> Features:
    """One-hot decisions and log width·depth, params and MACs of each stage; log amounts of the network."""
    choices = [np.unique(column) for column in values.T]
    tables, additive = [], []
    for stage in range(7):
        options = choices[4 * stage : 4 * stage + 4]
        states = np.array(list(product(*options)))
        amounts = np.array([stage_amounts(stage, *state) for state in states])
        logs = np.log(np.column_stack([states[:, 0] * states[:, 2], amounts[:, 0], amounts[:, 1]]))
        one_hot = [(states[:, i : i + 1] == options[i]).astype(float) for i in range(4)]
        tables.append(np.hstack([*one_hot, (logs - logs.mean(axis=0)) / logs.std(axis=0)]))
        additive.append(np.column_stack([amounts, amounts[:, 0]]))
    stem_head_params = 3 * 32 * 9 + 64 + 320 * 1280 + 2560 + 1281 * 1000
    stem_head_macs = 3 * 32 * 9 * 112**2 + 320 * 1280 * 49 + 1280 * 1000
    offset = np.array([stem_head_params, stem_head_macs, 0, 0, 0, 0, 0, 0], dtype=float)
    plain = Encoding(
        choices=np.concatenate(choices).astype(np.int16),
        choice_counts=np.array([len(c) for c in choices], dtype=np.int16),
        group_sizes=np.full(7, 4, dtype=np.int16),
        local=np.zeros((sum(map(len, tables)), 1), dtype=np.float32),
        additive=np.vstack(additive),
        additive_offset=offset,
        log_shift=np.zeros(8),
        log_scale=np.ones(8),
        kernel_scale=np.ones(8),
    )
    logs = plain.aggregates(plain.states(values))
    encoding = replace(plain, log_shift=logs.mean(axis=0), log_scale=1 / logs.std(axis=0))
    return Features(encoding, tables)


class Kernel(torch.nn.Module):
    """Squared-exponential kernel with one length scale a feature, plus a linear one, plus a constant; with noise."""

    def __init__(self, features: int):
        super().__init__()
        self.log_inverse_length = torch.nn.Parameter(torch.full((features,), float(np.log(0.15))))
        self.log_linear = torch.nn.Parameter(torch.full((features,), float(np.log(0.1))))
        self.log_amplitude = torch.nn.Parameter(torch.tensor(0.0))
        self.log_noise = torch.nn.Parameter(torch.tensor(float(np.log(0.1))))

    def smooth(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x, y = x * self.log_inverse_length.exp(), y * self.log_inverse_length.exp()
        square = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
        return (2 * self.log_amplitude).exp() * (-0.5 * square.clamp_min(0)).exp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        linear = x * self.log_linear.exp()
        noise = (2 * self.log_noise).exp() * torch.eye(len(x))
        return self.smooth(x, x) + linear @ linear.T + 1.0 + noise


def tune_kernel(features: np.ndarray, latent: np.ndarray, rows: int, steps: int = 60) -> Kernel:
    """Maximise the marginal likelihood on a random subset (Rasmussen & Williams 2006, eq. 5.8)."""
    torch.set_default_dtype(torch.float64)
    chosen = np.random.default_rng(0).permutation(len(features))[:rows]
    x, target = torch.tensor(features[chosen]), torch.tensor((latent[chosen] - latent.mean()) / latent.std())
    kernel = Kernel(features.shape[1])
    # a failed training run is no evidence on length scales: leave out residuals beyond 5 robust standard deviations
    with torch.no_grad():
        inverse = torch.linalg.inv(kernel(x))
        left_out = (inverse @ target) / inverse.diagonal()
    kept = left_out.abs() < 5 * 1.4826 * left_out.abs().median()
    x, target = x[kept], target[kept]
    optimiser = torch.optim.Adam(kernel.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        factor = torch.linalg.cholesky(kernel(x))
        white = torch.linalg.solve_triangular(factor, target[:, None], upper=False)
        (0.5 * white.square().sum() + factor.diagonal().log().sum()).backward()
        optimiser.step()
        schedule.step()
    return kernel.requires_grad_(False)


@dataclass
class SparseProcess:
    """Subset-of-regressors posterior mean with Student-t noise, by iteratively reweighted least squares."""

    kernel: Kernel
    centre_features: np.ndarray
    coefficients: np.ndarray
    shift: float
    scale: float

    @classmethod
    def fit(cls, kernel: Kernel, x: np.ndarray, latent: np.ndarray, std: np.ndarray, centres: np.ndarray):
        """`std` is the relative noise of each row, up to a factor; `centres` are rows of x."""
        shift, scale = float(latent.mean()), float(latent.std())
        process = cls(kernel, x[centres], np.empty(0), shift, scale)
        basis, target = process.basis(x), (latent - shift) / scale
        prior = np.eye(basis.shape[1])
        prior[: len(centres), : len(centres)] = process.basis(x[centres])[:, : len(centres)] + 1e-6 * np.eye(len(centres))
        noise = float((2 * kernel.log_noise).exp())
        variance = (std / np.exp(np.log(std).mean())) ** 2
        weight = 1 / variance
        for _ in range(4):
            normal = (basis.T * weight) @ basis + noise * prior
            process.coefficients = cho_solve(cho_factor(normal), basis.T @ (weight * target))
            residual = target - basis @ process.coefficients
            weight = (STUDENT + 1) / (STUDENT * variance + residual**2 / noise)
        return process

    def basis(self, x: np.ndarray) -> np.ndarray:
        smooth = self.kernel.smooth(torch.tensor(x), torch.tensor(self.centre_features)).numpy()
        return np.hstack([smooth, x * self.kernel.log_linear.exp().numpy(), np.ones((len(x), 1))])

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.basis(x) @ self.coefficients * self.scale + self.shift


def choose_centres(kernel: Kernel, x: np.ndarray, count: int) -> np.ndarray:
    """Pivoted Cholesky: each next centre is the network that the ones before it explain least."""
    residual = np.full(len(x), float((2 * kernel.log_amplitude).exp()))
    factor, chosen = np.zeros((len(x), count)), np.zeros(count, dtype=int)
    for i in range(count):
        pivot = chosen[i] = int(residual.argmax())
        column = kernel.smooth(torch.tensor(x), torch.tensor(x[pivot : pivot + 1])).numpy()[:, 0]
        factor[:, i] = (column - factor[:, :i] @ factor[pivot, :i]) / np.sqrt(residual[pivot])
        residual = np.maximum(residual - factor[:, i] ** 2, 1e-12)
    return chosen
