"""An optimiser for FIXED losses that lets a surrogate choose which proposals are worth an evaluation.

Notation: K distributions, D variables, C categories (padded), N samples, P samples of a pool step.
docs/METHOD.md, "How far sample efficiency was pushed". The rules here are [ours].
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from multinas_ray.core import candidates, distributions
from multinas_ray.core.archive import hypervolume_gains
from multinas_ray.core.arrays import FloatArray, IntArray
from multinas_ray.core.checks import checked_count, checked_evaluations
from multinas_ray.core.config import new_generator
from multinas_ray.core.optimizer import MultiDistributionOptimizer
from multinas_ray.core.proposals import Proposals
from multinas_ray.core.screened_state import ScreenedState, read_screened, write_screened
from multinas_ray.core.surrogate import KERNELS, Kernel, Surrogate, fit_surrogate
from multinas_ray.core.utility import scalarised_losses
from multinas_ray.errors import ConfigError

POOL_STRATA = 16
"""P / K: samples each distribution draws from itself for a pool step."""

OPTIMISM = (1.0, 3.0)
"""Standard deviations below the predicted loss at which candidates are compared, by turns. With few a search polishes
what it has and may stay there for long, since predicted deviations are often too small; with many it moves on."""

NUM_RANDOM = 10
"""Evaluations before the surrogate chooses; they are drawn from the mixture."""


class ScreenedOptimizer:
    """Learns K categorical distributions with fewer evaluations, where the loss of an architecture is fixed.

    Takes the place of a MultiDistributionOptimizer for tables, finished trainings and trained supernets; not for
    losses that are noisy or drift. Each proposal is chosen, out of a pool drawn from the distributions, around
    the front and anywhere, by a Gaussian process's optimistic prediction: by turns the best for one f_k and the
    largest gain of hypervolume. Nothing known or pending is proposed while anything else is left; after that,
    anything is. The distributions step on pools drawn from themselves, whose losses are known or predicted, with
    exact importance weights: the bias is the surrogate's.

    Telling depends on the told results, their order, the settings and the seed alone: asking changes nothing
    that telling does. The archive grows with the record, the work per evaluation does not. Not thread-safe.

    Args:
        num_categories: as MultiDistributionOptimizer's, like all that follow but these:
        samples_per_update: results per update, a multiple of K; K if None.
        seed: of the proposals and of the pools of the updates.
        **inner_options: `cost_table`, which makes predicted complexities exact, and the other options.

    Raises:
        ConfigError: An argument breaks its rule.
    """

    def __init__(
        self,
        *,
        num_categories: Iterable[int],
        coefficients: Iterable[float],
        samples_per_update: int | None = None,
        seed: int | Sequence[int] | None,
        cost_table: npt.ArrayLike | None = None,
        base_cost: float = 0.0,
        **inner_options: Any,
    ) -> None:
        counts, epsilons = tuple(num_categories), tuple(coefficients)
        checked = MultiDistributionOptimizer(
            num_categories=counts,
            coefficients=epsilons,
            samples_per_update=len(epsilons) if samples_per_update is None else samples_per_update,
            seed=0,
        )
        self._samples_per_update = checked.samples_per_update
        self._inner = MultiDistributionOptimizer(
            num_categories=counts,
            coefficients=epsilons,
            samples_per_update=POOL_STRATA * len(epsilons),
            seed=0,  # never drawn from
            cost_table=cost_table,
            base_cost=base_cost,
            **inner_options,
        )
        self._layout = distributions.CategoryLayout.from_num_categories(counts)
        self._cost_table_DC = None if cost_table is None else np.asarray(cost_table, dtype=np.float64)
        self._base_cost = float(base_cost)
        rng = new_generator(seed)
        self._state = ScreenedState.start(len(counts), rng, int(rng.integers(2**62)))
        self._surrogate: Surrogate | None = None

    @property
    def num_distributions(self) -> int:
        """K."""
        return self._inner.num_distributions

    @property
    def samples_per_update(self) -> int:
        """N, how many told results make an update."""
        return self._samples_per_update

    @property
    def probs(self) -> FloatArray:
        """(K, D, C) probabilities, zero in the padding; a copy."""
        return self._inner.probs

    @property
    def num_updates(self) -> int:
        """Updates made so far."""
        return self._inner.num_updates

    @property
    def num_told(self) -> int:
        """Results taken in so far, without the ignored ones."""
        return self._state.num_told

    @property
    def num_ignored(self) -> int:
        """Results told again, or told after they were forgotten."""
        return self._state.outstanding.num_ignored

    def modes(self) -> IntArray:
        """Returns (K, D): the likeliest architecture of each distribution, by ascending coefficient."""
        return self._inner.modes()

    def diagnostics(self) -> dict[str, npt.NDArray[Any]]:
        """Reports on each distribution, as MultiDistributionOptimizer does.

        Effective sample sizes and means are those of the last pool: means are partly predictions.
        """
        return self._inner.diagnostics()

    def pending(self) -> Proposals:
        """Returns what was asked for and neither told nor forgotten, in the order of asking."""
        return self._state.outstanding.pending

    def ask(self, n: int | None = None) -> Proposals:
        """Returns the next `n` proposals (samples_per_update if None) with new ids.

        They are chosen, not drawn: `sources` and `drawn_at` are -1, and `log_q` is the present mixture's log
        density, for information only.

        Raises:
            ConfigError: `n` is less than 1.
        """
        asked = [self._ask_one() for _ in range(checked_count(n, self.samples_per_update))]
        return Proposals.concatenate(asked)

    def sample(self, n: int) -> IntArray:
        """Returns (n, D) architectures drawn afresh from the present mixture, stratified, not to be told.

        Raises:
            ConfigError: `n` is less than 1.
        """
        return candidates.draw(self._inner.probs, self._layout, checked_count(n, None), self._state.rng)

    def tell(self, proposals: Proposals, losses: npt.ArrayLike, complexities: npt.ArrayLike) -> int:
        """Takes results in, in order, and makes an update each time samples_per_update have come.

        Args:
            proposals: what was evaluated, from whatever source: the results count as values. Ids that were told
                or forgotten before are ignored and counted.
            losses: (N,) minimised; NaN or infinite for a failed evaluation, which ranks worst.
            complexities: (N,) normalised, at least 0; anything for a failed evaluation.

        Returns:
            The number of updates made.

        Raises:
            ConfigError: Shapes do not match, an architecture is not of this space, or a complexity is not
                finite or negative though its loss is finite. Nothing is taken in then.
        """
        state = self._state
        fresh = state.outstanding.take_in(checked_evaluations(proposals, losses, complexities, self._layout))
        before, coefficients_K = self.num_updates, self._inner.diagnostics()["coefficient"]
        for row, architecture_D in enumerate(fresh.proposals.architectures):
            loss, complexity = float(fresh.losses[row]), float(fresh.complexities[row])
            state.archive.add(architecture_D, loss, complexity, coefficients_K)
            state.num_told += 1
            self._surrogate = None
            if state.num_told % self.samples_per_update == 0:
                self._update()
        return self.num_updates - before

    def forget(self, proposals_or_ids: Proposals | npt.ArrayLike) -> None:
        """Settles proposals whose results will never come; should one come after all, `tell` ignores it.

        Raises:
            ConfigError: Ids are not whole numbers from 0.
        """
        self._state.outstanding.forget(proposals_or_ids)

    def restart(self, *, first_id: int, seed: int | Sequence[int] | None, keep_ids: npt.ArrayLike = ()) -> None:
        """Goes on after a crash under new ids, as MultiDistributionOptimizer does; the updates' pools stay theirs.

        Args:
            first_id: ids go on from here or from the next unused one, whichever is larger.
            seed: of the proposals from now on.
            keep_ids: pending proposals whose results may still come.

        Raises:
            ConfigError: `first_id` is negative, the seed is not one, or an id to keep is not pending.
        """
        rng = new_generator(seed)
        self._state.outstanding.restart(first_id, keep_ids)
        self._state.rng = rng

    def set_coefficients(self, coefficients: Iterable[float]) -> None:
        """Gives the K distributions other coefficients, before anything was told.

        Raises:
            ConfigError: Something was told, or the coefficients break their rule or are not K.
        """
        if self.num_told:
            raise ConfigError(f"coefficients can be set before the first result, {self.num_told} were told")
        self._inner.set_coefficients(coefficients)

    def state_dict(self) -> dict[str, Any]:
        """Returns the whole state as nested dicts of numbers, strings, lists, None and new numpy arrays."""
        return write_screened(self._state, self._inner, self.samples_per_update)

    def load_state_dict(self, state: object) -> None:
        """Takes over a state that `state_dict` of an optimiser with the same settings gave.

        Raises:
            StateError: The state is damaged, of another version or of other settings. This optimiser is then
                unchanged.
        """
        self._state = read_screened(state, self._inner, self._layout, self.samples_per_update)
        self._surrogate = None

    def _ask_one(self) -> Proposals:
        architecture_ND = self._choose()
        log_prob_KN = distributions.log_prob(self._inner.probs, architecture_ND)
        none = np.array([-1])
        chosen = Proposals(
            architectures=architecture_ND,
            log_q=distributions.log_mixture(log_prob_KN),
            sources=none,
            ids=np.zeros_like(none),
            drawn_at=none,
        )
        return self._state.outstanding.hand_out(chosen)

    def _choose(self) -> IntArray:
        """Returns (1, D): the candidate that the turn's criterion likes best."""
        state = self._state
        taken = {row.tobytes() for row in state.outstanding.pending.architectures}
        front_FD = state.archive.architectures[state.archive.front]
        pool_ND = candidates.candidate_pool(self._inner.probs, front_FD, self._layout, state.rng)
        free_ND = pool_ND[[not self._is_taken(row, taken) for row in pool_ND]]
        if not len(free_ND):
            unseen_ND = candidates.first_unseen(self._layout, lambda row: self._is_taken(row, taken), state.rng)
            return candidates.draw(self._inner.probs, self._layout, 1, state.rng) if unseen_ND is None else unseen_ND
        if len(state.archive) < NUM_RANDOM or not state.archive.front:
            chosen = int(state.rng.integers(len(free_ND)))
        else:
            chosen = self._most_promising(free_ND)
        return free_ND[chosen : chosen + 1]

    def _is_taken(self, architecture_D: IntArray, pending: set[bytes]) -> bool:
        return architecture_D.tobytes() in pending or self._state.archive.row_of(architecture_D) >= 0

    def _most_promising(self, free_ND: IntArray) -> int:
        """Takes turns by the id: the best for f_k, k going round, then the largest gain of hypervolume."""
        archive, pending = self._state.archive, self._state.outstanding.pending
        turn, by_gain = divmod(self._state.outstanding.next_id, 2)
        lap, k = divmod(turn, self.num_distributions)
        optimism = OPTIMISM[(k + lap) % len(OPTIMISM)]
        losses_N, complexities_N = self._predict(free_ND, optimism)
        if by_gain:
            points_F2 = np.stack([archive.losses[archive.front], archive.complexities[archive.front]], axis=1)
            if len(pending):  # counts as known at its prediction
                expected = np.stack(self._predict(pending.architectures, optimism), axis=1)
                points_F2 = np.concatenate([points_F2, expected])
            gains_N = hypervolume_gains(losses_N, complexities_N, points_F2, archive.reference())
            if gains_N.max() > 0.0:
                return int(gains_N.argmax())
        coefficients_K = self._inner.diagnostics()["coefficient"]
        return int(scalarised_losses(losses_N, complexities_N, coefficients_K[k : k + 1])[0].argmin())

    def _predict(self, architectures_ND: IntArray, optimism: float = 0.0) -> tuple[FloatArray, FloatArray]:
        """Returns (N,) losses and (N,) complexities, predicted by the fit to what is known now."""
        if self._surrogate is None:
            self._surrogate = self._fit([KERNELS[self._state.kernel_number]])
        losses_N, complexities_N = self._surrogate.predict(architectures_ND, optimism)
        if self._cost_table_DC is not None:
            variable_D = np.arange(architectures_ND.shape[1])
            complexities_N = self._base_cost + self._cost_table_DC[variable_D, architectures_ND].sum(axis=1)
        return losses_N, complexities_N

    def _fit(self, kernels: Sequence[Kernel]) -> Surrogate:
        """Returns a fit to what is known now."""
        archive = self._state.archive
        rows, num_columns = archive.support, self._layout.valid_DC.shape[1]
        return fit_surrogate(
            archive.architectures[rows], archive.losses[rows], archive.complexities[rows], num_columns, kernels
        )

    def _update(self) -> None:
        """Steps the distributions on a pool drawn from themselves, with known or predicted values."""
        state, inner = self._state, self._inner
        if state.archive.front:
            self._surrogate = self._fit(KERNELS)
            state.kernel_number = KERNELS.index(self._surrogate.kernel)
        rng = new_generator([state.pool_seed, inner.num_updates])
        pool_PD = candidates.draw(inner.probs, self._layout, inner.samples_per_update, rng)
        losses_P, complexities_P = self._pool_values(pool_PD)
        none_P = np.full(len(pool_PD), -1)
        pool = Proposals(
            architectures=pool_PD,
            log_q=distributions.log_mixture(distributions.log_prob(inner.probs, pool_PD)),
            sources=none_P,
            ids=inner.num_told + np.arange(len(pool_PD)),
            drawn_at=none_P,
        )
        inner.tell(pool, losses_P, complexities_P)

    def _pool_values(self, pool_PD: IntArray) -> tuple[FloatArray, FloatArray]:
        archive = self._state.archive
        row_P = np.array([archive.row_of(architecture_D) for architecture_D in pool_PD])
        known_P = row_P >= 0
        losses_P, complexities_P = np.full(len(pool_PD), np.inf), np.zeros(len(pool_PD))
        losses_P[known_P] = archive.losses[row_P[known_P]]
        complexities_P[known_P] = archive.complexities[row_P[known_P]]
        if archive.front and not known_P.all():
            losses_P[~known_P], complexities_P[~known_P] = self._predict(pool_PD[~known_P])
        return losses_P, complexities_P
