"""The ends of a space by multiply-adds, for the sandwich rule of Yu & Huang (US-Nets, ICCV 2019, sec. 3.1)."""

from __future__ import annotations

import numpy as np

from nas.space import BlockTable, Codes, SearchSpace
from nas.space.decision import Decision
from nas.supernet.cell_edge import NONE


def largest_code(space: SearchSpace) -> Codes:
    """Return int8[D], a code whose multiply-adds no change of one decision raises."""
    # From the greatest values on, so that decisions that hang on others matter from the start.
    return _climbed(space, np.array([_greatest(decision) for decision in space.decisions]), +1)


def smallest_code(space: SearchSpace) -> Codes:
    """Return int8[D], a code whose multiply-adds no change of one decision lowers, but one to "none".

    Nothing would come through a cell in which every choice is "none".
    """
    return _climbed(space, np.array([_possible(decision)[0] for decision in space.decisions]), -1)


def _climbed(space: SearchSpace, start: Codes, sign: int) -> Codes:
    """Return where changes of one decision at a time lead, each to the most (sign 1) or fewest (-1) multiply-adds."""
    macs = np.array([[block.macs] for block in space.vocabulary.blocks], dtype=np.float64)
    table = BlockTable(space.vocabulary, macs)
    code = start.astype(np.int8)
    while True:
        before = code.copy()
        for d, decision in enumerate(space.decisions):
            # What stands comes first, so that it is kept where nothing is better.
            choices = [int(code[d]), *_possible(decision)]
            tried = np.repeat(code[None], len(choices), axis=0)
            tried[:, d] = choices
            code[d] = choices[int((sign * table.sum(space.canonical(tried))[:, 0]).argmax())]
        if (code == before).all():
            canonical: Codes = space.canonical(code[None])[0]
            return canonical


def _possible(decision: Decision) -> list[int]:
    """The choices other than "none"; all where there is no other."""
    found = [i for i, choice in enumerate(decision.choices) if choice != NONE]
    return found or list(range(len(decision.choices)))


def _greatest(decision: Decision) -> int:
    numeric = not any(isinstance(choice, str) for choice in decision.choices)
    return int(np.argmax(decision.choices)) if numeric else _possible(decision)[0]
