"""Fit the accuracy surrogate of the space mbconv-ofa: `python experiments/mbconv_ofa_surrogate/fit.py`, one minute.

Reads ofa_mbv3/ and published/ from the folder NAS_DATA (default ../shared/data beside the repository), fits on 80 % of
the distinct networks, and writes search_spaces/surrogates/mbconv-ofa.npz and results.json. With `--splits` it repeats
the protocol on ten random splits instead and writes splits.csv.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
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
DATA = Path(os.environ.get("NAS_DATA", ROOT.parent / "shared" / "data"))
MEASURED, CURVES = DATA / "ofa_mbv3" / "imagenet_top1.csv.gz", DATA / "published" / "phone_latency.csv"
ARTEFACT = ROOT / "search_spaces" / "surrogates" / "mbconv-ofa.npz"

RESOLUTIONS, DEPTHS, KERNELS, EXPANDS = tuple(range(128, 225, 4)), (2, 3, 4), (3, 5, 7), (3, 4, 6)
MEASURED_RESOLUTION = 224
#: the decisions by their names in the space, which numbers its fixed first stage too; its own order may differ
DECISIONS = ["resolution"]
for _stage in range(2, 7):
    DECISIONS += [f"stage{_stage}.depth"]
    DECISIONS += [f"stage{_stage}.layer{layer}.{prop}" for layer in range(1, 5) for prop in ("kernel", "expand")]
#: the five stages: channels in and out, input size at resolution 224, stride, squeeze-and-excite
STAGES = ((16, 24, 112, 2, 0), (24, 40, 56, 2, 1), (40, 80, 28, 2, 0), (80, 112, 14, 1, 1), (112, 160, 14, 2, 1))
#: params, multiply-adds, depthwise multiply-adds, activations and layers of what all networks share
SHARED = (2_666_248.0, 20_471_808.0, 0.0, 1_000_000.0, 0.0)
#: chosen by cross-validation within the 80 %
CENTRES, STEPS = 512, 80
#: percent. The published resolution curves are parallel in log(100 - top1), so the ceiling is 100.
CEILING = 100.0
#: the spread of published resolution curves is widened by this factor: none of them is of a supernet
CURVE_CAUTION = 2.0


def read_networks() -> tuple[np.ndarray, np.ndarray]:
    """Return the decision values int[n, 46] of the distinct networks, and their top-1, the mean of repeats."""
    frame = pd.read_csv(MEASURED)
    depth, kernel, expand = (np.array([[int(v) for v in row.split()] for row in frame[c]]) for c in ("d", "ks", "e"))
    present = np.arange(20) % 4 < np.repeat(depth, 4, axis=1)
    layers = np.stack([kernel * present, expand * present], axis=2).reshape(len(frame), 5, 8)
    stages = np.concatenate([depth[:, :, None], layers], axis=2).reshape(len(frame), 45)
    values = np.column_stack([frame["r"], stages])
    distinct, network, count = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    return distinct, np.bincount(network.ravel(), frame["top1"]) / count


def split(networks: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of 80 % and of 20 % of the distinct networks, at random."""
    order = np.random.default_rng(seed).permutation(networks)
    held_out = round(0.2 * networks)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def to_latent(top1: np.ndarray) -> np.ndarray:
    return -np.log(CEILING - top1)


