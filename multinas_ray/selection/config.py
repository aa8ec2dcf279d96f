"""What a choice of networks is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from annotated_types import Gt, Le

from multinas_ray.settings import Flag, NonNegativeFloat, PositiveFloat, PositiveInt, checked

CANDIDATES_PER_NETWORK = 300
"""The default. [ours]"""
IMAGES_PER_PASS = 512
"""The default. More make a GPU hardly faster, and a choice is to fit where its search did. [ours]"""
SLICE_SHARE = 0.1
"""The default: networks that use more than 90 % of a budget. [ours]"""
PRIOR = ("early_depth", "naswot")
"""The default parts of the prior. [ours]"""

Limits: TypeAlias = Mapping[str, float | Sequence[float]]
"""Largest allowed value of each cost named; several values ask for several networks."""


@checked
@dataclass(frozen=True, kw_only=True)
class SelectConfig:
    """For what networks are chosen, and with how many candidates and workers.

    Raises:
        ConfigError: a setting breaks a rule; the message says which.
    """

    limits: Annotated[Limits | None, Flag("max")] = None
    """Largest allowed costs, such as {"params": 2e6, "flops": [1e8, 3e8]}, each in its own unit: params, flops
    (multiply-adds of one image) or another recorded cost. No network exceeds its limits. One network is chosen for each
    value; lists must have one length and are taken together, a single value holds for all networks. None: the goals
    that the search had."""
    candidates_per_network: Annotated[PositiveInt, Flag("candidates")] = CANDIDATES_PER_NETWORK
    """Candidates for each network: modes of the distributions, the best evaluated, draws, mutations of the best, and
    uniform draws from the slice. They are evaluated by successive halving; 10 or fewer all on all validation images."""
    slice_share: Annotated[float, Gt(0), Le(1)] = SLICE_SHARE
    """The last part of each budget in which candidates are sought: 0.1 asks for networks that use more than 90 % of it.
    Modes and the best evaluated may lie below."""
    prior: Sequence[str] = PRIOR
    """What untrained networks promise, by the names of its parts: "depth", "early_depth", "naswot" or one of your own
    (`register_prior`). Their ranks count beside that of the loss. Empty: the loss alone counts."""
    prior_weight: NonNegativeFloat | None = None
    """How much each part of the prior counts, where the loss counts 1; None: 1, falling with the weight steps of the
    supernet, see `selection.prior.prior_weight`."""
    num_workers: PositiveInt = 1
    """Workers that share the candidates."""
    use_gpu: bool = False
    """One GPU for each worker."""
    deterministic: bool = False
    """Compute the same from the same on a GPU too, by slower algorithms. An operation that has none, such as one of
    your own model, ends the run with an error that names it."""
    images_per_pass: PositiveInt = IMAGES_PER_PASS
    """Images that pass through the networks together, at most. Where a GPU has too little memory for them, fewer do."""
    cpus_per_worker: PositiveFloat = 1.0
    """Logical CPUs that each worker asks Ray for."""
    threads_per_worker: PositiveInt | None = None
    """CPU threads of each worker; None: its node's cores shared by its workers, but one where a pass through the
    largest network takes less than 100 million multiply-adds. Set 1 where other work runs there."""
