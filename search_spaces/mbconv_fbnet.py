"""`mbconv-fbnet`: the layer-wise space of FBNet (Wu et al., 2019, Tables 1 and 2).

Every layer has its own kernel {3, 5} and expansion {1, 3, 6}, two groups of pointwise convolutions being possible
without expansion: eight blocks, the ninth being "skip". As in `mbconv-proxyless` a skipped layer is the identity and
the canonical form is a depth of 1 to 4 for stages whose first layer changes the shape. The single layer of stage 1
keeps the shape, so there the block itself is a choice, `id` or `ir`. The last layer, 184 to 352 channels, is no
identity. The paper counts 9^22 (1e21) settings, which count the positions of the gaps and skips where shapes change.

The head is 1,984 channels wide in Table 1; FBNet-A was published with 1,504, so that width is a choice. FBNet-A, B and
C are points as facebookresearch/mobile-vision publishes them: its blocks have no pointwise expansion at expansion 1.
Other implementations keep it there, such as timm's fbnetc_100; those networks are not in the space.

`mbconv-fbnet-cifar100` is the same choices at the size at which HW-NAS-Bench (Li et al., 2021) and HELP (Lee et al.,
2021) measured them: CIFAR-100 images of 32 × 32, stem and stage 2 without stride, head of 1,504 channels, pointwise
expansion also at ratio 1. Their "skip" in the first layer of stages 2 to 7, a pointwise convolution, is left out.
"""

from __future__ import annotations

from dataclasses import replace

from nas.space import Condition, StagedNetwork, StagedSpace

SKELETON = StagedNetwork.from_strings(
    stem="cn_k3_s2_c16",
    stages=(),
    head=("cn_c1984", "pool", "fc"),
    activation="relu",
)

STAGES = (
    "{ir,id}_k{3,5}_s1_e{1,3,6}_c16_g{1,2}",
    "ir_r{1-4}_k{3,5}_s2_e{1,3,6}_c24_g{1,2}",
    "ir_r{1-4}_k{3,5}_s2_e{1,3,6}_c32_g{1,2}",
    "ir_r{1-4}_k{3,5}_s2_e{1,3,6}_c64_g{1,2}",
    "ir_r{1-4}_k{3,5}_s1_e{1,3,6}_c112_g{1,2}",
    "ir_r{1-4}_k{3,5}_s2_e{1,3,6}_c184_g{1,2}",
    "ir_k{3,5}_s1_e{1,3,6}_c352_g{1,2}",
)

SPACE = StagedSpace(
    "mbconv-fbnet",
    SKELETON,
    STAGES,
    description="FBNet: kernel, expansion and groups of every layer, depth of every stage",
    layerwise=True,
    head=("cn_c{1504,1984}", "pool", "fc"),
    only={"groups": Condition("expand", (1,))},
)

CIFAR100_SKELETON = replace(
    StagedNetwork.from_strings(stem="cn_k3_s1_c16", stages=(), head=("cn_c1504", "pool", "fc"), activation="relu"),
    resolution=32,
    num_classes=100,
    expand_at_one=True,
)

CIFAR100 = StagedSpace(
    "mbconv-fbnet-cifar100",
    CIFAR100_SKELETON,
    (STAGES[0], STAGES[1].replace("_s2_", "_s1_"), *STAGES[2:]),
    description="FBNet's choices for CIFAR-100 images, as measured by HW-NAS-Bench and HELP",
    layerwise=True,
    only={"groups": Condition("expand", (1,))},
)