def rounded(channels: float) -> int:
    """Channels to a multiple of 8, never below 90 % (Howard et al., 2019)."""
    number = max(8, int(channels + 4) // 8 * 8)
    return number + 8 if number < 0.9 * channels else number


def layer_amounts(stage: int, layer: int, kernel: int, expand: int) -> list[float]:
    """Return params, multiply-adds, depthwise multiply-adds, activations and layers; zeros for an absent layer."""
    if not (kernel and expand):
        return [0.0] * 5
    before, out, size, stride, excite = STAGES[stage]
    if layer > 0:
        before, size, stride = out, size // stride, 1
    middle, out_size = rounded(before * expand), size // stride
    squeezed = rounded(middle / 4)
    params = (before + kernel**2 + out + 4) * middle + 2 * out + excite * (2 * middle * squeezed + squeezed + middle)
    depthwise = middle * kernel**2 * out_size**2
    macs = before * middle * size**2 + depthwise + middle * out * out_size**2 + excite * 2 * middle * squeezed
    return [params, macs, depthwise, middle * size**2 + (middle + out) * out_size**2, 1.0]


@dataclass
class Features:
    """Unscaled features by state, one table a group: smooth ones, one-hot ones; the encoding holds the amounts."""

    encoding: Encoding
    smooth: list[np.ndarray]
    one_hot: list[np.ndarray]

    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs of the squared-exponential and of the linear kernel."""
        states = self.encoding.states(values)
        starts = np.cumsum([0] + [len(table) for table in self.smooth])
        aggregates = self.encoding.aggregates(states)

        def gather(tables: list[np.ndarray]) -> np.ndarray:
            columns = [table[states[:, g] - starts[g]] for g, table in enumerate(tables)]
            return np.hstack([*columns, aggregates])

        return gather(self.smooth), gather(self.one_hot)


def build_features(values: np.ndarray) -> Features:
    """Groups: the resolution alone (no feature), then layer by layer, the depth of a stage with its first layer."""
    groups: list[list[tuple[int, ...]]] = [[RESOLUTIONS]]
    smooth, one_hot = [np.zeros((len(RESOLUTIONS), 0))], [np.zeros((len(RESOLUTIONS), 0))]
    additive = [np.zeros((len(RESOLUTIONS), 5))]
    for stage, layer in product(range(5), range(4)):
        absent = (0,) if layer >= min(DEPTHS) else ()
        group = [absent + KERNELS, absent + EXPANDS]
        groups.append([DEPTHS, *group] if layer == 0 else group)
        kernel, expand = np.array(list(product(*groups[-1])))[:, -2:].T
        present = (kernel > 0) & (expand > 0)
        smooth.append(
            np.column_stack([np.where(present, (kernel - 3) / 2, -1), np.log(np.maximum(expand, 1)), present])
        )
        one_hot.append(np.column_stack([kernel == k for k in KERNELS] + [expand == e for e in EXPANDS]).astype(float))
        additive.append(np.array([layer_amounts(stage, layer, *pair) for pair in zip(kernel, expand, strict=True)]))
    choices = [options for group in groups for options in group]
    plain = Encoding(
        choices=np.concatenate(choices).astype(np.int16),
        choice_counts=np.array([len(options) for options in choices], dtype=np.int16),
        group_sizes=np.array([len(group) for group in groups], dtype=np.int16),
        local=np.zeros((sum(map(len, smooth)), 1), dtype=np.float32),
        additive=np.vstack(additive),
        additive_offset=np.array(SHARED),
        log_shift=np.zeros(5),
        log_scale=np.ones(5),
        kernel_scale=np.ones(5),
    )
    logs = plain.aggregates(plain.states(values))
    return Features(replace(plain, log_shift=logs.mean(axis=0), log_scale=1 / logs.std(axis=0)), smooth, one_hot)


class Kernel(torch.nn.Module):
    """Squared-exponential kernel on smooth features plus a linear one on one-hot features plus a constant; noise."""

    def __init__(self, smooth: int, one_hot: int):
        super().__init__()
        self.log_inverse_length = torch.nn.Parameter(torch.full((smooth,), float(np.log(0.15))))
        self.log_linear = torch.nn.Parameter(torch.full((one_hot,), float(np.log(0.1))))
        self.log_amplitude = torch.nn.Parameter(torch.tensor(0.0))
        self.log_noise = torch.nn.Parameter(torch.tensor(float(np.log(0.1))))

    def smooth(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x, y = x * self.log_inverse_length.exp(), y * self.log_inverse_length.exp()
        square = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
        return (2 * self.log_amplitude).exp() * (-0.5 * square.clamp_min(0)).exp()

    def forward(self, x: torch.Tensor, one_hot: torch.Tensor) -> torch.Tensor:
        linear = one_hot * self.log_linear.exp()
        return self.smooth(x, x) + linear @ linear.T + 1.0 + (2 * self.log_noise).exp() * torch.eye(len(x))


def tune_kernel(x: np.ndarray, one_hot: np.ndarray, latent: np.ndarray) -> Kernel:
    """Maximise the marginal likelihood (Rasmussen & Williams 2006, eq. 5.8)."""
    torch.set_default_dtype(torch.float64)
    inputs, target = (torch.tensor(x), torch.tensor(one_hot)), torch.tensor((latent - latent.mean()) / latent.std())
    kernel = Kernel(x.shape[1], one_hot.shape[1])
    optimiser = torch.optim.Adam(kernel.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS, eta_min=0.01)
    for _ in range(STEPS):
        optimiser.zero_grad()
        factor = torch.linalg.cholesky(kernel(*inputs))
        white = torch.linalg.solve_triangular(factor, target[:, None], upper=False)
        (0.5 * white.square().sum() + factor.diagonal().log().sum()).backward()
        optimiser.step()
        schedule.step()
    return kernel.requires_grad_(False)


@dataclass
class SparseProcess:
    """Subset-of-regressors posterior mean (Quiñonero-Candela & Rasmussen, 2005) on standardised latents."""

    kernel: Kernel
    centre_features: np.ndarray
    coefficients: np.ndarray
    shift: float
    scale: float

    @classmethod
    def fit(cls, kernel: Kernel, x: np.ndarray, one_hot: np.ndarray, latent: np.ndarray) -> SparseProcess:
        centres = random_centres(len(x))
        process = cls(kernel, x[centres], np.empty(0), float(latent.mean()), float(latent.std()))
        basis = process.basis(x, one_hot)
        prior = np.eye(basis.shape[1])
        prior[: len(centres), : len(centres)] = basis[centres, : len(centres)] + 1e-6 * np.eye(len(centres))
        normal = basis.T @ basis + float((2 * kernel.log_noise).exp()) * prior
        process.coefficients = cho_solve(cho_factor(normal), basis.T @ ((latent - process.shift) / process.scale))
        return process

    def basis(self, x: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
        smooth = self.kernel.smooth(torch.tensor(x), torch.tensor(self.centre_features)).numpy()
        return np.hstack([smooth, one_hot * self.kernel.log_linear.exp().numpy(), np.ones((len(x), 1))])

    def predict(self, x: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
        return self.basis(x, one_hot) @ self.coefficients * self.scale + self.shift


def random_centres(rows: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(rows)[:CENTRES]


def cross_validated(kernel: Kernel, x: np.ndarray, one_hot: np.ndarray, latent: np.ndarray) -> np.ndarray:
    """Return for each row the prediction of a process fitted to the other nine tenths."""
    fold, predicted = np.random.default_rng(1).permutation(len(x)) % 10, np.empty(len(x))
    for k in range(10):
        rest = fold != k
        process = SparseProcess.fit(kernel, x[rest], one_hot[rest], latent[rest])
        predicted[~rest] = process.predict(x[~rest], one_hot[~rest])
    return predicted


def resolution_curves() -> pd.DataFrame:
    """Return, a row a published network, log(100 - top1) at 192, 160 and 128 less that at 224.

    MobileNetV1, MobileNetV2 and MnasNet at several widths, float32, each trained at each resolution.
    """
    table = pd.read_csv(CURVES)
    table = table[(table["precision"] == "fp32") & (table["accuracy_metric"] == "imagenet_top1")]
    table = table.drop_duplicates(["model", "source", "resolution"])
    error = np.log(100 - table.pivot(index=["model", "source"], columns="resolution", values="accuracy"))
    return error[[192, 160, 128]].sub(error[224], axis=0).dropna()


def resolution_effect() -> tuple[np.ndarray, np.ndarray]:
    """Return for each of RESOLUTIONS the loss of latent against 224, and the standard deviation of that loss.

    Mean and spread over the published curves, interpolated by quadratics through 0 in log(224 / r).
    """
    curves = resolution_curves()
    x = np.log(MEASURED_RESOLUTION / curves.columns.to_numpy(dtype=float))
    r = np.log(MEASURED_RESOLUTION / np.array(RESOLUTIONS, dtype=float))
    mean, spread = (
        np.column_stack([r, r**2]) @ np.linalg.lstsq(np.column_stack([x, x**2]), values, rcond=None)[0]
        for values in (curves.mean().to_numpy(), curves.std().to_numpy())
    )
    return mean, CURVE_CAUTION * spread


def fit(values: np.ndarray, top1: np.ndarray) -> tuple[Regressor, np.ndarray]:
    """Return the surrogate of the given networks, and their cross-validated top-1."""
    latent, features = to_latent(top1), build_features(values)
    x, one_hot = features(values)
    kernel = tune_kernel(x, one_hot, latent)
    predicted = cross_validated(kernel, x, one_hot, latent)
    residual = latent - predicted
    noise = float(residual.std())
    process = SparseProcess.fit(kernel, x, one_hot, latent)

    encoding, amounts, width = features.encoding, len(SHARED), 3
    inverse_length = kernel.log_inverse_length.exp().numpy()
    per_layer = inverse_length[:-amounts].reshape(20, width)
    local = [np.zeros((len(RESOLUTIONS), width)), *(t * s for t, s in zip(features.smooth[1:], per_layer, strict=True))]
    linear = process.coefficients[CENTRES:-1] * kernel.log_linear.exp().numpy() * process.scale
    per_state = [t @ c for t, c in zip(features.one_hot[1:], linear[:-amounts].reshape(20, -1), strict=True)]
    loss, loss_std = resolution_effect()
    log_std = np.zeros(len(encoding.local))
    log_std[: len(RESOLUTIONS)] = 0.5 * np.log1p((loss_std / noise) ** 2)
    regressor = Regressor(
        encoding=replace(encoding, local=np.vstack(local).astype(np.float32), kernel_scale=inverse_length[-amounts:]),
        centres=values[random_centres(len(values))].astype(np.int16),
        weights=(process.coefficients[:CENTRES] * process.scale * np.exp(2 * float(kernel.log_amplitude))).astype("f4"),
        linear=np.concatenate([-loss, *per_state])[:, None],
        log_std=log_std[:, None],
        aggregate_weights=linear[-amounts:, None],
        intercept=np.array([process.coefficients[-1] * process.scale + process.shift]),
        slope=np.zeros(1),
        log_std_intercept=np.array([np.log(noise)]),
        ceiling=np.array([CEILING]),
        quantiles=np.quantile(residual / noise, [0.05, 0.95])[None],
        metadata={"scales": ["supernet"]},
    )
    return regressor, CEILING - np.exp(-predicted)


def figures(predicted: Prediction, truth: np.ndarray) -> dict[str, float]:
    error = predicted.mean - truth
    return {
        "networks": len(truth),
        "kendall_tau": float(kendalltau(predicted.mean, truth).statistic),
        "spearman": float(spearmanr(predicted.mean, truth).statistic),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.square(error).mean())),
        "coverage_90": float(np.mean((predicted.low <= truth) & (truth <= predicted.high))),
        "mean_interval_width": float((predicted.high - predicted.low).mean()),
    }


def repeat_on_splits(values: np.ndarray, top1: np.ndarray) -> None:
    rows = []
    for seed in range(10):
        train, test = split(len(values), seed)
        regressor, _ = fit(values[train], top1[train])
        rows.append({"seed": seed} | figures(regressor.predict(values[test])["supernet"], top1[test]))
        print(pd.Series(rows[-1]).round(4).to_dict(), flush=True)
    table = pd.DataFrame(rows)
    table.round(4).to_csv(HERE / "splits.csv", index=False)
    print(table.agg(["mean", "std", "min", "max"]).round(4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", action="store_true", help="repeat the protocol on ten random splits")
    values, top1 = read_networks()
    if parser.parse_args().splits:
        repeat_on_splits(values, top1)
        return
    train, test = split(len(values))
    regressor, cross = fit(values[train], top1[train])
    results = {
        "held_out": figures(regressor.predict(values[test])["supernet"], top1[test]),
        "cross_validation": {
            "networks": len(train),
            "kendall_tau": float(kendalltau(cross, top1[train]).statistic),
            "mae": float(np.abs(cross - top1[train]).mean()),
        },
    }
    description = {
        "fitted_rows": len(train),
        "dataset": "sub-networks of the once-for-all MobileNetV3 supernet (w1.0), ImageNet, resolution 224",
        "source": "DyNAS-T (Intel, 2022); supernet of Cai et al., Once for All, ICLR 2020",
        "licence": "Apache-2.0",
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (MEASURED, CURVES)},
        "units": "ImageNet top-1 in percent of the supernet's weights",
        "note": "ImageNet top-1 with weights inherited from the once-for-all supernet, not trained alone; measured at "
        "resolution 224, at others extrapolated by published curves of MobileNets and MnasNets, with wide intervals",
        "split": "80 % of the distinct networks, numpy default_rng(0)",
        "decisions": DECISIONS,
    }
    regressor = replace(regressor, metadata=regressor.metadata | description | results)
    regressor.save(ARTEFACT)
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))
    print(f"{ARTEFACT.relative_to(ROOT)}: {ARTEFACT.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
