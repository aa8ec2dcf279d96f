"""The time of a round: of its workers, of the all-reduce between them, of reading images, of the driver and record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from multinas_ray.oneshot.calibration import Rates
from multinas_ray.oneshot.config import OneShotSearchConfig
from multinas_ray.oneshot.memory_estimate import FLOAT32_BYTES

ROUND_SECONDS = 0.03
"""Time of a round through trial, broker, workers, driver and record beside its computation, at least; measured on two
CPU cores."""
ASSUMED_NETWORK = 1.25e9
"""Bytes a second that a worker sends in an all-reduce unless they are measured or given: 10 Gbit/s, the network of the
smaller cloud machines with a GPU. [ours]"""
COST_DRAWS, COST_SEED = 64, 0
"""Architectures whose mean parameters are those of an average subnet."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a round takes beside the computation of its workers."""

    network: float = ASSUMED_NETWORK
    """Bytes a second that a worker sends in an all-reduce."""
    network_source: str = "assumed"
    """Where this rate comes from, in words."""
    driver_seconds: float | None = None
    """Time of the driver for a round with its record; None: not measured."""


@dataclass(frozen=True, kw_only=True)
class RoundTime:
    """The time of a round in seconds, on the worker with the largest shard of both batches."""

    training: float
    """Of the weight step without the all-reduce; 0 if there is none."""
    evaluation: float
    """Of the losses; 0 if there are none."""
    all_reduce: float
    """Of averaging the gradients of all workers."""
    reading: float | None
    """Of reading the images; None: not known."""
    reads_beside: bool
    """Whether images are read while the worker computes."""
    driver: float
    """Of the driver, the record and Ray's messages."""
    has_own_cores: bool
    """Whether they take no time from the workers, as those on GPUs."""

    @property
    def total(self) -> float:
        """What a round adds to the wall time: parts one after the other, and the slowest of those side by side."""
        reading = self.reading or 0.0
        worker = self.training + self.evaluation + self.all_reduce
        own = worker if self.reads_beside else worker + reading
        beside = reading if self.reads_beside else 0.0
        return max(own, beside, self.driver) if self.has_own_cores else own + self.driver

    @classmethod
    def of(
        cls, config: OneShotSearchConfig, rates: Rates, beside: Surroundings, *, trains: bool = True, evaluates: bool
    ) -> RoundTime:
        """Estimate a round.

        Args:
            config: the search.
            rates: how fast a worker is.
            beside: what is beside the workers.
            trains: whether the round has a weight step.
            evaluates: whether it has losses of subnets.
        """
        training, num = config.training, config.num_workers
        trained = training.largest_shard(training.batch_size, num) if trains else 0
        evaluated = training.largest_shard(training.validation_batch_size, num) if evaluates else 0
        passes = evaluated * config.optimizer_settings.update_size
        sent = 2 * (num - 1) / num * gradient_bytes(config) if trains else 0.0  # of a ring
        return cls(
            training=trained * trained_subnets(config) / rates.training,
            evaluation=passes / rates.evaluation,
            all_reduce=sent / beside.network,
            reading=None if rates.reading is None else (trained + evaluated) / rates.reading,
            reads_beside=rates.reads_beside,
            driver=max(ROUND_SECONDS, beside.driver_seconds or 0.0),
            has_own_cores=config.use_gpu,
        )


def trained_subnets(config: OneShotSearchConfig) -> int:
    """Subnets that a weight step trains."""
    return config.plan.num_train_architectures + config.training.added_subnets


def gradient_bytes(config: OneShotSearchConfig) -> float:
    """Bytes of the gradients of a weight step: of average subnets that share nothing, at most of the supernet."""
    space = config.space
    rows_ND = space.search_space.random(COST_DRAWS, np.random.default_rng(COST_SEED))
    average = float(space.costs["params"](rows_ND).mean())
    return FLOAT32_BYTES * min(float(space.supernet_params), trained_subnets(config) * average)
