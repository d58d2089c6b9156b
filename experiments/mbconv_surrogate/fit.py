"""Fit the accuracy surrogate of the space mbconv: `python experiments/mbconv_surrogate/fit.py`, about seven minutes.

Reads accel_nasbench/ from the folder NAS_DATA (default ../shared/data beside the repository), fits on the rows of the
split `train` alone, and writes search_spaces/surrogates/mbconv.npz and results.json. The split `val` is only reported.
"""

from __future__ import annotations

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
    def fit(
        cls, kernel: Kernel, x: np.ndarray, latent: np.ndarray, std: np.ndarray, centres: np.ndarray
    ) -> SparseProcess:
        """`std` is the relative noise of each row, up to a factor; `centres` are rows of x."""
        shift, scale = float(latent.mean()), float(latent.std())
        process = cls(kernel, x[centres], np.empty(0), shift, scale)
        basis, target = process.basis(x), (latent - shift) / scale
        prior = np.eye(basis.shape[1])
        prior[: len(centres), : len(centres)] = process.basis(x[centres])[:, : len(centres)] + 1e-6 * np.eye(
            len(centres)
        )
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


def random_centres(rows: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(rows)[:CENTRES]


def held_out_latent(kernel: Kernel, x: np.ndarray, latent: np.ndarray, std: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return for each row the prediction of a process fitted to the other folds."""
    predicted = np.empty(len(latent))
    for k in np.unique(fold):
        rest = fold != k
        process = SparseProcess.fit(kernel, x[rest], latent[rest], std[rest], random_centres(rest.sum()))
        predicted[~rest] = process.predict(x[~rest])
    return predicted


def ridge(x: np.ndarray, y: np.ndarray, penalties: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients, and the leave-one-out residuals in closed form."""
    solve = np.linalg.solve(x.T @ x + np.diag(penalties), x.T)
    coefficients = solve @ y
    return coefficients, (y - x @ coefficients) / (1 - np.einsum("ij,ji->i", x, solve))


def noise_model(one_hot: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Return the coefficients (the intercept last) of log|residual|: networks with many SE blocks scatter more."""
    x = np.hstack([one_hot, np.ones((len(one_hot), 1))])
    return ridge(x, np.log(np.abs(residual) + 0.002), np.append(np.full(one_hot.shape[1], 100.0), 1e-9))[0]


def calibrate(latent: np.ndarray, features: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Regress the full scale on [1, proxy latent, features], the last with the ridge penalty of least LOO error."""
    x = np.column_stack([np.ones(len(latent)), latent, features])
    candidates = [
        ridge(x, target, np.append([1e-9, 1e-6], np.full(features.shape[1], penalty)))
        for penalty in (3.0, 10.0, 30.0, 100.0)
    ]
    return min(candidates, key=lambda fit: np.square(fit[1]).mean())


def conformal_width(residual: np.ndarray) -> float:
    """Half of a 90 % interval from n exchangeable residuals: the ceil(0.9 (n + 1))-th smallest absolute one."""
    return float(np.sort(np.abs(residual))[int(np.ceil(0.9 * (len(residual) + 1))) - 1])


def leave_one_network_out(latent: np.ndarray, features: np.ndarray, full: np.ndarray) -> dict[str, float]:
    """Check the calibration: width, penalty and coefficients for each network come from the others alone."""
    target, ceiling = to_latent(full, CEILING["full"]), CEILING["full"]
    errors, covered, widths = [], [], []
    for i in range(len(full)):
        rest = np.arange(len(full)) != i
        coefficients, residual = calibrate(latent[rest], features[rest], target[rest])
        predicted = float(np.concatenate([[1.0, latent[i]], features[i]]) @ coefficients)
        half = conformal_width(residual)
        low, high = (ceiling - np.exp(-(predicted + side * half)) for side in (-1, 1))
        errors.append(ceiling - np.exp(-predicted) - full[i])
        covered.append(low <= full[i] <= high)
        widths.append(high - low)
    return {
        "networks": len(full),
        "coverage_90": float(np.mean(covered)),
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt(np.square(errors).mean())),
        "kendall_tau": float(kendalltau(full + errors, full).statistic),
        "mean_interval_width": float(np.mean(widths)),
    }


def accuracy_figures(predicted: Prediction, truth: np.ndarray) -> dict[str, float]:
    error = predicted.mean - truth
    return {
        "networks": len(truth),
        "kendall_tau": float(kendalltau(predicted.mean, truth).statistic),
        "spearman": float(spearmanr(predicted.mean, truth).statistic),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.square(error).mean())),
        "r2": float(1 - np.square(error).sum() / np.square(truth - truth.mean()).sum()),
        "coverage_90": float(np.mean((predicted.low <= truth) & (truth <= predicted.high))),
        "mean_interval_width": float((predicted.high - predicted.low).mean()),
    }


def compact(tables: list[np.ndarray], inverse_length: np.ndarray) -> np.ndarray:
    """Rotate each stage's scaled features onto as few axes as keep their distances; pad to one width."""
    columns = np.split(inverse_length, np.cumsum([table.shape[1] for table in tables]))
    rotated = []
    for table, scale in zip(tables, columns, strict=False):
        scaled = table * scale
        left, singular, _ = np.linalg.svd(scaled - scaled.mean(axis=0), full_matrices=False)
        kept = singular > 1e-3 * np.sqrt(len(table))
        rotated.append(left[:, kept] * singular[kept])
    width = max(part.shape[1] for part in rotated)
    return np.vstack([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in rotated]).astype(np.float32)


