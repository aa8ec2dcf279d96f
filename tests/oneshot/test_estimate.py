"""The plan and its cost, counted by hand; the calibration on one core. No Ray."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
from rich.console import Console

from multinas_ray.data import DataConfig
from multinas_ray.errors import ConfigError, RunError
from multinas_ray.oneshot import calibration, dry_run, fitted_to
from multinas_ray.oneshot.calibration import Rates, measure_here, stated_rates
from multinas_ray.oneshot.estimate import ROUND_SECONDS, Duration, Estimate
from multinas_ray.oneshot.rehearsal import cost_table, plan_table
from multinas_ray.supernets import BlockSupernet, WeightTraining

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
    weights = sum(each.nbytes for each in BlockSupernet(config.space, norm_batch_size=2, seed=0).parameters())
    assert plan.checkpoint_bytes == 2 * weights


def test_weights_first_has_no_weight_steps_in_the_search(make_config) -> None:
    config = make_config(warmup_rounds=100, search_rounds=300, train_during_search=False, training=TRAINING)
    assert Estimate.of(config).training_images == 100 * 64


def test_seconds_and_dollars_by_hand(config) -> None:
    seconds = 400 * 64 * 3 / 100 + 300 * 4 * 128 / 400
    assert Estimate.of(config).compute_seconds(RATES, 1) == pytest.approx(seconds)
    assert Estimate.of(config).compute_seconds(RATES, 4) == pytest.approx(seconds / 4)
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


@pytest.fixture
def soon(monkeypatch) -> None:
    """A calibration of a moment."""
    monkeypatch.setattr(calibration, "CALIBRATION_SECONDS", 0.1)


@pytest.mark.usefixtures("soon")
def test_a_calibration_measures_this_machine(config) -> None:
    rates = measure_here(replace(config, threads_per_worker=1))
    assert 0 < rates.training < rates.evaluation
    assert rates.source == "measured on 1 CPU thread(s), 64 images at a time"


@pytest.mark.parametrize("budget_seconds", [300.0, 3600.0, 10 * 3600.0])
def test_a_search_fits_its_time(config, budget_seconds) -> None:
    rates = replace(RATES, training=2000.0, evaluation=8000.0)
    fitted = fitted_to(config, budget_seconds, rates, 1078, 360)
    duration = Duration.of(fitted, rates, 1078, 360)
    one_round = duration.rounds / fitted.plan.num_rounds
    assert budget_seconds - 3 * one_round - 1 <= duration.total <= budget_seconds + one_round
    assert fitted.warmup_rounds / fitted.search_rounds == pytest.approx(100 / 300, rel=0.1)


def test_a_time_in_which_nothing_can_be_searched_is_told(config) -> None:
    with pytest.raises(ConfigError, match=r"20 rounds of the search and for the choice, 10 s do not: allow at least"):
        fitted_to(config, 10.0, RATES, 1078, 360)


def test_rounds_have_a_cost_beside_their_computation(config) -> None:
    fast = replace(RATES, training=1e12, evaluation=1e12)
    assert Duration.of(config, fast, 1078, 360).rounds == pytest.approx(400 * ROUND_SECONDS, rel=1e-3)


def shown_by_dry_run(config, **settings) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        dry_run(config, console, **settings)
    return capture.get()


@pytest.fixture
def no_ray(monkeypatch) -> None:
    """No cluster is running, and none may be started."""

    def refuse(*given, **named):
        raise AssertionError("Ray is started")

    monkeypatch.setattr("ray.init", refuse)
    monkeypatch.setattr("multinas_ray.oneshot.rehearsal.is_cluster_there", lambda: False)


@pytest.mark.usefixtures("soon", "no_ray")
def test_a_dry_run_tells_everything_without_ray(config) -> None:
    shown = shown_by_dry_run(replace(config, threads_per_worker=1))
    for text in (
        "params in this space",
        "flops in this space",
        "1,078 train, 360 validation, 359 test; 10 classes",
        "8 x 8 pixels, 1 channel(s)",
        "mirrored  none",
        "measured on 1 CPU thread(s)",
        "estimated time",
        "of choosing the networks",
        "memory of a worker",
        config.run_path,
        "tables of 1,200, 600 and 400 rows",
    ):
        assert text in shown, shown


@pytest.mark.usefixtures("no_ray")
def test_a_dry_run_needs_no_images_and_no_gpu(config, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = replace(config, data=DataConfig(source="folder", path="/nowhere"), use_gpu=True)
    shown = shown_by_dry_run(config, has_images=False)
    assert "No images yet at /nowhere." in shown
    assert "give --images-per-second" in shown
    assert "least memory of a GPU" in shown
    assert "estimated time" in shown_by_dry_run(config, has_images=False, images_per_second=50.0)


def test_a_cluster_that_has_too_little_is_told_after_the_plan(config, monkeypatch) -> None:
    def too_little(config, console):
        raise RunError("too little")

    for name, value in (
        ("ray_session", nullcontext),
        ("is_cluster_there", lambda: True),
        ("check_resources", too_little),
    ):
        monkeypatch.setattr(f"multinas_ray.oneshot.rehearsal.{name}", value)
    console = Console(width=200)
    with pytest.raises(RunError, match="too little"), console.capture() as capture:
        dry_run(config, console, images_per_second=50.0)
    assert "The plan" in capture.get()
    assert "The cluster" not in capture.get()
