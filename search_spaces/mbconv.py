"""`mbconv`: the EfficientNet-B0 skeleton with free expansion, kernel, depth and squeeze-and-excite in every stage.

The space of Accel-NASBench (Ahmad et al., 2024), which contains EfficientNet-B0 (Tan & Le, 2019).
"""

from __future__ import annotations

from pathlib import Path

from nas.space import SqueezeExciteRule, StagedNetwork, StagedSpace

SKELETON = StagedNetwork.from_strings(
    stem="cn_k3_s2_c32",
    stages=(),
    head=("cn_c1280", "pool", "fc"),
    activation="silu",
    se=SqueezeExciteRule(ratio=0.25, of="input", activation="silu", gate="sigmoid"),
    dropout=0.2,
)

STAGES = (
    "ir_r{1-3}_k{3,5}_s1_e{1,4,6}_c16_se{0,1}",
    "ir_r{1-3}_k{3,5}_s2_e{1,4,6}_c24_se{0,1}",
    "ir_r{1-3}_k{3,5}_s2_e{1,4,6}_c40_se{0,1}",
    "ir_r{1-3}_k{3,5}_s2_e{1,4,6}_c80_se{0,1}",
    "ir_r{1-3}_k{3,5}_s1_e{1,4,6}_c112_se{0,1}",
    "ir_r{1-4}_k{3,5}_s2_e{1,4,6}_c192_se{0,1}",
    "ir_r{1-3}_k{3,5}_s1_e{1,4,6}_c320_se{0,1}",
)

SPACE = StagedSpace(
    "mbconv",
    SKELETON,
    STAGES,
    description="EfficientNet-B0 skeleton, 7 stages of MBConv",
    surrogate=Path(__file__).parent / "surrogates" / "mbconv.npz",
)
