"""The size of a search before it starts: rounds, images, memory and time; and a search that fits a time."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from multinas_ray.errors import ConfigError
from multinas_ray.oneshot.calibration import Rates
from multinas_ray.oneshot.config import OneShotSearchConfig
from multinas_ray.oneshot.memory_estimate import estimate_memory
from multinas_ray.oneshot.round_blocks import cut_rounds
from multinas_ray.oneshot.round_time import RoundTime, Surroundings
from multinas_ray.selection import choice_passes

START_SECONDS = 25.0
"""Time in which Ray and the workers start; it was measured on two CPU cores."""
CHOICE_SHARE = 0.4
"""Time of the choice, as a share of that of its passes one by one, since candidates that begin alike are computed
together. Measured for 100 networks of NAS-Bench-Macro and of the digits [ours]."""
LEAST_SEARCH_ROUNDS = 20
"""A time budget must leave at least so many rounds for the search [ours]."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The size of a search."""

    weight_steps: int
    search_rounds: int
    evaluations: int
    trials: int
    """Number of blocks of rounds, which are Tune's trials."""
    training_images: int
    """Number of images in all weight steps."""
    checkpoint_bytes: int
    """Size of a checkpoint, which holds weights and momentum."""

    @classmethod
    def of(cls, config: OneShotSearchConfig) -> Estimate:
        """Estimate the size of the search that a configuration describes."""
        plan, training = config.plan, config.training
        evaluations = plan.search_rounds * config.optimizer_settings.update_size
        memory = estimate_memory(config.space, training, config.num_workers)
        return cls(
            weight_steps=plan.num_weight_steps,
            search_rounds=plan.search_rounds,
            evaluations=evaluations,
            trials=len(cut_rounds(0, plan.num_rounds, config.rounds_per_block)),
            training_images=plan.num_weight_steps * training.batch_size,
            checkpoint_bytes=2 * memory.weights,
        )


@dataclass(frozen=True, kw_only=True)
class Duration:
    """The wall time of a search in seconds, without checkpoints and restarts."""

    start: float
    """Until the workers compute."""
    rounds: float
    """Of all rounds."""
    choice: float
    """Of choosing the networks among the candidates; 0 if the numbers of images are not known."""

    @property
    def total(self) -> float:
        """From the start to the networks."""
        return self.start + self.rounds + self.choice

    @classmethod
    def of(
        cls, config: OneShotSearchConfig, rates: Rates, beside: Surroundings, images: tuple[int, int] | None
    ) -> Duration:
        """Estimate the duration of a search.

        Args:
            config: the search.
            rates: how fast a worker is.
            beside: what is beside the workers.
            images: numbers of training and validation images; None: not known.
        """
        plan, trains = config.plan, config.train_during_search
        warmup = RoundTime.of(config, rates, beside, evaluates=False).total
        search = RoundTime.of(config, rates, beside, trains=trains, evaluates=True).total
        return cls(
            start=START_SECONDS,
            rounds=plan.warmup_rounds * warmup + plan.search_rounds * search,
            choice=0.0 if images is None else cls._choice(config, rates, *images),
        )

    @staticmethod
    def _choice(config: OneShotSearchConfig, rates: Rates, num_train: int, num_validation: int) -> float:
        passes = choice_passes(
            config.candidates_per_network,
            config.num_distributions,
            num_train=num_train,
            num_validation=num_validation,
            batch_images=config.training.validation_batch_size,
            train_batch_images=config.training.batch_size,
        )
        return CHOICE_SHARE * passes / rates.evaluation / config.num_workers


def fitted_to(
    config: OneShotSearchConfig, seconds: float, rates: Rates, beside: Surroundings, images: tuple[int, int]
) -> OneShotSearchConfig:
    """A search with as many rounds as a time allows; warm-up and search keep their ratio.

    Args:
        config: the search.
        seconds: the time, from the start to the networks.
        rates: how fast a worker is.
        beside: what is beside the workers.
        images: numbers of training and validation images.

    Raises:
        ConfigError: the time is too short for this space and these images.
    """
    duration = Duration.of(config, rates, beside, images)
    fixed = duration.start + duration.choice
    factor = (seconds - fixed) / duration.rounds
    least = fixed + duration.rounds * min(1.0, LEAST_SEARCH_ROUNDS / config.search_rounds)
    if factor * config.search_rounds < min(LEAST_SEARCH_ROUNDS, config.search_rounds):
        raise ConfigError(
            f"time_budget must leave time for {LEAST_SEARCH_ROUNDS} rounds of the search and for the choice, "
            f"{told_seconds(seconds)} do not: allow at least {told_seconds(least)}, or use a smaller space, smaller "
            "images or fewer candidates_per_network"
        )
    return dataclasses.replace(
        config,
        warmup_rounds=math.ceil(config.warmup_rounds * factor) if config.warmup_rounds else 0,
        search_rounds=max(1, math.floor(config.search_rounds * factor)),
    )


def told_seconds(seconds: float) -> str:
    """A time in words, rounded up to what matters."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    if seconds < 90 * 60:
        return f"{math.ceil(seconds / 60)} min"
    return f"{seconds / 3600:,.1f} h"
