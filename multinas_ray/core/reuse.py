"""Sample reuse: the last updates' samples, weighted by the mixture of all distributions that produced them.

Notation: K distributions, D variables, C categories (padded), N samples, G groups of samples drawn at the
same update. docs/METHOD.md, "Sample reuse". It is right for fixed losses; while weights train, old losses age.
"""

from dataclasses import dataclass

import numpy as np

from multinas_ray.core.arrays import FloatArray
from multinas_ray.core.distributions import log_mixture, log_prob
from multinas_ray.core.importance import balance_log_density
from multinas_ray.core.layout import CategoryLayout
from multinas_ray.core.proposals import Evaluations, Proposals

LATENESS = 16
"""The probabilities are kept for this many updates more than the samples, so that late samples can join the balance
heuristic too. Samples that are later still keep the density they were drawn with, which is exact as well but has a
larger variance. [ours]"""


@dataclass(frozen=True, eq=False)
class SampleMemory:
    """Samples and probabilities kept from earlier updates; never changed in place.

    The memory depends on the told results alone, so that replaying a record gives it again.
    """

    num_updates_kept: int
    """M; 0 keeps nothing."""
    evaluations: Evaluations
    """The samples of the last M updates, oldest first."""
    probs_HKDC: FloatArray
    """The probabilities after each of the last updates, the present ones last; H <= M + LATENESS + 1."""

    @classmethod
    def start(cls, num_updates_kept: int, probs_KDC: FloatArray) -> "SampleMemory":
        """Returns the memory before any update."""
        history = probs_KDC[None] if num_updates_kept else probs_KDC[None][:0]
        return cls(num_updates_kept, Evaluations.empty(probs_KDC.shape[1]), history)

    def joined_with(self, batch: Evaluations) -> Evaluations:
        """Returns the samples of one update: the remembered ones, then the new ones."""
        return Evaluations.concatenate([self.evaluations, batch]) if len(self.evaluations) else batch

    def log_density(self, proposals: Proposals, num_updates: int, layout: CategoryLayout | None = None) -> FloatArray:
        """Returns (N,): the log density that makes the importance weights unbiased.

        Without memory this is the density each sample was drawn with (METHOD step 4). With memory, samples
        whose mixtures are known share the balance heuristic's density. Any other keeps its own, which leaves
        the mean over all samples unbiased, since each of the two parts is unbiased by itself.

        Args:
            proposals: all samples of the update.
            num_updates: updates done so far, the number of the last kept probabilities.
            layout: the categories whose probabilities are kept; None: those of categorical variables.
        """
        first = num_updates - len(self.probs_HKDC) + 1
        known_N = (proposals.drawn_at >= first) & (proposals.drawn_at <= num_updates)
        if not self.num_updates_kept or not known_N.any():
            return proposals.log_q
        groups_G, counts_G = np.unique(proposals.drawn_at[known_N], return_counts=True)
        architectures_ND = proposals.architectures[known_N]
        probs_GKDC = self.probs_HKDC[groups_G - first]
        log_prob_JN = log_prob(probs_GKDC.reshape(-1, *probs_GKDC.shape[2:]), architectures_ND, layout)
        log_mixture_GN = np.stack([log_mixture(log_prob_KN) for log_prob_KN in np.split(log_prob_JN, len(groups_G))])
        log_density_N = proposals.log_q.copy()
        log_density_N[known_N] = balance_log_density(log_mixture_GN, counts_G)
        return log_density_N

    def after_update(self, samples: Evaluations, batch_size: int, probs_KDC: FloatArray) -> "SampleMemory":
        """Returns the memory after an update on `samples` that led to `probs_KDC`."""
        if not self.num_updates_kept:
            return self
        num_rows = min(len(samples), self.num_updates_kept * batch_size)
        history = np.concatenate([self.probs_HKDC, probs_KDC[None]])[-(self.num_updates_kept + LATENESS + 1) :]
        return SampleMemory(self.num_updates_kept, samples[len(samples) - num_rows :], history)
