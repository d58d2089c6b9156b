"""Search spaces, codes, network descriptions and the block vocabulary. Nothing here imports torch."""

from nas.space.block import Block
from nas.space.decision import Condition, Decision
from nas.space.network import LayerSpec, NetworkSpec, SqueezeExciteRule, round_channels
from nas.space.space import Architecture, Codes, SearchSpace
from nas.space.staged import StagedSpace
from nas.space.vocabulary import ABSENT, BlockMaximum, BlockTable, BlockVocabulary

__all__ = [
    "ABSENT",
    "Architecture",
    "Block",
    "BlockMaximum",
    "BlockTable",
    "BlockVocabulary",
    "Codes",
    "Condition",
    "Decision",
    "LayerSpec",
    "NetworkSpec",
    "SearchSpace",
    "SqueezeExciteRule",
    "StagedSpace",
    "round_channels",
]
