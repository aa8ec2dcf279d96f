"""The ask-and-tell optimiser: K distributions over architectures, learned together from shared samples.

Notation: K distributions, D variables, C categories (padded), N samples. docs/METHOD.md, "One update".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt

from multinas_ray.core import distributions
from multinas_ray.core.arrays import FloatArray, IntArray
from multinas_ray.core.ask_tell import AskAndTell
from multinas_ray.core.asng import ASNGSettings, asng_step, natural_gradient
from multinas_ray.core.checks import checked_count
from multinas_ray.core.importance import effective_sample_sizes, importance_weights, weighted_means
from multinas_ray.core.layout import CategoryLayout
from multinas_ray.core.margin import margin_floors
from multinas_ray.core.proposals import Evaluations, Proposals
from multinas_ray.core.protocol import Optimizer
from multinas_ray.core.seeds import new_generator
from multinas_ray.core.settings import OptimizerSettings, register_optimizer
from multinas_ray.core.splitting import Cell, gathered_cells, split_layout, split_state, split_values
from multinas_ray.core.state import LastUpdate, OptimizerState, read_state, start_state, write_state
from multinas_ray.core.utility import quantile_utilities
from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked


@register_optimizer
@checked
@dataclass(frozen=True, kw_only=True)
class DistributionSettings(OptimizerSettings):
    """Settings of a `MultiDistributionOptimizer`."""

    kind: ClassVar[str] = "distributions"

    delta_init: Annotated[float, Gt(0)] = 1.0
    """Initial step size."""
    alpha: Annotated[float, Gt(0)] = 1.5
    """Signal-to-noise threshold of the step-size rule."""
    delta_max: Annotated[float, Ge(1)] | None = None
    """Upper bound of the step divisor, so that the step size stays at least delta_init / delta_max; None: no bound."""

    def asng_settings(self) -> ASNGSettings:
        """Returns the constants of the ASNG step."""
        return ASNGSettings(
            delta_init=self.delta_init,
            alpha=self.alpha,
            delta_max=np.inf if self.delta_max is None else self.delta_max,
            floor_D=margin_floors(self.layout, self.margin_scale),
            layout=self.layout,
        )

    def make(self, seed: int | Sequence[int] | None) -> Optimizer:
        """Returns the optimiser at its start."""
        return MultiDistributionOptimizer(**self.fields(), seed=seed)


class MultiDistributionOptimizer(AskAndTell):
    """Learns K categorical distributions over architectures in one search.

    The k-th minimises loss + eps_k * complexity, or the loss near the target T_k. Distributions are numbered in the
    order of their goals, and both kinds of goals rise. So the distribution of the largest networks is the first with
    coefficients and the last with targets. All K learn from every sample, by importance weights. On one machine the
    same calls give the same state to the bit, and so do results told in one call or in pieces. Not thread-safe.

    Args:
        seed: of the draws; a whole number, a sequence of them, or None for one from the operating system.
        **settings: the fields of `DistributionSettings`: `num_categories`, either `coefficients` or `targets`, and
            any others that shall differ from their defaults.

    Raises:
        ConfigError: An argument breaks its rule.

    Source: Noda, Saito & Shirakawa, ICANN 2022, over ASNG (Akimoto et al., ICML 2019), as rebuilt in
    docs/METHOD.md.
    """

    def __init__(self, *, seed: int | Sequence[int] | None, **settings: Any) -> None:
        self._settings: DistributionSettings = DistributionSettings(**settings)
        self._asng_settings = self._settings.asng_settings()
        self._costs_DC = self._settings.costs_DC
        self._state: OptimizerState = start_state(self._asng_settings, self._settings, new_generator(seed))

    @property
    def probs(self) -> FloatArray:
        """(K, D, C) probabilities, zero in the padding; a copy."""
        return self._state.asng.probs_KDC.copy()

    @property
    def results_to_step(self) -> int:
        """Results still missing until something changes; telling these one by one or at once makes no difference."""
        return self.samples_per_update - len(self._state.batch)

    @property
    def num_updates(self) -> int:
        """Updates made so far."""
        return self._state.num_updates

    @property
    def coefficients(self) -> FloatArray:
        """(K,) eps_k; NaN where the search has targets, or where coefficients are not set yet."""
        return _row_of(self._settings.coefficients, self.num_distributions)

    @property
    def targets(self) -> FloatArray:
        """(K,) T_k; NaN where the search has coefficients."""
        return _row_of(self._settings.targets, self.num_distributions)

    @property
    def layout(self) -> CategoryLayout:
        """The categories that `probs` are of; updates split the cells of ordered variables."""
        return self._state.layout

    def modes(self) -> IntArray:
        """Returns (K, D): the likeliest architecture of each distribution, in the order of coefficients or targets."""
        return distributions.modes(self._state.asng.probs_KDC, self.layout)

    def log_density(self, architectures: npt.ArrayLike) -> FloatArray:
        """Returns (N,): the log of the probability with which the present mixture draws (N, D) architectures."""
        return distributions.log_mixture(
            distributions.log_prob(self._state.asng.probs_KDC, np.asarray(architectures), self.layout)
        )

    def ask(self, n: int | None = None) -> Proposals:
        """Returns the next `n` proposals (samples_per_update if None) with new ids.

        They come from a queue that is filled with whole strata of samples_per_update, each drawn from one state of
        the distributions (docs/METHOD.md step 1). Each proposal carries the density with which it was drawn.

        Raises:
            ConfigError: `n` is less than 1.
        """
        state = self._state
        count = checked_count(n, self.samples_per_update)
        strata = [state.queue]
        for _ in range(-(-(count - len(state.queue)) // self.samples_per_update)):
            strata.append(self._draw_stratum())
        drawn = Proposals.concatenate(strata)
        state.queue = drawn[count:]
        return state.outstanding.hand_out(drawn[:count])

    def sample(self, n: int) -> IntArray:
        """Returns (n, D) architectures drawn anew from the present mixture, stratified; their results cannot be told.

        Raises:
            ConfigError: `n` is less than 1.
        """
        return self._draw(checked_count(n, None))[0]

    def tell(self, proposals: Proposals, losses: npt.ArrayLike, complexities: npt.ArrayLike) -> int:
        """Takes results in order, and makes an update each time samples_per_update have come.

        Args:
            proposals: what was evaluated: any part of what was asked for, in any order, after any number of updates.
                They may come from another instance: the record of a search, told in its order, gives the same
                distributions again. Ids that were told or forgotten before are ignored and counted.
            losses: (N,) minimised; NaN or infinite for a failed evaluation, which ranks worst.
            complexities: (N,) normalised, at least 0; anything for a failed evaluation.

        Returns:
            The number of updates made.

        Raises:
            ConfigError: Coefficients are not set yet, shapes do not match, an architecture is not of this space, or a
                complexity is negative or not finite though its loss is finite. The state is then unchanged.
        """
        state = self._state
        fresh = self._settle(proposals, losses, complexities)
        state.num_told += len(fresh)
        waiting = Evaluations.concatenate([state.batch, fresh])
        num_new_updates = len(waiting) // self.samples_per_update
        for u in range(num_new_updates):
            self._update(waiting[u * self.samples_per_update : (u + 1) * self.samples_per_update])
        state.batch = waiting[num_new_updates * self.samples_per_update :]
        return num_new_updates

    def restart(self, *, first_id: int, seed: int | Sequence[int] | None, keep: Proposals | None = None) -> None:
        """Continues after a crash: drops proposals without a result, and draws new ones under new ids.

        Args:
            first_id: ids continue from here or from the next unused one, whichever is larger. All lower ids except
                the kept ones count as settled, so tell every recorded result before this call.
            seed: of the draws from now on.
            keep: proposals whose results may still come; those that were told or forgotten are left out.

        Raises:
            ConfigError: `first_id` is negative, or the seed is not one.
        """
        state, rng = self._state, new_generator(seed)
        state.outstanding.restart(first_id, keep)
        state.rng, state.queue = rng, Proposals.empty(len(self._settings.num_categories))

    def set_coefficients(self, coefficients: Iterable[float]) -> None:
        """Gives the K distributions other coefficients, before any result was told.

        At the start all distributions are uniform, so what was drawn is a valid draw for any coefficients. The
        optimiser then behaves as if it had been made with these.

        Raises:
            ConfigError: A result was told already, the coefficients break their rule or are not K, or targets were
                given.
        """
        values = tuple(coefficients)
        if self._state.num_told:
            raise ConfigError(
                f"coefficients must be set before any result is told, got them after {self._state.num_told}: "
                "make a new optimiser"
            )
        if len(values) != self.num_distributions:
            raise ConfigError(f"coefficients must be K = {self.num_distributions} numbers, got {len(values)}")
        self._settings = replace(self._settings, coefficients=values)

    def diagnostics(self) -> dict[str, npt.NDArray[Any]]:
        """Reports on each distribution (docs/METHOD.md step 9).

        Returns:
            (K,) arrays, except `mode`: `coefficient` or `target`, the other is NaN; `expected_complexity`, exact
            with a cost table, otherwise the weighted mean over the last update's samples; `expected_loss`, the
            weighted mean of the last update's finite losses; `entropy` in nats, summed over the variables;
            `step_size`; `effective_sample_size` of the last update; `mode` (K, D); `mode_probability`. Before the
            first update, those that need one are NaN.
        """
        asng, last = self._state.asng, self._state.last_update
        return {
            "coefficient": self.coefficients,
            "target": self.targets,
            "expected_complexity": self._expected_complexities(),
            "expected_loss": last.mean_loss_K.copy(),
            "entropy": distributions.entropies(asng.probs_KDC, self.layout),
            "step_size": self._settings.delta_init / asng.step_divisor_K,
            "effective_sample_size": last.effective_sample_size_K.copy(),
            "mode": self.modes(),
            "mode_probability": distributions.mode_probabilities(asng.probs_KDC, self.layout),
        }

    def _expected_complexities(self) -> FloatArray:
        """(K,), exact with a cost table, otherwise estimated from the last update's samples."""
        if self._costs_DC is None:
            return self._state.last_update.mean_complexity_K.copy()
        probs_KDC = self._state.asng.probs_KDC
        return distributions.expected_costs(probs_KDC, self._costs_DC, self._settings.base_cost, self.layout)

    def state_dict(self) -> dict[str, Any]:
        """Returns the whole state as nested dicts of numbers, strings, lists, None and new numpy arrays."""
        return write_state(self._state, self._settings)

    def load_state_dict(self, state: object) -> None:
        """Takes over a state that `state_dict` of an optimiser with the same settings gave.

        Raises:
            StateError: The state is damaged, of another version or of other settings. This optimiser is then
                unchanged.
        """
        self._state = read_state(state, self._settings, self._asng_settings)

    def _draw(self, count: int) -> tuple[IntArray, IntArray]:
        """Returns (N, D) architectures and their (N,) sources, stratified, from the present mixture.

        A seed gives its draws to the distributions in the order from the largest networks to the smallest: by rising
        coefficient, but by falling target.
        """
        state = self._state
        sources_N = distributions.stratified_sources(count, self.num_distributions, state.rng)
        if self._settings.targets is not None:
            sources_N = self.num_distributions - 1 - sources_N
        probs_KDC = state.asng.probs_KDC
        return distributions.sample_architectures(probs_KDC, sources_N, self.layout, state.rng), sources_N

    def _draw_stratum(self) -> Proposals:
        """METHOD step 1."""
        architectures_ND, sources_N = self._draw(self.samples_per_update)
        return Proposals(
            architectures=architectures_ND,
            log_q=self.log_density(architectures_ND),
            sources=sources_N,
            ids=np.zeros_like(sources_N),
            drawn_at=np.full_like(sources_N, self._state.num_updates),
        )

    def _update(self, batch: Evaluations) -> None:
        """One update of all K distributions  # METHOD steps 4 to 8."""
        state = self._state
        samples = state.memory.joined_with(batch)
        architectures_ND = samples.proposals.architectures
        log_density_N = state.memory.log_density(samples.proposals, state.num_updates, self.layout)
        log_prob_KN = distributions.log_prob(state.asng.probs_KDC, architectures_ND, self.layout)
        weights_KN = importance_weights(log_prob_KN, log_density_N)  # METHOD step 4
        scores_KN = self._settings.scores(samples.losses, samples.complexities)
        utilities_KN = quantile_utilities(scores_KN, weights_KN)  # METHOD step 5
        gradient_KDC, moves_K = natural_gradient(  # METHOD step 6
            weights_KN, utilities_KN, architectures_ND, state.asng, self.layout
        )
        constants = replace(self._asng_settings, layout=self.layout)
        state.asng = asng_step(state.asng, gradient_KDC, moves_K, constants)  # METHOD steps 7 and 8
        state.num_updates += 1
        state.memory = state.memory.after_update(samples, len(batch), state.asng.probs_KDC)
        state.last_update = LastUpdate(
            effective_sample_size_K=effective_sample_sizes(weights_KN),
            mean_loss_K=weighted_means(weights_KN, samples.losses),
            mean_complexity_K=weighted_means(weights_KN, samples.complexities),
        )
        for cell in gathered_cells(state.asng.probs_KDC, self.layout):
            self._split(cell)

    def _split(self, cell: Cell) -> None:
        """Splits a cell; no density changes, neither those of the memory."""
        state, before = self._state, self._state.layout
        state.layout = split_layout(before, cell)
        state.asng = split_state(state.asng, before, state.layout, cell)
        probs_HKDC = split_values(state.memory.probs_HKDC, before, state.layout, cell)
        state.memory = replace(state.memory, probs_HKDC=probs_HKDC)


def _row_of(values: tuple[float, ...] | None, num_distributions: int) -> FloatArray:
    return np.full(num_distributions, np.nan) if values is None else np.array(values)
