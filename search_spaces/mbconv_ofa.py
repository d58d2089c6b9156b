"""`mbconv-ofa`: the layer-wise MobileNetV3 space of once-for-all networks (Cai et al., 2020), width 1.0.

Five stages of 2 to 4 layers behind a fixed first one; every layer has its own kernel and expansion. A stage has
9^2 + 9^3 + 9^4 = 7,371 settings, so there are 7,371^5 networks (2.18e19) at each of the 25 resolutions.

Stem, activations and squeeze-and-excite are those of the released networks. They differ from MobileNetV3-Large in
where squeeze-and-excite starts, in widths, and in the fully connected layer before the last, which has no bias.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.space import Codes, SqueezeExciteRule, StagedNetwork, StagedSpace

SKELETON = StagedNetwork.from_strings(
    stem="cn_k3_s2_c16",
    stages=(),
    head=("cn_c960", "pool", "fc_c1280", "fc"),
    activation="hardswish",
    se=SqueezeExciteRule(ratio=0.25, of="expanded", divisor=8, activation="relu", gate="hardsigmoid"),
    dropout=0.1,
    bias_after_pool=False,
)

STAGES = (
    "ir_k3_s1_e1_c16_nre",
    "ir_r{2-4}_k{3,5,7}_s2_e{3,4,6}_c24_nre",
    "ir_r{2-4}_k{3,5,7}_s2_e{3,4,6}_c40_se_nre",
    "ir_r{2-4}_k{3,5,7}_s2_e{3,4,6}_c80",
    "ir_r{2-4}_k{3,5,7}_s1_e{3,4,6}_c112_se",
    "ir_r{2-4}_k{3,5,7}_s2_e{3,4,6}_c160_se",
)

SPACE = StagedSpace(
    "mbconv-ofa",
    SKELETON,
    STAGES,
    description="once-for-all MobileNetV3: kernel and expansion of every layer, depth of every stage, resolution",
    surrogate=Path(__file__).parent / "surrogates" / "mbconv-ofa.npz",
    layerwise=True,
    resolutions=tuple(range(128, 225, 4)),
)


def codes_of(ks: npt.ArrayLike, e: npt.ArrayLike, d: npt.ArrayLike, r: npt.ArrayLike) -> Codes:
    """Return int8[n, D], the codes of networks described as the once-for-all code base does.

    Args:
        ks, e: int[n, 20], kernel and expansion of four layers a stage, stage by stage; those of layers that do not
            exist are ignored.
        d: int[n, 5], layers of each stage.
        r: int[n] or int, resolution in pixels.

    Raises:
        NasError: a value is no choice of the space, or an array has another shape.
    """
    depth = np.asarray(d)
    columns = {"resolution": np.broadcast_to(np.asarray(r), len(depth))}
    for name, values in (("kernel", np.asarray(ks)), ("expand", np.asarray(e))):
        if values.shape != (len(depth), 20) or depth.shape != (len(depth), 5):
            raise NasError(f"ks and e are [n, 20], d is [n, 5]; {name} is {list(values.shape)}, d {list(depth.shape)}")
        columns |= {f"stage{i + 2}.layer{j + 1}.{name}": values[:, 4 * i + j] for i in range(5) for j in range(4)}
    columns |= {f"stage{i + 2}.depth": depth[:, i] for i in range(5)}
    codes = np.empty((len(depth), len(SPACE.decisions)), dtype=np.int64)
    for position, decision in enumerate(SPACE.decisions):
        matches = columns[decision.name][:, None] == np.array(decision.choices)
        wrong = np.flatnonzero(~matches.any(axis=1))
        if len(wrong):
            choices = ", ".join(map(str, decision.choices))
            value = columns[decision.name][wrong[0]]
            raise NasError(f"row {wrong[0]}: {decision.name} is {value}, must be one of {choices}")
        codes[:, position] = matches.argmax(axis=1)
    return SPACE.check(codes)
