"""Target profiles and predictors of what is measured on hardware."""

from nas.hardware.calibration import Calibration
from nas.hardware.predictor import AdditivePredictor, LatencyPredictor
from nas.hardware.predictors.linear import LinearPredictor
from nas.hardware.predictors.lookup import LookupPredictor
from nas.hardware.profile import Fit, HeldOut, MeasuringSetup, Profile
from nas.hardware.target import Fitted, Target, load_target, read_target, target_names

__all__ = [
    "AdditivePredictor", "Calibration", "Fit", "Fitted", "HeldOut", "LatencyPredictor", "LinearPredictor",
    "LookupPredictor", "MeasuringSetup", "Profile", "Target", "load_target", "read_target", "target_names",
]  # fmt: skip
