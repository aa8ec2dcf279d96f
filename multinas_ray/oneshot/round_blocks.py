"""Blocks of rounds: the division of a search into trials."""

from __future__ import annotations

from dataclasses import dataclass

MAX_BLOCKS = 200
"""The largest number of trials of a search. Tune slows down and its files pile up with the number of trials."""

MIN_ROUNDS_PER_BLOCK = 16
"""The smallest default size of a block. Shorter blocks would end while Tune is still starting trial actors."""


@dataclass(frozen=True, order=True)
class RoundBlock:
    """Rounds [start, stop) that one trial reports."""

    number: int
    start: int
    stop: int


def cut_rounds(first_round: int, num_rounds: int, rounds_per_block: int | None = None) -> list[RoundBlock]:
    """Cut rounds [0, num_rounds) into blocks and return those from `first_round` on; the first may be shortened.

    Args:
        first_round: the first round of this session.
        num_rounds: number of rounds of the whole search.
        rounds_per_block: size of a block. None: as few rounds as keep the search within `MAX_BLOCKS` trials, and at
            least `MIN_ROUNDS_PER_BLOCK`.
    """
    size = rounds_per_block or max(MIN_ROUNDS_PER_BLOCK, -(-num_rounds // MAX_BLOCKS))
    return [
        RoundBlock(number, max(number * size, first_round), min((number + 1) * size, num_rounds))
        for number in range(first_round // size, -(-num_rounds // size))
        if first_round < num_rounds
    ]
