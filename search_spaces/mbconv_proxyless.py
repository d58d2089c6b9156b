"""`mbconv-proxyless`: the layer-wise space of ProxylessNAS (Cai et al., 2019) for mobile, width 1.0.

Every layer has its own kernel and expansion, or is skipped. A skipped layer is the identity, so only how many layers
of a stage are left, and which, makes a network, not where among them the gap was; a stage's first layer changes the
shape and cannot be skipped. The canonical form of "skip" is therefore a depth of 1 to 4, which counts every network
once: 6 + 6^2 + 6^3 + 6^4 = 1,554 settings of each of five stages, times 6 of the last layer.

The first of these stages is 24 channels wide in the published latency table of the search, 32 in the released
ProxylessNAS-Mobile (its 4,080,512 parameters leave no doubt), so that width is a choice; at 32 that network is a point.
"""

from __future__ import annotations

from nas.space import StagedNetwork, StagedSpace

SKELETON = StagedNetwork.from_strings(
    stem="cn_k3_s2_c32", stages=(), head=("cn_c1280", "pool", "fc"), activation="relu6", norm_eps=1e-3
)

STAGES = (
    "ir_k3_s1_e1_c16",
    "ir_r{1-4}_k{3,5,7}_s2_e{3,6}_c{24,32}",
    "ir_r{1-4}_k{3,5,7}_s2_e{3,6}_c40",
    "ir_r{1-4}_k{3,5,7}_s2_e{3,6}_c80",
    "ir_r{1-4}_k{3,5,7}_s1_e{3,6}_c96",
    "ir_r{1-4}_k{3,5,7}_s2_e{3,6}_c192",
    "ir_k{3,5,7}_s1_e{3,6}_c320",
)

SPACE = StagedSpace(
    "mbconv-proxyless",
    SKELETON,
    STAGES,
    description="ProxylessNAS for mobile: kernel and expansion of every layer, depth of every stage",
    layerwise=True,
)
