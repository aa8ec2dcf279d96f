"""What the kinds of optimisers have in common: the account of what was asked for and told.

Notation: K distributions, N samples.
"""

from abc import ABC, abstractmethod
from typing import Protocol

import numpy.typing as npt

from multinas_ray.core.checks import checked_evaluations
from multinas_ray.core.layout import CategoryLayout
from multinas_ray.core.outstanding import Outstanding
from multinas_ray.core.proposals import Evaluations, Proposals
from multinas_ray.core.settings import OptimizerSettings


class Account(Protocol):
    """The part of an optimiser's state that says what was asked for and told."""

    outstanding: Outstanding
    num_told: int


class AskAndTell(ABC):
    """Base of the optimisers: their sizes, and the account of their proposals."""

    _settings: OptimizerSettings
    _state: Account

    @property
    @abstractmethod
    def layout(self) -> CategoryLayout:
        """The categories that `probs` are of."""

    @property
    def num_distributions(self) -> int:
        """K."""
        return self._settings.size

    @property
    def samples_per_update(self) -> int:
        """N, the number of told results that make an update."""
        return self._settings.update_size

    @property
    def num_told(self) -> int:
        """Results told so far, without the ignored ones."""
        return self._state.num_told

    @property
    def num_ignored(self) -> int:
        """Results that were told a second time, or after they were forgotten."""
        return self._state.outstanding.num_ignored

    def pending(self) -> Proposals:
        """Returns the proposals that were asked for and neither told nor forgotten, in the order of asking."""
        return self._state.outstanding.pending

    def forget(self, proposals_or_ids: Proposals | npt.ArrayLike) -> None:
        """Settles proposals whose results will never come, so that they need not be remembered.

        If such a result does come, `tell` ignores it.

        Raises:
            ConfigError: Ids are not whole numbers from 0.
        """
        self._state.outstanding.forget(proposals_or_ids)

    def _settle(self, proposals: Proposals, losses: npt.ArrayLike, complexities: npt.ArrayLike) -> Evaluations:
        """Settles told results; returns those that were not settled before, in order.

        Raises:
            ConfigError: As `tell`; nothing is settled then.
        """
        self._settings.check_goals()
        return self._state.outstanding.take_in(checked_evaluations(proposals, losses, complexities, self.layout))
