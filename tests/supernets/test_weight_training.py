import math

import pytest

from multinas_ray.errors import ConfigError
from multinas_ray.supernets import WeightTraining


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"validation_batch_size": -64}, "validation_batch_size must be at least 1, got -64"),
        ({"norm_batch_size": 0}, "norm_batch_size must be at least 1, got 0"),
        ({"batch_size": 100}, "batch_size must be a multiple of norm_batch_size=64, got 100"),
        ({"validation_batch_size": 65}, "validation_batch_size must be a multiple of norm_batch_size=64, got 65"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be finite, got nan"),
        ({"gradient_clip_norm": 0}, "gradient_clip_norm must be positive, got 0"),
        ({"gradient_clip_norm": -1.0}, "gradient_clip_norm must be positive, got -1.0"),
        ({"learning_rate_rise": 1.0}, "learning_rate_rise must be in [0, 1), got 1.0"),
        ({"momentum": 1}, "momentum must be in [0, 1), got 1"),
        ({"momentum": math.nan}, "momentum must be finite, got nan"),
        ({"weight_decay": -1e-4}, "weight_decay must be in [0, 1), got -0.0001"),
        ({"label_smoothing": 1.5}, "label_smoothing must be in [0, 1), got 1.5"),
        ({"precision": "float16"}, "precision must be one of float32, bfloat16, got 'float16'"),
        ({"gradient_clip_norm": math.nan}, "gradient_clip_norm must be a number, got nan"),
        ({"augment": "no"}, "augment must be True or False, got 'no'"),
        ({"batch_size": 64.0}, "batch_size must be a whole number, got 64.0"),
        ({"activation_bytes_limit": 0}, "activation_bytes_limit must be at least 1 or None, got 0"),
    ],
)
def test_a_setting_that_breaks_a_rule_says_which(settings, text):
    with pytest.raises(ConfigError) as caught:
        WeightTraining(**settings)
    assert str(caught.value) == f"WeightTraining: {text}"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gradient_clip_norm": math.inf},
        {"learning_rate_rise": 0.0, "momentum": 0.0, "weight_decay": 0.0, "label_smoothing": 0.0},
        {"batch_size": 1, "validation_batch_size": 1, "norm_batch_size": 1},
        {"precision": "bfloat16", "activation_bytes_limit": 1},
    ],
)
def test_the_borders_of_the_rules_are_allowed(settings):
    WeightTraining(**settings)


def test_every_worker_must_get_a_norm_group():
    training = WeightTraining(batch_size=192, validation_batch_size=128, norm_batch_size=64)
    training.check_num_workers(1)
    training.check_num_workers(2)
    with pytest.raises(ConfigError) as caught:
        training.check_num_workers(3)
    assert str(caught.value) == (
        "validation_batch_size=128 is 2 groups of norm_batch_size=64, fewer than num_workers=3: "
        "set validation_batch_size to at least 192"
    )


def test_the_remedy_for_too_many_workers_works():
    WeightTraining(batch_size=192, validation_batch_size=384, norm_batch_size=64).check_num_workers(3)


@pytest.mark.parametrize(("num_steps", "rise"), [(100, 0.1), (1000, 0.02), (37, 0.2), (50, 0.0)])
def test_the_learning_rate_rises_in_a_line_and_falls_on_half_a_cosine(num_steps, rise):
    training = WeightTraining(learning_rate=0.4, learning_rate_rise=rise)
    rates = [training.learning_rate_at(step, num_steps) for step in range(num_steps)]
    rising = math.ceil(rise * num_steps)
    assert rates[:rising] == pytest.approx([0.4 * (i + 1) / (rise * num_steps + 1) for i in range(rising)])
    falling = num_steps - rise * num_steps
    expected = [0.4 * math.cos(0.5 * math.pi * (i - rise * num_steps) / falling) ** 2 for i in range(rising, num_steps)]
    assert rates[rising:] == pytest.approx(expected)
    assert min(rates) > 0
    assert max(rates) <= 0.4
    assert rates == sorted(rates[: rising + 1]) + sorted(rates[rising + 1 :], reverse=True)
    assert rates[-1] < 0.4 * 2.5 / falling**2  # cos is 1 - x^2 / 2 near the end


def test_the_peak_of_the_learning_rate_comes_after_the_rise():
    training = WeightTraining(learning_rate=0.4, learning_rate_rise=0.1)
    assert training.learning_rate_at(10, 100) == 0.4
    assert training.learning_rate_at(55, 100) == pytest.approx(0.2)
    assert training.learning_rate_at(100, 100) == pytest.approx(0.0, abs=1e-16)


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_searches_of_a_few_steps_train_too(num_steps):
    training = WeightTraining(learning_rate_rise=0.5)
    assert all(training.learning_rate_at(step, num_steps) > 0 for step in range(num_steps))
