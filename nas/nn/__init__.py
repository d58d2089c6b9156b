"""Torch building blocks shared by all spaces; what a block's `module_call` names is found here."""

from nas.nn.blocks import ACTIVATIONS, ConvNormAct, DenseLayer, GlobalPool, InvertedResidual, SqueezeExcite
from nas.nn.graph import Add, Concat, GraphNetwork

__all__ = [
    "ACTIVATIONS",
    "Add",
    "Concat",
    "ConvNormAct",
    "DenseLayer",
    "GlobalPool",
    "GraphNetwork",
    "InvertedResidual",
    "SqueezeExcite",
]
