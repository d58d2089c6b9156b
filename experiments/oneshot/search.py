"""Search cells of NAS-Bench-201 on CIFAR-10 with the methods of study.yaml: `python experiments/oneshot/search.py`.

Reads images/cifar10_{train,test}_jpeg.tar.xz from the folder NAS_DATA (default ../shared/data beside the repository).
A run that is over has a line in results.csv, its epochs in epochs.csv and, where shared weights are asked to rank
random cells, what they say in rankings.csv. It is skipped when the study is started again; a run that was stopped goes
on from its checkpoint. The table of trained cells is not read here: nothing that is done can depend on it.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock

from nas import registry
from nas.cost.objectives import Objective
from nas.data.dataset import Dataset
from nas.estimators.shared_weights import SharedWeights
from nas.plain_yaml import load_yaml
from nas.space import Codes, SearchSpace
from nas.strategies.evolution import RegularizedEvolution
from nas.strategies.oneshot.base import OneShotStrategy
from nas.strategies.oneshot.enas import ENAS
from nas.strategies.oneshot.fairnas import FairNAS
from nas.strategies.oneshot.fit import Fit
from nas.strategies.oneshot.methods import DARTS, GDAS, PCDARTS, PDARTS, DrNAS
from nas.strategies.oneshot.placing import prepared
from nas.strategies.oneshot.spos import SPOS
from nas.supernet.checkpoint import CHECKPOINT
from nas.supernet.factory import make_supernet
from nas.supernet.record import SupernetRecord, space_digest

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("NAS_DATA", HERE.parents[1].parent / "shared" / "data")) / "images" / "cifar10_*.tar.xz"
WORK = Path.home() / ".cache" / "nas" / "oneshot"
SPLIT_SEED = 0
METRIC = "oneshot_top1"
STRATEGIES: dict[str, type[OneShotStrategy]] = {
    "darts": DARTS, "drnas": DrNAS, "enas": ENAS, "fairnas": FairNAS, "gdas": GDAS, "p-darts": PDARTS,
    "pc-darts": PCDARTS, "spos": SPOS,
}  # fmt: skip
#: methods whose choice is made by the shared weights alone, which are therefore asked to rank random cells
RANKING = ("spos", "fairnas")

RESULTS = (
    "method", "seed", "epochs", "steps", "images", "cell", METRIC, "judged", "skip_share", "entropy", "eigenvalue",
    "train_loss", "train_top1", "train_seconds", "choice_seconds", "cpu_seconds",
)  # fmt: skip
EPOCHS = ("method", "seed", "epoch", "cell", "skip_share", "entropy", "train_loss", "train_top1", "architecture_loss")
RANKINGS = ("method", "seed", "cell", METRIC)


class Run:
    """One method from one seed.

    Args:
        study: study.yaml.
        name: of the method there.
        data: pattern of the archives.
        folder: of the checkpoint.
    """

    def __init__(self, study: dict[str, Any], name: str, seed: int, data: str, folder: Path):
        self.study, self.name, self.seed, self.folder = study, name, seed, folder
        method = study["methods"][name]
        self.space: SearchSpace = registry.load("spaces", "nasbench201")
        kind = STRATEGIES[method["strategy"]]
        share = study["settings"]["architecture_share"] if kind.learns_architecture else 0.0
        self.dataset = Dataset.load(data, seed=SPLIT_SEED, **study["data"], architecture=share)
        self.settings = settings_of(study, method, kind, len(self.dataset.splits.train))
        options = kind.candidate_options(self.settings)
        network = {"num_classes": 10, "in_channels": 3, "resolution": study["data"]["image_size"]} | study["network"]
        self.record = SupernetRecord(
            method=method["strategy"], space=self.space.name, space_digest=space_digest(self.space), network=network,
            affine=options.affine, partial=options.partial, pool_norm=options.pool_norm, data=data,
            data_digest=self.dataset.data.digest, **study["data"], architecture_share=share, seed=SPLIT_SEED,
            validation_images=self.settings.validation_images,
            recalibration_images=self.settings.recalibration_images,
        )  # fmt: skip
        torch.manual_seed(seed)
        supernet = prepared(make_supernet(self.space, options, **network), self.settings, torch.device("cpu"))
        self.strategy = kind(supernet, self.settings, None, seed)
        batch = self.settings.batch_size
        train = self.dataset.batches("train", batch, seed=seed)
        others = self.dataset.batches("architecture_validation", batch, seed=seed + 1) if share else None
        self.fit = Fit(self.strategy, train, others, folder, seed)

    def run(self) -> dict[str, list[dict[str, Any]]]:
        """Train the supernet and choose a cell; return the lines of each file."""
        resumed = (self.folder / CHECKPOINT).exists()
        cpu = time.process_time()
        self.fit.run()
        judge = Judge(self.strategy, self.dataset, self.record)
        begun = time.perf_counter()
        code, accuracy = self.choose(judge)
        choosing = time.perf_counter() - begun
        last = self.fit.records[-1]
        result = {
            "method": self.name, "seed": self.seed, "epochs": len(self.fit.records),
            "steps": len(self.fit.records) * self.fit.steps, "images": len(self.dataset.splits.train),
            "cell": self.cell(code), METRIC: accuracy, "judged": judge.judged,
            "skip_share": last["skip_share"], "entropy": last["entropy"], "eigenvalue": last.get("eigenvalue"),
            "train_loss": last["train_loss"], "train_top1": 100 * last["train_accuracy"],
            "train_seconds": sum(record["seconds"] for record in self.fit.records), "choice_seconds": choosing,
            "cpu_seconds": None if resumed else time.process_time() - cpu,
        }  # fmt: skip
        return {"results": [result], "epochs": list(self.epochs()), "rankings": list(self.rankings(judge))}

    def choose(self, judge: Judge) -> tuple[Codes, float]:
        """Return the code of the chosen cell and its accuracy with shared weights on validation images."""
        number = self.settings.candidates
        if self.strategy.selection[0] == "derived":
            proposed = self.strategy.propose(number, torch.Generator().manual_seed(self.seed))
            codes = np.unique(np.asarray(self.space.canonical(proposed)), axis=0) if number > 1 else proposed
            metrics = judge(codes)
        else:
            codes, metrics = self.evolve(judge, number)
        best = int(metrics[METRIC].to_numpy().argmax())
        return codes[best], float(metrics[METRIC].iloc[best])

    def evolve(self, judge: Judge, number: int) -> tuple[Codes, pd.DataFrame]:
        """Return what an evolution over the shared weights looked at."""
        evolution = RegularizedEvolution(self.space, [Objective(METRIC, maximise=True)], [], self.seed)
        seen: list[Codes] = []
        found: list[pd.DataFrame] = []
        while len(seen) < number:
            codes = evolution.ask(1)
            metrics = judge(codes)
            evolution.tell(codes, metrics)
            seen.append(codes)
            found.append(metrics)
        return np.concatenate(seen), pd.concat(found, ignore_index=True)

    def epochs(self) -> Iterable[dict[str, Any]]:
        for record in self.fit.records:
            line = {"method": self.name, "seed": self.seed, "cell": record["derived"]} | record
            yield line | {"train_top1": 100 * record["train_accuracy"]}

    def rankings(self, judge: Judge) -> Iterable[dict[str, Any]]:
        if self.study["methods"][self.name]["strategy"] not in RANKING:
            return
        codes = random_cells(self.space, self.study)
        for code, accuracy in zip(codes, judge(codes)[METRIC], strict=True):
            yield {"method": self.name, "seed": self.seed, "cell": self.cell(code), METRIC: accuracy}

    def cell(self, code: Codes) -> str:
        return self.space.format(code[None])[0]


class Judge:
    """Accuracy with shared weights on validation images, in percent.

    Attributes:
        judged: how many networks were.
    """

    def __init__(self, strategy: OneShotStrategy, dataset: Dataset, record: SupernetRecord):
        self._shared = SharedWeights(strategy.supernet, dataset, record)
        self.judged = 0

    def __call__(self, codes: Codes) -> pd.DataFrame:
        """Return oneshot_top1 of codes int8[n, D]; one with outputs that are not finite is right nowhere."""
        self.judged += len(codes)
        right = np.array([self._shared.right(code, "validation") for code in codes])
        return pd.DataFrame({METRIC: 100 * np.nan_to_num(right) / self._shared.sizes["validation"]})


def settings_of(study: dict[str, Any], method: dict[str, Any], kind: type[OneShotStrategy], images: int) -> Any:
    """Return the settings of a method: those of all, its own, and the learning rate of architecture weights.

    Args:
        images: that train weights.
    """
    fields, batch = kind.Settings.model_fields, study["settings"]["batch_size"]
    values = study["settings"] | {"epochs": method["epochs"], "channels_last": True, "device": "cpu"}
    if not kind.learns_architecture:
        values["architecture_share"] = 0.0
    values |= {"eigenvalue_every": method["epochs"], "candidates": method.get("candidates", 1)}
    values |= method.get("settings", {})
    if "architecture_learning_rate" in fields:
        learning = method["epochs"] - int(study["warmup"] * method["epochs"])
        values["warmup"] = study["warmup"]
        values["architecture_learning_rate"] = study["travel"] / (learning * (images // batch))
    return kind.Settings(**values)


def random_cells(space: SearchSpace, study: dict[str, Any]) -> Codes:
    """Return int8[n, 6], the random cells of the study."""
    drawn = study["random_cells"]
    return space.sample(drawn["number"], np.random.default_rng(drawn["seed"]))


def finished(path: Path) -> set[tuple[str, int]]:
    if not path.exists():
        return set()
    with path.open(newline="") as file:
        return {(line["method"], int(line["seed"])) for line in csv.DictReader(file)}


def replace_lines(path: Path, columns: tuple[str, ...], name: str, seed: int, lines: list[dict[str, Any]]) -> None:
    """Write the lines of one run beside those of the others; whole or not at all."""
    kept: list[dict[str, Any]] = []
    if path.exists():
        with path.open(newline="") as file:
            kept = [line for line in csv.DictReader(file) if (line["method"], line["seed"]) != (name, str(seed))]
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: rounded(value) for key, value in line.items()} for line in [*kept, *lines])
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def rounded(value: Any) -> Any:
    return f"{value:.5g}" if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=str(DATA), help="the archives, as a pattern")
    parser.add_argument("--study", type=Path, default=HERE / "study.yaml")
    parser.add_argument("--results", type=Path, default=HERE, help="folder of the three files")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the checkpoints")
    parser.add_argument("--only", nargs="+", help="methods, where not all; others may run beside")
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = load_yaml(options.study.read_text(encoding="utf-8"))
    names = [name for name in study["methods"] if not options.only or name in options.only]
    results = options.results / "results.csv"
    for seed in study["seeds"]:
        for name in names:
            if (name, seed) in finished(results):
                continue
            lines = Run(study, name, seed, options.data, options.work / f"{name}-{seed}").run()
            with FileLock(options.work / "results.lock"):
                # The line that marks a run as over comes last.
                for file, columns in (("rankings", RANKINGS), ("epochs", EPOCHS), ("results", RESULTS)):
                    replace_lines(options.results / f"{file}.csv", columns, name, seed, lines[file])
            print(*(rounded(lines["results"][0][column]) for column in RESULTS), flush=True)


if __name__ == "__main__":
    main()
