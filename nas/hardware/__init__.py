"""Target profiles and latency predictors."""

from nas.hardware.lookup import LookupPredictor
from nas.hardware.predictor import LatencyPredictor, LinearPredictor
from nas.hardware.target import Profile, Target, load_target, read_target, target_names

__all__ = [
    "LatencyPredictor", "LinearPredictor", "LookupPredictor", "Profile", "Target", "load_target", "read_target",
    "target_names",
]  # fmt: skip
