"""The evaluator "supernet": losses of subnets of a trained supernet on one batch of validation images."""

from pathlib import Path

from rich.console import Console

from experiments.compare.settings import BATCH_SIZE, LEARNING_RATE, Settings
from experiments.large_space.problem import Problem, targets_of
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.selection import PRIOR
from multinas_ray.spaces import NetworkSpace, cifar10_mobile_space
from multinas_ray.supernets import WeightTraining

WIDTH, IMAGE_SIZE = 0.25, 16
WEIGHT_STEPS = 1_560
"""Steps of one uniformly drawn subnet on a batch of 128: 20 times each of 10,000 images."""
EVALUATION_IMAGES = 256


def settings_of_images() -> Settings:
    """How many images there are, as `experiments.compare` reduces them."""
    return Settings(images=10_000, validation_images=1_000, evaluation_images=EVALUATION_IMAGES)


def config_of(seed: int, out: Path) -> OneShotSearchConfig:
    """The run that trains the supernet of a seed: weights first, and the one search round that a run has at least."""
    space = cifar10_mobile_space(width_multiplier=WIDTH, image_size=IMAGE_SIZE)
    return OneShotSearchConfig(
        space=space,
        data=settings_of_images().data(out),
        storage_path=str(out.absolute() / "runs"),
        name=f"supernet-seed{seed}",
        seed=seed,
        targets=targets_of(space),
        complexity="flops",
        warmup_rounds=WEIGHT_STEPS,
        search_rounds=1,
        train_during_search=False,
        num_train_architectures=1,
        candidates_per_network=1,  # nothing is chosen here
        training=WeightTraining(
            batch_size=BATCH_SIZE,
            validation_batch_size=EVALUATION_IMAGES,
            learning_rate=LEARNING_RATE,
            norm_batch_size=64,
            weight_decay=5e-4,
        ),
        threads_per_worker=1,
        checkpoint_interval_seconds=60,
    )


def supernet_problem(seed: int, out: Path) -> Problem:
    """Train the supernet of a seed unless that is done, and evaluate with it.

    Raises:
        MultiNASError: The training failed.
        KeyboardInterrupt: The training was interrupted; it goes on the next time.
    """
    from experiments.compare.scoring import BatchLosses  # loads torch, in the pool's processes only
    from multinas_ray.data import load_splits
    from multinas_ray.oneshot import run_search
    from multinas_ray.runs import was_started
    from multinas_ray.storage import exists

    config = config_of(seed, out)
    resume = exists(f"{config.run_path}/config.json") and was_started(config.run_path)
    run = run_search(config, resume=resume, console=Console(quiet=True))
    if not run.is_finished:
        raise KeyboardInterrupt
    losses = BatchLosses(config, load_splits(config.data), config.plan.num_weight_steps)
    assert isinstance(config.space, NetworkSpace)
    return Problem(config.space, losses, prior=PRIOR)
