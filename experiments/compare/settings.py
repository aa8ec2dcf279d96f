"""The settings of the comparison, its budget and the searches' configurations."""

# K targets

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, MultipleOf

from multinas_ray.core import TARGET_WEIGHT
from multinas_ray.data import DataConfig
from multinas_ray.errors import ConfigError
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.selection import PRIOR, SLICE_SHARE
from multinas_ray.settings import OneOf, PositiveInt, checked
from multinas_ray.spaces import NetworkSpace, nas_bench_macro_space
from multinas_ray.supernets import WeightTraining

BATCH_SIZE = 128
LEARNING_RATE = 0.2
"""Learning rate of the weights, for every supernet. Of 0.025, 0.05, 0.1, 0.2 and 0.4 it is the one whose uniform
supernet ranked best after the default budget (seed 100, which is not reported). [ours]"""
SEARCH_SHARE = 0.4
"""Share of the weight steps during which the distributions learn, if they do not wait for the weights; before that,
subnets are drawn uniformly. [ours]"""
TARGET_SHARES = {4: (0.35, 0.45, 0.55, 0.7), 8: (0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)}
"""The K targets as shares of the largest network's FLOPs, by K."""
CANDIDATES = 300
"""Networks in the pool of each target."""
FIXED_SETTINGS = {
    "comparison": 7,  # raised whenever the meaning of a piece of work changes
    "learning_rate": LEARNING_RATE,
    "search_share": SEARCH_SHARE,
    "target_shares": [list(shares) for shares in TARGET_SHARES.values()],
    "target_weight": TARGET_WEIGHT,
    "candidates": CANDIDATES,
    "slice_share": SLICE_SHARE,
    "prior": list(PRIOR),
}
"""Kept together with the flags, so that results of different versions of this comparison are not mixed."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The budget of a method before the final choice."""

    weight_steps: int
    """Number of training steps of one subnet on one batch."""
    evaluations: int
    """Number of evaluations of one subnet on one batch of validation images."""

    def __add__(self, other: "Budget") -> "Budget":
        return Budget(
            weight_steps=self.weight_steps + other.weight_steps, evaluations=self.evaluations + other.evaluations
        )


@checked
@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one comparison; every figure depends only on these and on the seed.

    Raises:
        ConfigError: A number is too small for a search.
    """

    images: Annotated[int, Ge(BATCH_SIZE)] = 10_000
    """Training images."""
    validation_images: PositiveInt = 1_000
    """Images that compare architectures."""
    epochs: PositiveInt = 10
    """Times that each training image is seen in the whole budget."""
    evaluation_images: Annotated[int, Ge(64), MultipleOf(64)] = 256
    """Validation images of one evaluation, a multiple of 64."""
    recalibration_images: Annotated[int, Ge(BATCH_SIZE)] = 512
    """Training images of a subnet's batch-normalisation statistics in the last choice and the ranking."""
    networks: Annotated[int, OneOf(tuple(TARGET_SHARES))] = 4
    """K, the number of networks wanted."""

    def __post_init__(self) -> None:
        if self.validation_images < self.evaluation_images:
            raise ConfigError(
                f"validation_images must be at least evaluation_images={self.evaluation_images}, got "
                f"{self.validation_images}: raise it, or evaluate on fewer"
            )
        if self.rounds_of_one[0] < 2:
            raise ConfigError(
                f"images={self.images} and epochs={self.epochs} make {self.epochs * (self.images // BATCH_SIZE)} "
                f"weight steps, too few for {self.num_targets} searches: raise either"
            )

    @property
    def num_targets(self) -> int:
        """K."""
        return self.networks

    @property
    def samples_per_update(self) -> int:
        """Subnets evaluated in a round, K for K distributions as for one."""
        return self.networks

    @property
    def rounds_of_one(self) -> tuple[int, int]:
        """Warm-up and search rounds of one of K separate searches."""
        rounds = self.epochs * (self.images // BATCH_SIZE) // self.num_targets
        search_rounds = max(1, round(SEARCH_SHARE * rounds))
        return rounds - search_rounds, search_rounds

    @property
    def rounds(self) -> tuple[int, int]:
        """Warm-up and search rounds of the whole budget, exactly as many as in K separate searches."""
        warmup_rounds, search_rounds = self.rounds_of_one
        return self.num_targets * warmup_rounds, self.num_targets * search_rounds

    @property
    def budget(self) -> Budget:
        """The budget of every method."""
        return Budget(weight_steps=sum(self.rounds), evaluations=self.rounds[1] * self.samples_per_update)

    @property
    def space(self) -> NetworkSpace:
        """NAS-Bench-Macro's space at half width, for images of 16x16."""
        return nas_bench_macro_space(width_multiplier=0.5, image_size=16)

    @property
    def targets(self) -> tuple[float, ...]:
        """(K,) largest FLOPs of the K networks, increasing."""
        return tuple(share * self.space.costs["flops"].maximum for share in TARGET_SHARES[self.networks])

    def data(self, out: Path) -> DataConfig:
        """The reduced images, see `images.prepare_images`."""
        total = self.images + self.validation_images
        return DataConfig(
            source="cifar10", path=str(images_folder(out)), validation_fraction=self.validation_images / total
        )


def images_folder(out: Path) -> Path:
    """The folder of the reduced images."""
    return out.absolute() / "images"


def config_of(supernet: str, seed: int, settings: Settings, out: Path, num_threads: int) -> OneShotSearchConfig:
    """The search that trains a supernet.

    Args:
        supernet: "ours": K targets, the whole budget. "separate-k": target k alone, 1/K of the budget. "full-k": target
            k alone, the whole budget. "uniform": all weight steps on uniform subnets, then the search for K targets.
        seed: seed of weights, batches and draws.
        settings: the comparison.
        out: the comparison's folder.
        num_threads: CPU threads of the worker.
    """
    kind, _, number = supernet.partition("-")
    warmup_rounds, search_rounds = settings.rounds_of_one if kind == "separate" else settings.rounds
    places = [int(number)] if number else range(settings.num_targets)
    if kind == "uniform":
        warmup_rounds += search_rounds
    return OneShotSearchConfig(
        space=settings.space,
        data=settings.data(out),
        storage_path=str(out.absolute() / "runs"),
        name=f"{supernet}-seed{seed}",
        seed=seed,
        targets=[settings.targets[place] for place in places],
        complexity="flops",
        warmup_rounds=warmup_rounds,
        search_rounds=search_rounds,
        train_during_search=kind != "uniform",
        num_train_architectures=1,
        samples_per_update=settings.samples_per_update,
        candidates_per_network=1,  # chosen again in the same way for all methods
        prior=(),
        training=WeightTraining(
            batch_size=BATCH_SIZE,
            validation_batch_size=settings.evaluation_images,
            learning_rate=LEARNING_RATE,
            norm_batch_size=64,
            weight_decay=5e-4,
        ),
        threads_per_worker=num_threads,
        checkpoint_interval_seconds=60,
    )


def spent_by(config: OneShotSearchConfig) -> Budget:
    """The budget that a search spends."""
    steps = config.plan.num_weight_steps * config.plan.num_train_architectures
    samples = config.optimizer_settings.update_size
    return Budget(weight_steps=steps, evaluations=config.search_rounds * samples)
