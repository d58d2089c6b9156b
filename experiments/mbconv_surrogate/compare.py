"""Compare model classes by five-fold cross-validation on `train`: `python experiments/mbconv_surrogate/compare.py`.

Prints a table and writes compare.csv; about fifteen minutes on one core. The split `val` is never read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import lightgbm
import numpy as np
import pandas as pd
import xgboost
from fit import (
    CEILING,
    CENTRES,
    HERE,
    SparseProcess,
    build_features,
    decision_values,
    folds,
    read_networks,
    to_latent,
    tune_kernel,
)
from scipy.stats import kendalltau
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import SVR

HYPER_ROWS = 1000  # fewer than in fit.py: the kernel is tuned afresh in every fold

Predictor = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Candidate:
    """A model class on one set of columns; `fit` gets features and latent accuracy of the training rows."""

    name: str
    columns: str
    fit: Callable[[np.ndarray, np.ndarray], Predictor]


class Centred:
    """Fits any scikit-learn style regressor to a target of mean 0 and variance 1."""

    def __init__(self, make: Callable[[], object]):
        self.make = make

    def __call__(self, x: np.ndarray, y: np.ndarray) -> Predictor:
        shift, scale = y.mean(), y.std()
        model = self.make()
        model.fit(x, (y - shift) / scale)
        return lambda rows: model.predict(rows) * scale + shift


class Mean:
    """The mean of several models, each from its own maker."""

    def __init__(self, *fits: Callable[[np.ndarray, np.ndarray], Predictor]):
        self.fits = fits

    def __call__(self, x: np.ndarray, y: np.ndarray) -> Predictor:
        models = [fit(x, y) for fit in self.fits]
        return lambda rows: np.mean([model(rows) for model in models], axis=0)


def gaussian_process(centres: int) -> Callable[[np.ndarray, np.ndarray], Predictor]:
    def fit(x: np.ndarray, y: np.ndarray) -> Predictor:
        kernel = tune_kernel(x, y, HYPER_ROWS)
        chosen = np.random.default_rng(0).permutation(len(x))[:centres]
        return SparseProcess.fit(kernel, x, y, np.ones(len(x)), chosen).predict

    return fit


def boosted_lightgbm() -> object:
    return lightgbm.LGBMRegressor(
        n_estimators=3000,
        learning_rate=0.03,
        num_leaves=8,
        min_child_samples=10,
        colsample_bytree=0.4,
        subsample=0.8,
        subsample_freq=1,
        reg_lambda=1.0,
        n_jobs=1,
        verbose=-1,
        random_state=0,
    )


def boosted_xgboost() -> object:
    return xgboost.XGBRegressor(
        n_estimators=2500,
        learning_rate=0.03,
        max_depth=4,
        min_child_weight=3,
        colsample_bytree=0.5,
        subsample=0.8,
        n_jobs=1,
        random_state=0,
    )


def perceptron(seed: int) -> Callable[[], object]:
    return lambda: make_pipeline(
        StandardScaler(),
        MLPRegressor(
            hidden_layer_sizes=(64, 64),
            alpha=1.0,
            learning_rate_init=2e-3,
            max_iter=120,
            batch_size=64,
            random_state=seed,
        ),
    )


CANDIDATES = (
    Candidate("ridge", "all", Centred(lambda: make_pipeline(StandardScaler(), Ridge(10.0)))),
    Candidate(
        "ridge, pairwise products",
        "one-hot + params, MACs",
        Centred(lambda: make_pipeline(PolynomialFeatures(2, include_bias=False), StandardScaler(), Ridge(100.0))),
    ),
    Candidate("ExtraTrees, 300", "decisions + params, MACs", Centred(lambda: ExtraTreesRegressor(300, random_state=0))),
    Candidate("LightGBM", "decisions", Centred(boosted_lightgbm)),
    Candidate("LightGBM", "decisions + params, MACs", Centred(boosted_lightgbm)),
    Candidate("XGBoost", "decisions + params, MACs", Centred(boosted_xgboost)),
    Candidate(
        "SVR, RBF",
        "all",
        Centred(lambda: make_pipeline(StandardScaler(), SVR(C=30.0, gamma=0.002, epsilon=0.03))),
    ),
    Candidate(
        "kernel ridge, RBF",
        "all",
        Centred(lambda: make_pipeline(StandardScaler(), KernelRidge(alpha=0.05, gamma=0.001, kernel="rbf"))),
    ),
    Candidate("5 MLPs, 64-64", "all", Mean(*(Centred(perceptron(seed)) for seed in range(5)))),
    Candidate("Gaussian process, dense", "one-hot", gaussian_process(10**6)),
    Candidate("Gaussian process, dense", "one-hot + params, MACs", gaussian_process(10**6)),
    Candidate("Gaussian process, dense", "all", gaussian_process(10**6)),
    Candidate(f"Gaussian process, {CENTRES} centres", "all", gaussian_process(CENTRES)),
    Candidate(
        f"mean of Gaussian process, {CENTRES} centres, and 5 MLPs",
        "all",
        Mean(gaussian_process(CENTRES), Mean(*(Centred(perceptron(seed)) for seed in range(5)))),
    ),
)


def column_sets(values: np.ndarray) -> dict[str, np.ndarray]:
    make = build_features(values)
    states = make.encoding.states(values)
    amounts = make.encoding.aggregates(states)
    one_hot = type(make)(make.encoding, [table[:, :-3] for table in make.tables]).local(states)
    return {
        "decisions": values.astype(float),
        "decisions + params, MACs": np.hstack([values, amounts[:, :2]]),
        "one-hot": one_hot,
        "one-hot + params, MACs": np.hstack([one_hot, amounts[:, :2]]),
        "all": make(values),
    }


def main() -> None:
    frame = read_networks()
    train = frame[frame["split"] == "train"]
    values, truth = decision_values(train), train["top1"].to_numpy()
    latent, fold, columns = to_latent(truth, CEILING["proxy"]), folds(values), column_sets(values)
    rows = []
    for candidate in CANDIDATES:
        x, predicted = columns[candidate.columns], np.empty(len(truth))
        fit_seconds, predict_seconds, taus = 0.0, 0.0, []
        for k in np.unique(fold):
            test = fold == k
            started = time.perf_counter()
            model = candidate.fit(x[~test], latent[~test])
            fitted = time.perf_counter()
            predicted[test] = CEILING["proxy"] - np.exp(-model(x[test]))
            predict_seconds += time.perf_counter() - fitted
            fit_seconds += fitted - started
            taus.append(kendalltau(predicted[test], truth[test]).statistic)
        rows.append(
            {
                "model": candidate.name,
                "features": candidate.columns,
                "tau": np.mean(taus),
                "tau_std_over_folds": np.std(taus),
                "rmse": np.sqrt(np.square(predicted - truth).mean()),
                "mae": np.abs(predicted - truth).mean(),
                "fit_s": fit_seconds / len(taus),
                "predict_ms_per_1000": predict_seconds / len(truth) * 1e6,
            }
        )
        print(pd.DataFrame(rows[-1:]).to_string(header=len(rows) == 1, index=False, float_format="%.4f"), flush=True)
    pd.DataFrame(rows).round(4).to_csv(HERE / "compare.csv", index=False)


if __name__ == "__main__":
    main()