def stacked(blocks: list[np.ndarray], coefficients: np.ndarray) -> np.ndarray:
    """Return, for the rows of all blocks, each block times its own part of the coefficients."""
    parts = np.split(coefficients, np.cumsum([block.shape[1] for block in blocks])[:-1])
    return np.concatenate([block @ part for block, part in zip(blocks, parts, strict=True)])


def main() -> None:
    frame = read_networks()
    train = frame[frame["split"] == "train"]
    values, latent = decision_values(train), to_latent(train["top1"].to_numpy(), CEILING["proxy"])
    make, fold = build_features(values), folds(values)
    x, encoding = make(values), make.encoding
    kernel = tune_kernel(x, latent, HYPER_ROWS)

    one_hots = [table[:, :-3] for table in make.tables]
    one_hot = Features(encoding, one_hots).local(encoding.states(values))
    std = np.ones(len(latent))
    for _ in range(2):  # noise from residuals, then residuals of a fit that knows the noise
        residual = latent - held_out_latent(kernel, x, latent, std, fold)
        noise = noise_model(one_hot, residual)
        std = np.exp(one_hot @ noise[:-1] + noise[-1])
    unit = np.sqrt(np.mean((residual / std) ** 2))
    quantiles = np.quantile(residual / (unit * std), [0.05, 0.95])
    centres = random_centres(len(x))
    process = SparseProcess.fit(kernel, x, latent, std, centres)

    pairs = pd.read_csv(DATA / "proxy_vs_full.csv.gz").groupby(["e", "k", "l", "se", "scheme"])["top1"].mean()
    pairs = pairs.unstack("scheme").reset_index()
    pair_values = decision_values(pairs, ("e", "k", "l", "se"))
    known = {tuple(row) for row in values}
    unseen = ~np.array([tuple(row) in known for row in pair_values])
    pairs, pair_values = pairs[unseen], pair_values[unseen]
    centre, spread = values.mean(axis=0), values.std(axis=0)
    aggregates = encoding.aggregates(encoding.states(pair_values))
    pair_features = np.hstack([(pair_values - centre) / spread, aggregates])
    pair_latent, full = process.predict(make(pair_values)), pairs["fewproxy"].to_numpy()
    weights, full_residual = calibrate(pair_latent, pair_features, to_latent(full, CEILING["full"]))
    per_value, per_aggregate = weights[2:30] / spread, weights[30:]
    full_std = float(np.sqrt(np.square(full_residual).mean()))
    full_width = conformal_width(full_residual) / full_std

    amount = aggregates.shape[1]
    inverse_length, linear = kernel.log_inverse_length.exp().numpy(), process.coefficients[CENTRES:-1]
    linear = linear * kernel.log_linear.exp().numpy() * process.scale
    kernel_weights = process.coefficients[:CENTRES] * process.scale * np.exp(2 * float(kernel.log_amplitude))
    state_values = [np.array(list(product(*encoding.allowed[4 * s : 4 * s + 4]))) for s in range(7)]
    regressor = Regressor(
        encoding=replace(
            encoding,
            local=compact(make.tables, inverse_length[:-amount]),
            kernel_scale=inverse_length[-amount:],
        ),
        centres=values[centres].astype(np.int8),
        weights=kernel_weights.astype(np.float32),
        linear=np.column_stack([stacked(make.tables, linear[:-amount]), stacked(state_values, per_value)]),
        log_std=np.column_stack([stacked(one_hots, noise[:-1]), np.zeros(len(encoding.local))]),
        aggregate_weights=np.column_stack([linear[-amount:], per_aggregate]),
        intercept=np.array([process.coefficients[-1] * process.scale + process.shift, weights[0] - per_value @ centre]),
        slope=np.array([0.0, weights[1]]),
        log_std_intercept=np.array([noise[-1] + np.log(unit), np.log(full_std)]),
        ceiling=np.array([CEILING["proxy"], CEILING["full"]]),
        quantiles=np.array([quantiles, [-full_width, full_width]]),
        metadata={"scales": ["proxy", "full"]},
    )

    val = frame[frame["split"] == "val"]
    cross_validated = CEILING["proxy"] - np.exp(residual - latent)
    results = {
        "held_out": accuracy_figures(regressor.predict(decision_values(val))["proxy"], val["top1"].to_numpy()),
        "cross_validation": {
            "kendall_tau": float(kendalltau(cross_validated, train["top1"]).statistic),
            "rmse": float(np.sqrt(np.square(cross_validated - train["top1"]).mean())),
        },
        "three_seed_proxy": accuracy_figures(regressor.predict(pair_values)["proxy"], pairs["proxified"].to_numpy()),
        "full_calibration": leave_one_network_out(pair_latent, pair_features, full),
    }
    description = {
        "fitted_rows": len(train),
        "dataset": "Accel-NASBench, ImageNet, MBConv networks; split train",
        "source": "Ahmad et al., Accel-NASBench, 2024, github.com/afzalxo/Accel-NASBench",
        "licence": "Apache-2.0",
        "sha256": {
            name: hashlib.sha256((DATA / name).read_bytes()).hexdigest()
            for name in ("imagenet_mbconv.csv.gz", "proxy_vs_full.csv.gz")
        },
        "units": "ImageNet top-1 in percent; proxy: one short training run; full: mean of three fuller runs",
        "note": "ImageNet top-1 after the full training of Accel-NASBench, which differs from the papers' recipes",
        "decisions": [f"stage{s + 1}.{column}" for s in range(7) for column in COLUMNS],
    }
    ARTEFACT.parent.mkdir(parents=True, exist_ok=True)
    regressor = replace(regressor, metadata=regressor.metadata | description | results)
    regressor.save(ARTEFACT)
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))
    print(f"{ARTEFACT.relative_to(ROOT)}: {ARTEFACT.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
