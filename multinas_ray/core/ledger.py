"""A record of which proposals are settled, in memory that does not grow with the number of evaluations.

A proposal is settled once its result was told or it was forgotten. Notation: N samples.
"""

from dataclasses import dataclass, field

import numpy as np

from multinas_ray.core.arrays import BoolArray, IntArray


def _no_ids() -> IntArray:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Ledger:
    """Settled ids: all below `watermark` except the few in `open_below`, and the few in `settled_above`.

    It is never changed in place. Both lists are sorted and distinct.
    """

    watermark: int = 0
    settled_above: IntArray = field(default_factory=_no_ids)
    """All above the watermark."""
    open_below: IntArray = field(default_factory=_no_ids)
    """All below the watermark: those that a restart kept."""

    def is_new(self, ids_N: IntArray) -> BoolArray:
        """Returns (N,): whether each id is not settled yet and does not repeat an earlier row."""
        first_N = np.zeros(len(ids_N), dtype=np.bool_)
        first_N[np.unique(ids_N, return_index=True)[1]] = True
        is_open_N = (ids_N >= self.watermark) & ~np.isin(ids_N, self.settled_above)
        if len(self.open_below):
            is_open_N |= np.isin(ids_N, self.open_below)
        return first_N & is_open_N

    def settle(self, ids_N: IntArray) -> "Ledger":
        """Returns the ledger with these ids settled too; the watermark moves past every gap that they close."""
        settled = np.union1d(self.settled_above, ids_N[ids_N >= self.watermark])
        closes = settled == self.watermark + np.arange(len(settled))
        num_closed = len(settled) if closes.all() else int(closes.argmin())
        still_open = np.setdiff1d(self.open_below, ids_N) if len(self.open_below) else self.open_below
        return Ledger(self.watermark + num_closed, settled[num_closed:], still_open)

    def settle_below(self, bound: int, open_ids: IntArray) -> "Ledger":
        """Returns the ledger with every id below `bound` settled except `open_ids`, all below it, which stay open."""
        above, kept = self.settled_above, open_ids[self.is_new(open_ids)]
        return Ledger(max(self.watermark, bound), above[above >= bound], np.sort(kept)).settle(_no_ids())
