"""Search spaces, codes, network descriptions and the block vocabulary. Nothing here imports torch."""

from nas.space.block import Block
from nas.space.decision import Condition, Decision
from nas.space.listed_space import CodeIndex, ListedSpace
from nas.space.network import NetworkSpec, Node, round_channels
from nas.space.space import Architecture, Codes, SearchSpace
from nas.space.staged_network import LayerSpec, SqueezeExciteRule, StagedNetwork
from nas.space.staged_space import StagedSpace
from nas.space.vocabulary import ABSENT, BlockMaximum, BlockTable, BlockVocabulary, VocabularyBuilder

__all__ = [
    "ABSENT",
    "Architecture",
    "Block",
    "BlockMaximum",
    "BlockTable",
    "BlockVocabulary",
    "CodeIndex",
    "Codes",
    "Condition",
    "Decision",
    "LayerSpec",
    "ListedSpace",
    "NetworkSpec",
    "Node",
    "SearchSpace",
    "SqueezeExciteRule",
    "StagedNetwork",
    "StagedSpace",
    "VocabularyBuilder",
    "round_channels",
]
