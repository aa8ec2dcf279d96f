"""What a search asks of an optimiser, whatever its kind.

Notation: K distributions, D variables, C categories (padded), N samples.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy.typing as npt

from multinas_ray.core.arrays import FloatArray, IntArray
from multinas_ray.core.proposals import Proposals


class Optimizer(Protocol):
    """K distributions over architectures that learn from told results.

    Distributions are numbered as their goals are listed, from 0; both coefficients and targets rise. Telling depends on
    the settings and on the told results in their order alone, so that a record of a search, told again, gives its
    distributions again; where an optimiser draws while it is told, also on the seed. `MultiDistributionOptimizer` says
    in full what each method does, and which errors it raises.
    """

    @property
    def num_distributions(self) -> int:
        """K."""

    @property
    def samples_per_update(self) -> int:
        """N, how many told results make an update."""

    @property
    def results_to_step(self) -> int:
        """How many results more change anything: until then telling them one by one or at once is the same."""

    @property
    def num_updates(self) -> int:
        """Updates made so far."""

    @property
    def num_told(self) -> int:
        """Results taken in so far, without the ignored ones."""

    @property
    def num_ignored(self) -> int:
        """Results told again, or told after they were forgotten."""

    @property
    def probs(self) -> FloatArray:
        """(K, D, C) probabilities of the categories, zero in the padding; a copy."""

    def modes(self) -> IntArray:
        """Returns (K, D): the likeliest architecture of each distribution."""

    def diagnostics(self) -> dict[str, npt.NDArray[Any]]:
        """Reports on each distribution, by the names that `MultiDistributionOptimizer.diagnostics` has."""

    def pending(self) -> Proposals:
        """Returns what was asked for and neither told nor forgotten, in the order of asking."""

    def ask(self, n: int | None = None) -> Proposals:
        """Returns the next `n` proposals (samples_per_update if None) with new ids."""

    def sample(self, n: int) -> IntArray:
        """Returns (n, D) architectures drawn afresh from the present mixture, not to be told."""

    def tell(self, proposals: Proposals, losses: npt.ArrayLike, complexities: npt.ArrayLike) -> int:
        """Takes (N,) minimised losses and (N,) normalised complexities in; returns the number of updates made."""

    def forget(self, proposals_or_ids: Proposals | npt.ArrayLike) -> None:
        """Settles proposals whose results will never come."""

    def restart(self, *, first_id: int, seed: int | Sequence[int] | None, keep: Proposals | None = None) -> None:
        """Goes on after a crash: what was drawn and not told is dropped, and drawing begins anew under new ids."""

    def set_coefficients(self, coefficients: Iterable[float]) -> None:
        """Gives the K distributions their coefficients, before anything was told."""

    def state_dict(self) -> dict[str, Any]:
        """Returns the whole state as nested dicts of numbers, strings, lists, None and new numpy arrays."""

    def load_state_dict(self, state: object) -> None:
        """Takes over a state that `state_dict` of an optimiser with the same settings gave."""
