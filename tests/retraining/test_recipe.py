import dataclasses

import pytest

from multinas_ray.errors import ConfigError
from multinas_ray.retraining import RetrainConfig
from multinas_ray.retraining.recipe import MACHINE_FIELDS
from multinas_ray.storage import decode_plain, encode_plain


@pytest.mark.parametrize(
    ("settings", "peak"),
    [
        ({}, 0.1),
        ({"batch_size": 64}, 0.025),
        ({"batch_size": 1024, "learning_rate": 0.05}, 0.2),
        ({"batch_size": 64, "learning_rate_scaling": "none"}, 0.1),
    ],
)
def test_the_learning_rate_is_scaled_with_the_batch(settings, peak):
    assert RetrainConfig(**settings).peak_learning_rate == pytest.approx(peak)


@pytest.mark.parametrize(
    ("settings", "rise"),
    [({}, 5), ({"epochs": 50}, 5), ({"epochs": 10}, 1), ({"epochs": 1}, 0.1), ({"warmup_epochs": 0}, 0)],
)
def test_the_warm_up_is_five_epochs_or_a_tenth_of_a_short_training(settings, rise):
    assert RetrainConfig(**settings).rise_epochs == pytest.approx(rise)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": 5, "warmup_epochs": 5}, "below epochs=5, got 5.0: leave it out"),
        ({"batch_size": 10, "num_workers": 4}, "num_workers=4, got 10: set it to 12"),
        ({"batch_size": 4, "num_workers": 4}, "at least 2 images for each of num_workers"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": float("nan")}, "learning_rate must be finite, got nan"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\)"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\)"),
        ({"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\)"),
        ({"augmentation": "mixup"}, "one of none, standard, cutout, randaugment, got 'mixup'"),
        ({"cutout_fraction": 0.0}, 'for no cutout set augmentation="standard"'),
        ({"randaugment_magnitude": 31}, r"randaugment_magnitude must be in \[0, 30\], got 31"),
        ({"init": "imagenet"}, "init must be one of scratch, supernet"),
        ({"train_on": "test"}, "train_on must be one of all, train"),
        ({"precision": "float64"}, "precision must be one of"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"threads_per_worker": 0}, "threads_per_worker must be at least 1 or None"),
        ({"cpus_per_worker": 0}, "cpus_per_worker must be positive"),
        ({"use_gpu": "no"}, "RetrainConfig: use_gpu must be True or False, got 'no'"),
        ({"warmup_epochs": float("inf")}, "RetrainConfig: warmup_epochs must be finite or None, got inf"),
        ({"max_failures": -2}, "max_failures must be at least -1"),
        ({"checkpoint_interval_seconds": -1}, "checkpoint_interval_seconds must be at least 0"),
    ],
)
def test_a_wrong_setting_is_told_with_its_remedy(settings, told):
    with pytest.raises(ConfigError, match=told):
        RetrainConfig(**settings)


def test_the_identity_is_plain_and_leaves_the_machine_out():
    config = RetrainConfig(gradient_clip_norm=float("inf"))
    identity = config.identity()
    assert set(identity) | set(MACHINE_FIELDS) == {field.name for field in dataclasses.fields(RetrainConfig)}
    assert decode_plain(encode_plain(identity)) == identity
    elsewhere = dataclasses.replace(config, num_workers=2, use_gpu=True, threads_per_worker=3, max_failures=0)
    assert elsewhere.identity() == identity
    assert dataclasses.replace(config, seed=1).identity() != identity


@pytest.mark.parametrize(
    ("num_images", "num_workers", "expected"),
    [(50_000, 1, 256), (2_048, 1, 256), (1_438, 1, 128), (180, 1, 16), (9, 1, 2), (180, 3, 15), (9, 4, 8)],
)
def test_the_batch_suits_the_number_of_images_unless_it_is_given(num_images, num_workers, expected):
    sized = RetrainConfig(num_workers=num_workers).sized_for(num_images)
    assert sized.batch_size == sized.step_images == expected
    assert RetrainConfig(batch_size=64).sized_for(num_images).batch_size == 64
