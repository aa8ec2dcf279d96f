"""The interface that every kind of optimiser has.

Notation: K distributions, D variables, C categories (padded), N samples.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt

from multinas_ray.core.arrays import FloatArray, IntArray
from multinas_ray.core.layout import CategoryLayout
from multinas_ray.core.proposals import Proposals


@runtime_checkable
class Optimizer(Protocol):
    """K distributions over architectures that learn from told results.

    Distributions are numbered from 0 in the order of their goals; both coefficients and targets rise. What the
    distributions become depends only on the settings and on the told results in their order, and on the seed where an
    optimiser draws while it is told results. So the record of a search, replayed, leads to the same distributions.
    `MultiDistributionOptimizer` says in full what each method does and which errors it raises.
    """

    @property
    def num_distributions(self) -> int:
        """K."""

    @property
    def samples_per_update(self) -> int:
        """N, the number of told results that make an update."""

    @property
    def results_to_step(self) -> int:
        """Results still missing until something changes; telling these one by one or at once makes no difference."""

    @property
    def num_updates(self) -> int:
        """Updates made so far."""

    @property
    def num_told(self) -> int:
        """Results told so far, without the ignored ones."""

    @property
    def num_ignored(self) -> int:
        """Results that were told a second time, or after they were forgotten."""

    @property
    def probs(self) -> FloatArray:
        """(K, D, C) probabilities of the categories, zero in the padding; a copy."""

    def modes(self) -> IntArray:
        """Returns (K, D): the likeliest architecture of each distribution."""

    @property
    def layout(self) -> CategoryLayout:
        """The categories that `probs` are of."""

    def log_density(self, architectures: npt.ArrayLike) -> FloatArray:
        """Returns (N,): the log of the probability with which the present mixture draws (N, D) architectures."""

    def diagnostics(self) -> dict[str, npt.NDArray[Any]]:
        """Reports on each distribution, by the names that `MultiDistributionOptimizer.diagnostics` has."""

    def pending(self) -> Proposals:
        """Returns the proposals that were asked for and neither told nor forgotten, in the order of asking."""

    def ask(self, n: int | None = None) -> Proposals:
        """Returns the next `n` proposals (samples_per_update if None) with new ids."""

    def sample(self, n: int) -> IntArray:
        """Returns (n, D) architectures drawn anew from the present mixture; their results cannot be told."""

    def tell(self, proposals: Proposals, losses: npt.ArrayLike, complexities: npt.ArrayLike) -> int:
        """Takes (N,) minimised losses and (N,) normalised complexities; returns the number of updates made."""

    def forget(self, proposals_or_ids: Proposals | npt.ArrayLike) -> None:
        """Settles proposals whose results will never come."""

    def restart(self, *, first_id: int, seed: int | Sequence[int] | None, keep: Proposals | None = None) -> None:
        """Continues after a crash: proposals without a result are dropped, and new ones are drawn under new ids."""

    def set_coefficients(self, coefficients: Iterable[float]) -> None:
        """Gives the K distributions their coefficients, before any result was told."""

    def state_dict(self) -> dict[str, Any]:
        """Returns the whole state as nested dicts of numbers, strings, lists, None and new numpy arrays."""

    def load_state_dict(self, state: object) -> None:
        """Takes over a state that `state_dict` of an optimiser with the same settings gave."""
