"""Compare model classes: `python experiments/mbconv_ofa_surrogate/compare.py`, about five minutes on one core.

Five-fold cross-validation inside the 80 % that fit.py fits on; the held-out 20 % are never read. Writes compare.csv.
"""

from __future__ import annotations

from collections.abc import Callable

import fit
import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from scipy.stats import kendalltau
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

Inputs = dict[str, np.ndarray]
Model = Callable[[Inputs, np.ndarray, Inputs], np.ndarray]
FOLDS = 5
#: of the optimiser, half of those in fit.py: the kernel is tuned afresh in every fold
STEPS = 40


def inputs(values: np.ndarray) -> Inputs:
    """Feature matrices of the networks: decisions, one-hot decisions, logs of amounts, and smooth values."""
    features = fit.build_features(values)
    smooth, one_hot = features(values)
    amounts = len(fit.SHARED)
    logs = smooth[:, -amounts:]
    return {
        "decisions": values[:, 1:].astype(float),
        "one_hot": one_hot[:, :-amounts],
        "one_hot_logs": one_hot,
        "logs": logs,
        "smooth": smooth[:, :-amounts],
        "smooth_logs": smooth,
    }


def ridge(name: str) -> Model:
    def model(train: Inputs, latent: np.ndarray, test: Inputs) -> np.ndarray:
        scaler = StandardScaler().fit(train[name])
        fitted = RidgeCV(np.logspace(-3, 3, 13)).fit(scaler.transform(train[name]), latent)
        return fitted.predict(scaler.transform(test[name]))

    return model


def boosting(*names: str) -> Model:
    def model(train: Inputs, latent: np.ndarray, test: Inputs) -> np.ndarray:
        fitted = LGBMRegressor(
            n_estimators=1500, learning_rate=0.02, num_leaves=12, min_child_samples=8, subsample=0.7, subsample_freq=1,
            colsample_bytree=0.4, random_state=0, n_jobs=1, verbose=-1,
        )  # fmt: skip
        fitted.fit(np.hstack([train[name] for name in names]), latent)
        return fitted.predict(np.hstack([test[name] for name in names]))

    return model


def process(smooth: str, linear: str, centres: int) -> Model:
    def model(train: Inputs, latent: np.ndarray, test: Inputs) -> np.ndarray:
        fit.STEPS, fit.CENTRES = STEPS, centres
        kernel = fit.tune_kernel(train[smooth], train[linear], latent)
        fitted = fit.SparseProcess.fit(kernel, train[smooth], train[linear], latent)
        return fitted.predict(test[smooth], test[linear])

    return model


MODELS: dict[tuple[str, str], Model] = {
    ("ridge", "one-hot"): ridge("one_hot"),
    ("ridge", "one-hot + amounts"): ridge("one_hot_logs"),
    ("LightGBM", "decisions"): boosting("decisions"),
    ("LightGBM", "decisions + amounts"): boosting("decisions", "logs"),
    ("Gaussian process, 512 centres", "one-hot + amounts"): process("one_hot_logs", "one_hot_logs", 512),
    ("Gaussian process, 512 centres", "values"): process("smooth", "one_hot", 512),
    ("Gaussian process, 512 centres", "values + amounts"): process("smooth_logs", "one_hot_logs", 512),
}


def main() -> None:
    values, top1 = fit.read_networks()
    rows, _ = fit.split(len(values))
    values, top1 = values[rows], top1[rows]
    fold = np.random.default_rng(2).permutation(len(values)) % FOLDS
    features, results = inputs(values), []
    for (name, described), model in MODELS.items():
        predicted = np.empty(len(values))
        for k in range(FOLDS):
            train, test = ({n: x[chosen] for n, x in features.items()} for chosen in (fold != k, fold == k))
            predicted[fold == k] = model(train, fit.to_latent(top1[fold != k]), test)
        error = fit.CEILING - np.exp(-predicted) - top1
        results.append({
            "model": name, "features": described,
            "kendall_tau": round(float(kendalltau(top1 + error, top1).statistic), 4),
            "mae": round(float(np.abs(error).mean()), 4), "rmse": round(float(np.sqrt(np.square(error).mean())), 4),
        })  # fmt: skip
        print(results[-1], flush=True)
    pd.DataFrame(results).to_csv(fit.HERE / "compare.csv", index=False)


if __name__ == "__main__":
    main()
