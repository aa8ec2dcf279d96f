"""The numbering of proposals, which both optimisers share, and which of them still await a result.

Notation: D variables, N samples.
"""

import numpy as np
import numpy.typing as npt

from multinas_ray.core.arrays import IntArray
from multinas_ray.core.checks import check_complexities, checked_first_id, checked_ids
from multinas_ray.core.ledger import Ledger
from multinas_ray.core.proposals import Evaluations, Proposals


class Outstanding:
    """The ids that were given, and what became of each: pending, told or forgotten.

    Args:
        pending: proposals that were asked for and neither told nor forgotten, in the order of asking.
        ledger: ids that were told or forgotten.
        next_id: the id that is given next.
        num_ignored: number of results that were told a second time, or after they were forgotten.
    """

    def __init__(
        self, pending: Proposals, ledger: Ledger | None = None, next_id: int = 0, num_ignored: int = 0
    ) -> None:
        self._parts = [pending]
        self.ledger = Ledger() if ledger is None else ledger
        self.next_id, self.num_ignored = next_id, num_ignored

    @property
    def pending(self) -> Proposals:
        """Proposals that were asked for and neither told nor forgotten, in the order of asking."""
        if len(self._parts) > 1:
            self._parts = [Proposals.concatenate(self._parts)]
        return self._parts[0]

    def hand_out(self, drawn: Proposals) -> Proposals:
        """Returns `drawn` under new ids, which are pending from now on."""
        asked = drawn.with_ids(self.next_id + np.arange(len(drawn)))
        self.next_id += len(drawn)
        self._parts.append(asked)
        return asked

    def take_in(self, told: Evaluations) -> Evaluations:
        """Settles results and returns those that were not settled before, in order; counts the others.

        Raises:
            ConfigError: A complexity is negative or not finite though its loss is finite. Nothing is settled then.
        """
        fresh = told[self.ledger.is_new(told.proposals.ids)]
        check_complexities(fresh)
        self.num_ignored += len(told) - len(fresh)
        self._settle(fresh.proposals.ids)
        return fresh

    def forget(self, proposals_or_ids: Proposals | npt.ArrayLike) -> None:
        """Settles proposals whose results will never be told.

        Raises:
            ConfigError: Ids are not whole numbers from 0.
        """
        ids = proposals_or_ids.ids if isinstance(proposals_or_ids, Proposals) else proposals_or_ids
        self._settle(checked_ids(ids))

    def restart(self, first_id: int, keep: Proposals | None) -> None:
        """Settles every id below `first_id` and below the next unused id, except those kept, which stay pending.

        Args:
            first_id: the least id that may be given next.
            keep: proposals that stay pending, unless they are settled already.

        Raises:
            ConfigError: `first_id` is negative.
        """
        first = checked_first_id(first_id)
        kept = self.pending[:0] if keep is None else keep[self.ledger.is_new(keep.ids)]
        self.next_id = max(self.next_id, first, int(kept.ids.max(initial=-1)) + 1)
        self.ledger = self.ledger.settle_below(self.next_id, kept.ids)
        self._parts = [kept]

    def _settle(self, ids_N: IntArray) -> None:
        self.ledger = self.ledger.settle(ids_N)
        self.next_id = max(self.next_id, int(ids_N.max(initial=-1)) + 1)
        pending = self.pending
        self._parts = [pending[~np.isin(pending.ids, ids_N)]]
