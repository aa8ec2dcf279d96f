"""The plan and its cost, counted by hand; the calibration on one core. No Ray."""

from contextlib import nullcontext

import pytest
from rich.console import Console

from multinas_ray.errors import RunError
from multinas_ray.oneshot import estimate
from multinas_ray.oneshot.estimate import Estimate, Rates, cost_table, dry_run, plan_table, stated_rates
from multinas_ray.supernets import Supernet, WeightTraining

TRAINING = WeightTraining(batch_size=64, validation_batch_size=128, norm_batch_size=32)
RATES = Rates(training=100.0, evaluation=400.0, source="a test")


@pytest.fixture
def config(make_config):
    return make_config(warmup_rounds=100, search_rounds=300, num_train_architectures=3, training=TRAINING)


def text_of(*tables) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        for table in tables:
            console.print(table)
    return capture.get()


def test_the_plan_by_hand(config) -> None:
    plan = Estimate.of(config)
    assert plan.weight_steps == 400
    assert plan.evaluations == 300 * 4  # K = 2, two samples of each
    assert plan.trials == 400 // 16
    assert plan.training_images == 400 * 64
    assert plan.trained_passes == 400 * 64 * 3
    assert plan.evaluated_passes == 300 * 4 * 128
    weights = sum(each.nbytes for each in Supernet(config.space, norm_batch_size=2, seed=0).parameters())
    assert plan.checkpoint_bytes == 2 * weights


def test_weights_first_has_no_weight_steps_in_the_search(make_config) -> None:
    config = make_config(warmup_rounds=100, search_rounds=300, train_during_search=False, training=TRAINING)
    assert Estimate.of(config).training_images == 100 * 64


def test_hours_and_dollars_by_hand(config) -> None:
    seconds = 400 * 64 * 3 / 100 + 300 * 4 * 128 / 400
    assert Estimate.of(config).hours(RATES, 1) == pytest.approx(seconds / 3600)
    assert Estimate.of(config).hours(RATES, 4) == pytest.approx(seconds / 4 / 3600)
    table = text_of(cost_table(config, RATES, 3600.0))
    assert f"{seconds:,.0f} dollars" in table
    assert "dollars" not in text_of(cost_table(config, RATES, None))


def test_evaluation_is_taken_as_three_times_as_fast() -> None:
    assert stated_rates(10.0).evaluation == 30.0


def test_the_plan_names_what_a_reader_asks_for(config) -> None:
    table = text_of(plan_table(config))
    for text in (
        "100 to warm up, 300 to search, in 25 trials",
        "400 of 64 images with 3 subnets each",
        "1,200 on 128 images",
    ):
        assert text in table


def test_a_calibration_measures_this_machine(config, monkeypatch) -> None:
    monkeypatch.setattr(estimate, "CALIBRATION_SECONDS", 0.1)
    rates = estimate._measure(config)
    assert 0 < rates.training < rates.evaluation
    assert rates.source.endswith("CPU thread(s), 32 images at a time")


def test_the_plan_is_shown_even_where_the_cluster_has_too_little(config, monkeypatch) -> None:
    def too_little(config, console):
        raise RunError("too little")

    monkeypatch.setattr(estimate, "ray_session", nullcontext)
    monkeypatch.setattr(estimate, "check_resources", too_little)
    console = Console(width=200, record=True, quiet=False)
    with pytest.raises(RunError, match="too little"), console.capture() as capture:
        dry_run(config, console, images_per_second=50.0)
    shown = capture.get()
    assert "The plan" in shown
    assert "estimated hours" in shown
    assert "The cluster" not in shown
