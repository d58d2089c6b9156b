"""`mbconv-v2`: EfficientNetV2 (Tan & Le, 2021): MBConv or Fused-MBConv in every stage.

The paper's choices, MBConv or Fused-MBConv, kernel {3, 5}, expansion {1, 4, 6}, number of layers, around the six
stages that EfficientNetV2-S and V2-B0 to B3 share; widths and resolution are choices besides. The widths are those of
S and of B0 (B1 has B0's), so S, B0 and B1 fit the skeleton at 384, 224 and 240 pixels; those of B2 and B3 would need
widths of their own in every stage, and M, L and XL have a seventh stage.

Padding is half the kernel, as torch builds these networks; weights trained with TensorFlow need its own, which gives
other networks with the same counts.
"""

from __future__ import annotations

from nas.space import SqueezeExciteRule, StagedNetwork, StagedSpace

SKELETON = StagedNetwork.from_strings(
    stem="cn_k3_s2_c32",
    stages=(),
    head=("cn_c1280", "pool", "fc"),
    activation="silu",
    se=SqueezeExciteRule(ratio=0.25, of="input", activation="silu", gate="sigmoid"),
    norm_eps=1e-3,
    dropout=0.2,
)

STAGES = (
    "{ir,er}_r{1-3}_k{3,5}_s1_e{1,4,6}_c{16,24}_se{0,1}",
    "{ir,er}_r{1-5}_k{3,5}_s2_e{1,4,6}_c{32,48}_se{0,1}",
    "{ir,er}_r{1-5}_k{3,5}_s2_e{1,4,6}_c{48,64}_se{0,1}",
    "{ir,er}_r{2-7}_k{3,5}_s2_e{1,4,6}_c{96,128}_se{0,1}",
    "{ir,er}_r{4-10}_k{3,5}_s1_e{1,4,6}_c{112,160}_se{0,1}",
    "{ir,er}_r{7-16}_k{3,5}_s2_e{1,4,6}_c{192,256}_se{0,1}",
)

SPACE = StagedSpace(
    "mbconv-v2",
    SKELETON,
    STAGES,
    description="EfficientNetV2: MBConv or Fused-MBConv, widths and depths of six stages, resolution",
    stem="cn_k3_s2_c{24,32}",
    resolutions=(192, 224, 240, 300, 384),
)
#: the widest network has too many weights to share
SPACE.proxy = {"width": 0.25}
