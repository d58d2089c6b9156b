"""Torch building blocks shared by all spaces; what a block's `module_call` names is found here."""

from nas.nn.blocks import ACTIVATIONS, ConvNormAct, DenseLayer, GlobalPool, InvertedResidual, SqueezeExcite
from nas.nn.cells import (
    BottleneckConv,
    FactorizedConv,
    FactorizedReduce,
    PreActivationConv,
    Relu,
    SeparableConv,
    StridedZeros,
)
from nas.nn.graph import Add, Concat, GraphNetwork
from nas.nn.mobile import (
    DepthwiseSeparable,
    FusedMBConv,
    Identity,
    NormDenseLayer,
    UniversalInvertedBottleneck,
)
from nas.nn.nasbench import (
    CellOutput,
    CellVertex,
    NormAct,
    ReductionResidual,
    WindowPool,
)
from nas.nn.residual import (
    BasicResidual,
    BottleneckResidual,
    ConvNeXtResidual,
    GlobalResponseNorm,
    LayerNorm2d,
    LayerScale,
    NormedConv,
    PatchMerging,
    PooledNorm,
    ResNetStem,
)

__all__ = [
    "ACTIVATIONS",
    "Add",
    "BasicResidual",
    "BottleneckConv",
    "BottleneckResidual",
    "CellOutput",
    "CellVertex",
    "Concat",
    "ConvNeXtResidual",
    "ConvNormAct",
    "DenseLayer",
    "DepthwiseSeparable",
    "FactorizedConv",
    "FactorizedReduce",
    "FusedMBConv",
    "GlobalPool",
    "GlobalResponseNorm",
    "GraphNetwork",
    "Identity",
    "InvertedResidual",
    "LayerNorm2d",
    "LayerScale",
    "NormAct",
    "NormDenseLayer",
    "NormedConv",
    "PatchMerging",
    "PooledNorm",
    "PreActivationConv",
    "ReductionResidual",
    "Relu",
    "ResNetStem",
    "SeparableConv",
    "SqueezeExcite",
    "StridedZeros",
    "UniversalInvertedBottleneck",
    "WindowPool",
]
