"""The ImageNet experiment's configuration; its search is that of all experiments."""

from pathlib import Path

import pytest

from experiments import imagenet
from multinas_ray.errors import ConfigError


def config_of(*flags: str):
    return imagenet.IMAGENET.config(imagenet.IMAGENET.parser().parse_args(list(flags)))


def test_the_defaults_are_those_of_the_sources() -> None:
    config = config_of("--num-workers", "8", "--use-gpu")
    assert config.targets == tuple(1e6 * target for target in (150, 214, 279, 343, 407, 471, 536, 600))
    assert config.complexity == "flops"
    assert sum(config.space.search_space.num_categories) == 141
    assert config.space.num_classes == 1000
    epoch = (1_281_167 - 50_000) // 1024
    assert (config.warmup_rounds, config.search_rounds) == (40 * epoch, 120 * epoch)
    training = config.training
    assert training.learning_rate == pytest.approx(0.1)
    assert (training.weight_decay, training.label_smoothing, training.precision) == (4e-5, 0.1, "bfloat16")
    assert (training.batch_size, training.validation_batch_size, training.norm_batch_size) == (1024, 256, 32)
    assert training.learning_rate_rise == pytest.approx(5 / 160)
    assert config.plan.num_train_architectures == 1
    assert config.optimizer_settings.update_size == 16


@pytest.mark.parametrize(
    ("workers", "batch", "validation"),
    [
        (1, 1024, 256),
        (2, 1024, 256),
        (3, 960, 192),
        (4, 1024, 256),
        (5, 960, 160),
        (6, 960, 192),
        (7, 896, 224),
        (8, 1024, 256),
        (16, 2048, 512),
        (64, 8192, 2048),
        (96, 6144, 3072),
        (300, 9600, 9600),
    ],
)
def test_batches_rate_and_rounds_follow_from_the_workers(workers: int, batch: int, validation: int) -> None:
    options = imagenet.ImageNetOptions(num_workers=workers)
    assert imagenet.default_batches(options) == (batch, validation)
    for size in (batch, validation):  # every worker has the same
        assert size % (32 * workers) == 0


def test_the_rate_grows_with_the_batch_up_to_its_bound() -> None:
    config = config_of("--num-workers", "64")
    assert (config.num_workers, config.training.learning_rate) == (64, pytest.approx(0.8))
    assert config.search_rounds == 120 * ((1_281_167 - 50_000) // 8192)
    told = dict(imagenet.told_rules(config))
    assert told["batch_size"].startswith("8,192: ")
    assert told["learning_rate"].startswith("0.8: ")
    assert config_of("--batch-size", "16384").training.learning_rate == pytest.approx(0.8)


def test_an_elastic_search_has_the_batches_of_its_most_workers() -> None:
    config = config_of("--num-workers", "8:16")
    assert (config.min_workers, config.num_workers, config.training.batch_size) == (8, 16, 2048)


def test_flags_change_what_they_say() -> None:
    config = config_of("--coefficients", "0", "0.5", "--width", "0.5", "--squeeze-excitation", "--batch-size", "512")
    assert config.targets is None
    assert config.coefficients == (0.0, 0.5)
    assert config.space.name == "imagenet_mobile_se"
    assert config.training.learning_rate == pytest.approx(0.05)


def test_targets_may_be_about_another_cost() -> None:
    config = config_of("--complexity", "params", "--targets", "3e6", "5e6")
    assert (config.complexity, config.targets) == ("params", (3e6, 5e6))


def test_targets_outside_the_space_are_told_its_range() -> None:
    with pytest.raises(ConfigError, match="102528896 to 606590720 flops, got 700000000"):
        config_of("--targets", "150e6", "700e6")


def test_a_search_needs_images(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert imagenet.main(["--storage", str(tmp_path)]) == 2
    assert "imagenet is not a folder" in capsys.readouterr().err
