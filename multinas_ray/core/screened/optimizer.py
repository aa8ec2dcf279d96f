"""An optimiser for FIXED losses that lets a surrogate choose which architectures are worth an evaluation.

Notation: K distributions, D variables, C categories (padded), N proposals, P samples of an update.
docs/METHOD.md, "The screened search". The rules here are [ours].
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from multinas_ray.core.arrays import FloatArray, IntArray
from multinas_ray.core.ask_tell import AskAndTell
from multinas_ray.core.checks import checked_count
from multinas_ray.core.layout import INACTIVE, CategoryLayout
from multinas_ray.core.optimizer import DistributionSettings, MultiDistributionOptimizer
from multinas_ray.core.proposals import Proposals
from multinas_ray.core.protocol import Optimizer
from multinas_ray.core.screened import proposing
from multinas_ray.core.screened.screening import Criteria, TargetCriteria
from multinas_ray.core.screened.state import ScreenedState, read_screened, write_screened
from multinas_ray.core.screened.surrogate import KERNELS, Kernel, Prediction, Surrogate, fit_surrogate
from multinas_ray.core.seeds import new_generator
from multinas_ray.core.settings import register_optimizer
from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked

UPDATE_STRATA = 16
"""P / K: samples that are drawn from each distribution for an update."""

ONE_BY_ONE, MOST_AHEAD = 256, 32
"""A fit made after n results is used for 2 (n / ONE_BY_ONE)^2 further results, and as many proposals are chosen by it
at once. At the start that is a single one, since each result then tells much. It is at most MOST_AHEAD, and grows up to
there so that the cost of each proposal stays bounded."""

KERNEL_SHARE = 8
"""The kernel is chosen anew at the first update after the number of known architectures has grown by one part in
KERNEL_SHARE."""

PARENTS_WITHIN = 2
"""Of the best evaluated within each target, so many have their mutations screened. [ours]"""

FIRST_OF_EACH = 10
"""Where promising architectures are given, so many of each target are evaluated before the surrogate chooses. [ours]"""

NUM_RANDOM = 10
"""Evaluations before the surrogate begins to choose; they are taken at random from the screening set."""


@register_optimizer
@checked
@dataclass(frozen=True, kw_only=True)
class ScreenedSettings(DistributionSettings):
    """Settings of a `ScreenedOptimizer`: those of the distributions, except that N is K by default."""

    kind: ClassVar[str] = "screened"
    needs_fixed_losses: ClassVar[bool] = True
    memory_for_fixed_losses: ClassVar[int] = 0
    """No samples are reused, since each update draws new ones and takes their losses from the surrogate."""
    default_strata: ClassVar[int] = 1
    strata_for_fixed_losses: ClassVar[int] = 1

    def make(self, seed: int | Sequence[int] | None) -> Optimizer:
        """Returns the optimiser at its start."""
        return ScreenedOptimizer(**self.fields(), seed=seed)


class ScreenedOptimizer(AskAndTell):
    """Learns K categorical distributions with fewer evaluations, where the loss of an architecture is fixed.

    It is used in place of a MultiDistributionOptimizer for tables, finished trainings and trained supernets, but not
    for losses that are noisy or drift. Each proposal is chosen from a screening set: architectures drawn from the
    distributions, around the best and anywhere. The choice is made by a Gaussian process's optimistic prediction: in
    turns the best for one f_k and the largest gain of hypervolume, or, where targets are given, the best within each.
    Promising architectures that are given for the start come first. Known and pending architectures are proposed only
    when no other is left. For an update, the distributions step on samples drawn from themselves, whose losses are
    known or predicted, with exact importance weights; the bias is the surrogate's.

    What the distributions become depends only on the told results, their order, the settings and the seed; asking does
    not affect it. The archive grows with the record, but the work per evaluation does not. Not thread-safe.

    Args:
        seed: of the proposals and of the samples of the updates; see MultiDistributionOptimizer.
        **settings: the fields of `ScreenedSettings`: those of MultiDistributionOptimizer. A cost table
            makes predicted complexities exact too.

    Raises:
        ConfigError: An argument breaks its rule.
    """

    def __init__(self, *, seed: int | Sequence[int] | None, **settings: Any) -> None:
        self._settings: ScreenedSettings = ScreenedSettings(**settings)
        inner = {**self._settings.fields(), "samples_per_update": UPDATE_STRATA * self._settings.size}
        self._inner = MultiDistributionOptimizer(**inner, seed=0)  # never drawn from
        self._start_layout, self._costs_DC = self._settings.layout, self._settings.costs_DC
        rng = new_generator(seed)
        self._first_FD = proposing.by_turns(
            self._settings.promising if self._settings.start == "prior" else (), FIRST_OF_EACH, self._start_layout
        )
        self._state: ScreenedState = ScreenedState.start(self._start_layout, rng, int(rng.integers(2**62)))
        self._surrogate: Surrogate | None = None

    @property
    def layout(self) -> CategoryLayout:
        """The categories that `probs` are of; updates split the cells of ordered variables."""
        return self._inner.layout

    @property
    def probs(self) -> FloatArray:
        """(K, D, C) probabilities, zero in the padding; a copy."""
        return self._inner.probs

    @property
    def results_to_step(self) -> int:
        """Results still missing until an update is made or the surrogate is fitted again."""
        to_update = self.samples_per_update - self.num_told % self.samples_per_update
        return min(to_update, self._state.fit_told + self._fit_lasts - self.num_told)

    @property
    def num_updates(self) -> int:
        """Updates made so far."""
        return self._inner.num_updates

    def modes(self) -> IntArray:
        """Returns (K, D): the likeliest architecture of each distribution, in the order of coefficients or targets."""
        return self._inner.modes()

    def log_density(self, architectures: npt.ArrayLike) -> FloatArray:
        """Returns (N,): the log of the probability with which the present mixture draws (N, D) architectures."""
        return self._inner.log_density(architectures)

    def diagnostics(self) -> dict[str, npt.NDArray[Any]]:
        """Reports on each distribution, as MultiDistributionOptimizer does.

        Effective sample sizes and means are those of the last update's samples; so the means are partly predictions.
        """
        return self._inner.diagnostics()

    def ask(self, n: int | None = None) -> Proposals:
        """Returns the next `n` proposals (samples_per_update if None) with new ids.

        They are chosen and not drawn: `sources` and `drawn_at` are -1, and `log_q` is the log density of the mixture
        when they were chosen, for information only. Proposals that were chosen ahead are dropped when the surrogate is
        fitted again.

        Raises:
            ConfigError: `n` is less than 1.
        """
        state, count = self._state, checked_count(n, self.samples_per_update)
        asked = Proposals.empty(len(self._settings.num_categories))
        while len(asked) < count:
            if not len(state.queue):
                state.queue = self._choose_ahead()
            handed_out = state.outstanding.hand_out(state.queue[: count - len(asked)])
            state.queue = state.queue[len(handed_out) :]
            asked = Proposals.concatenate([asked, handed_out])
        return asked

    def sample(self, n: int) -> IntArray:
        """Returns (n, D) architectures drawn anew from the present mixture, stratified; their results cannot be told.

        Raises:
            ConfigError: `n` is less than 1.
        """
        return proposing.draw(self._inner.probs, self.layout, checked_count(n, None), self._state.rng)

    def tell(self, proposals: Proposals, losses: npt.ArrayLike, complexities: npt.ArrayLike) -> int:
        """Takes results in order, and makes an update each time samples_per_update have come.

        Args:
            proposals: what was evaluated, from any source, since only the values matter. Ids that were told or
                forgotten before are ignored and counted.
            losses: (N,) minimised; NaN or infinite for a failed evaluation, which ranks worst.
            complexities: (N,) normalised, at least 0; anything for a failed evaluation.

        Returns:
            The number of updates made.

        Raises:
            ConfigError: Coefficients are not set yet, shapes do not match, an architecture is not of this space, or a
                complexity is negative or not finite though its loss is finite. The state is then unchanged.
        """
        state, before = self._state, self.num_updates
        fresh = self._settle(proposals, losses, complexities)
        architectures_ND = fresh.proposals.architectures
        for architecture_D, loss, complexity in zip(architectures_ND, fresh.losses, fresh.complexities, strict=True):
            had_front = bool(state.archive.front)
            replaces_failure = state.archive.add(architecture_D, float(loss), float(complexity))
            state.num_told += 1
            if replaces_failure or not had_front or state.num_told - state.fit_told >= self._fit_lasts:
                self._renew_fit()
            if state.num_told % self.samples_per_update == 0:
                self._update()
        return self.num_updates - before

    def restart(self, *, first_id: int, seed: int | Sequence[int] | None, keep: Proposals | None = None) -> None:
        """Continues after a crash under new ids, as MultiDistributionOptimizer does; updates keep their samples.

        Args:
            first_id: ids continue from here or from the next unused one, whichever is larger.
            seed: of the proposals from now on.
            keep: proposals whose results may still come; those that were told or forgotten are left out.

        Raises:
            ConfigError: `first_id` is negative, or the seed is not one.
        """
        rng = new_generator(seed)
        self._state.outstanding.restart(first_id, keep)
        self._state.rng, self._state.queue = rng, self._state.queue[:0]

    def set_coefficients(self, coefficients: Iterable[float]) -> None:
        """Gives the K distributions other coefficients, before any result was told.

        Raises:
            ConfigError: A result was told already, or the coefficients break their rule or are not K.
        """
        if self.num_told:
            raise ConfigError(
                f"coefficients must be set before any result is told, got them after {self.num_told}: "
                "make a new optimiser"
            )
        self._inner.set_coefficients(coefficients)
        self._settings = replace(self._settings, coefficients=tuple(self._inner.coefficients.tolist()))

    def state_dict(self) -> dict[str, Any]:
        """Returns the whole state as nested dicts of numbers, strings, lists, None and new numpy arrays."""
        return write_screened(self._state, self._inner, self.samples_per_update)

    def load_state_dict(self, state: object) -> None:
        """Takes over a state that `state_dict` of an optimiser with the same settings gave.

        Raises:
            StateError: The state is damaged, of another version or of other settings. This optimiser is then
                unchanged.
        """
        self._state = read_screened(state, self._inner, self.layout, self.samples_per_update)
        self._surrogate = None

    @property
    def _fit_lasts(self) -> int:
        """Number of results after which the fit is renewed, and of proposals that are chosen by it at once."""
        return min(max(2 * self._state.fit_told**2 // ONE_BY_ONE**2, 1), MOST_AHEAD)

    def _renew_fit(self) -> None:
        """Bases all predictions until the next renewal on what is known now."""
        state = self._state
        state.archive.trim_support(self._settings.scores)
        state.fit_size, state.fit_told = len(state.archive.support), state.num_told
        state.queue = state.queue[:0]
        self._surrogate = None

    def _choose_ahead(self) -> Proposals:
        """Returns the proposals that the criteria of the next turns prefer."""
        probs_KDC = self._inner.probs
        architectures_ND = self._chosen(probs_KDC)
        none_N = np.full(len(architectures_ND), -1)
        return Proposals(
            architectures=architectures_ND,
            log_q=self.log_density(architectures_ND),
            sources=none_N,
            ids=np.zeros_like(none_N),
            drawn_at=none_N,
        )

    def _chosen(self, probs_KDC: FloatArray) -> IntArray:
        """Returns (N, D): as many architectures as the fit may choose at once, or all that the set still has."""
        state, archive = self._state, self._state.archive
        taken = set(archive.keys(state.outstanding.pending.architectures))
        if len(first_ND := self._free(self._first_FD, taken)):
            return first_ND
        parents_FD = archive.architectures(self._parents())
        screened_ND = proposing.screening_set(probs_KDC, parents_FD, self.layout, self._fit_lasts, state.rng)
        free_ND = self._free(screened_ND, taken)
        if not len(free_ND):
            unseen_ND = proposing.first_unseen(self.layout, lambda row: self._is_taken(row, taken), state.rng)
            return proposing.draw(probs_KDC, self.layout, 1, state.rng) if unseen_ND is None else unseen_ND
        count = min(self._fit_lasts, len(free_ND))
        if len(archive) < NUM_RANDOM or not archive.front:
            return free_ND[state.rng.permutation(len(free_ND))[:count]]
        return free_ND[self._most_promising(free_ND, count)]

    def _free(self, rows_ND: IntArray, taken: set[bytes]) -> IntArray:
        """Returns the rows that are neither known nor taken, each once."""
        archive = self._state.archive
        row_of = {
            key: row for row, key in enumerate(archive.keys(rows_ND)) if key not in taken and not archive.knows(key)
        }
        return rows_ND[list(row_of.values())]

    def _parents(self) -> list[int]:
        """Rows of the archive whose mutations are screened: the front, or the best within each target."""
        archive, targets = self._state.archive, self._settings.targets
        return archive.front if targets is None else archive.best_within(np.array(targets), PARENTS_WITHIN)

    def _is_taken(self, architecture_D: IntArray, pending: set[bytes]) -> bool:
        (key,) = self._state.archive.keys(architecture_D[None])
        return key in pending or self._state.archive.knows(key)

    def _most_promising(self, free_ND: IntArray, count: int) -> list[int]:
        """Returns `count` rows, one for the turn of each of the next ids."""
        outstanding = self._state.outstanding
        turns = range(outstanding.next_id, outstanding.next_id + count)
        pending_ND = outstanding.pending.architectures
        both = self._predict(np.concatenate([free_ND, pending_ND]), with_deviations=True)
        return self._criteria().choose(both[: len(free_ND)], both[len(free_ND) :], turns)

    def _criteria(self) -> Criteria | TargetCriteria:
        """What the choice is made by."""
        archive, targets = self._state.archive, self._settings.targets
        if targets is not None:
            return TargetCriteria(np.array(targets))
        front_F2 = np.stack([archive.losses[archive.front], archive.complexities[archive.front]], axis=1)
        return Criteria(self._inner.coefficients, front_F2, archive.reference())

    def _predict(self, architectures_ND: IntArray, *, with_deviations: bool = False) -> Prediction:
        """Returns the predictions of the present fit."""
        if self._surrogate is None:
            self._surrogate = self._fit([KERNELS[self._state.kernel_number]])
        prediction = self._surrogate.predict(architectures_ND, with_deviations=with_deviations)
        if self._costs_DC is None:
            return prediction
        categories_ND = self._start_layout.categories_of(architectures_ND)
        costs_ND = self._costs_DC[np.arange(architectures_ND.shape[1]), categories_ND]
        costs_N = self._settings.base_cost + np.where(categories_ND == INACTIVE, 0.0, costs_ND).sum(axis=1)
        return replace(prediction, complexities_N=costs_N)

    def _fit(self, kernels: Sequence[Kernel]) -> Surrogate:
        """Returns a fit to the results that were known at the last renewal."""
        archive = self._state.archive
        rows, layout = archive.support[: self._state.fit_size], self._start_layout
        given = archive.architectures(rows), archive.losses[rows], archive.complexities[rows], layout.valid_DC.shape[1]
        if not layout.ordered:
            return fit_surrogate(*given, kernels)
        return fit_surrogate(*given, kernels, {d: layout.num_values[d] for d in layout.ordered})

    def _choose_kernel(self) -> None:
        """Takes the likeliest kernel, if enough architectures have become known since the last time."""
        state, num_known = self._state, len(self._state.archive)
        if num_known - state.kernel_known > state.kernel_known // KERNEL_SHARE:
            self._renew_fit()
            self._surrogate = self._fit(KERNELS)
            state.kernel_number, state.kernel_known = KERNELS.index(self._surrogate.kernel), num_known

    def _update(self) -> None:
        """Steps the distributions on samples drawn from themselves, with known or predicted values."""
        state, inner = self._state, self._inner
        if state.archive.front:
            self._choose_kernel()
        rng = new_generator([state.update_seed, inner.num_updates])
        probs_KDC = inner.probs
        samples_PD = proposing.draw(probs_KDC, self.layout, inner.samples_per_update, rng)
        losses_P, complexities_P = self._values_of(samples_PD)
        none_P = np.full(len(samples_PD), -1)
        samples = Proposals(
            architectures=samples_PD,
            log_q=self.log_density(samples_PD),
            sources=none_P,
            ids=inner.num_told + np.arange(len(samples_PD)),
            drawn_at=none_P,
        )
        inner.tell(samples, losses_P, complexities_P)

    def _values_of(self, samples_PD: IntArray) -> tuple[FloatArray, FloatArray]:
        archive = self._state.archive
        row_P = archive.rows_of(samples_PD)
        known_P = row_P >= 0
        losses_P, complexities_P = np.full(len(samples_PD), np.inf), np.zeros(len(samples_PD))
        losses_P[known_P] = archive.losses[row_P[known_P]]
        complexities_P[known_P] = archive.complexities[row_P[known_P]]
        if archive.front and not known_P.all():
            prediction = self._predict(samples_PD[~known_P])
            losses_P[~known_P], complexities_P[~known_P] = prediction.losses(), prediction.complexities_N
        return losses_P, complexities_P
