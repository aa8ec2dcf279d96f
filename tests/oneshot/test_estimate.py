"""The plan and its cost, counted by hand; the calibration on one core. No Ray."""

import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from multinas_ray.data import BatchPlan, DataConfig
from multinas_ray.errors import ConfigError, RunError
from multinas_ray.oneshot import calibration, dry_run, fitted_to, made_up_rounds
from multinas_ray.oneshot.calibration import Rates, measure_here, stated_rates
from multinas_ray.oneshot.estimate import START_SECONDS, Duration, Estimate
from multinas_ray.oneshot.made_up_rounds import measure_driver
from multinas_ray.oneshot.rehearsal import cost_table, plan_table
from multinas_ray.oneshot.round_time import ROUND_SECONDS, RoundTime, Surroundings, gradient_bytes
from multinas_ray.oneshot.rounds import RoundWorker
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
    weights = sum(each.nbytes for each in BlockSupernet(config.space, norm_batch_size=2, seed=0).parameters())
    assert plan.checkpoint_bytes == 2 * weights


def test_weights_first_has_no_weight_steps_in_the_search(make_config) -> None:
    config = make_config(warmup_rounds=100, search_rounds=300, train_during_search=False, training=TRAINING)
    assert Estimate.of(config).training_images == 100 * 64


NOTHING_BESIDE = Surroundings(network=math.inf, driver_seconds=0.0)


def test_seconds_of_a_round_by_hand(config) -> None:
    one = RoundTime.of(config, RATES, NOTHING_BESIDE, evaluates=True)
    assert (one.training, one.evaluation) == pytest.approx((64 * 3 / 100, 128 * 4 / 400))
    assert one.total == pytest.approx(1.92 + 1.28 + ROUND_SECONDS)
    assert RoundTime.of(config, RATES, NOTHING_BESIDE, trains=False, evaluates=True).training == 0
    assert RoundTime.of(config, RATES, NOTHING_BESIDE, evaluates=False).evaluation == 0


@pytest.mark.parametrize(("workers", "shards"), [(1, (64, 128)), (2, (32, 64))])
def test_a_round_lasts_as_long_as_its_largest_shard(config, workers, shards) -> None:
    one = RoundTime.of(replace(config, num_workers=workers), RATES, NOTHING_BESIDE, evaluates=True)
    assert (one.training, one.evaluation) == pytest.approx((shards[0] * 3 / 100, shards[1] * 4 / 400))


@pytest.mark.parametrize(("workers", "shard"), [(3, 3), (5, 2), (6, 2), (7, 2), (8, 1)])
def test_groups_that_workers_cannot_share_evenly_count_for_the_one_with_the_most(workers, shard) -> None:
    assert TRAINING.largest_shard(8 * 32, workers) == shard * 32
    plans = [
        BatchPlan(batch_size=256, seed=0, shuffle=True, device="cpu", rank=rank, world_size=workers, norm_batch_size=32)
        for rank in range(workers)
    ]
    assert max(plan.shard_size for plan in plans) == shard * 32


def test_gradients_are_sent_around_the_ring_of_workers(config) -> None:
    beside = Surroundings(network=1e6, driver_seconds=0.0)
    assert RoundTime.of(config, RATES, beside, evaluates=True).all_reduce == 0
    config = replace(config, num_workers=2)
    one = RoundTime.of(config, RATES, beside, evaluates=True)
    assert one.all_reduce == pytest.approx(gradient_bytes(config) / 1e6)
    assert one.total == pytest.approx(one.training + one.evaluation + one.all_reduce + ROUND_SECONDS)
    assert RoundTime.of(config, RATES, beside, trains=False, evaluates=True).all_reduce == 0
    many = replace(config, num_train_architectures=10**6)
    assert gradient_bytes(many) == 4 * config.space.supernet_params
    average = gradient_bytes(replace(config, num_train_architectures=1)) / 4
    assert config.space.costs["params"].minimum < average < config.space.costs["params"].maximum


def test_gpus_compute_beside_the_driver_and_the_decoding_and_cpus_do_not(config) -> None:
    beside = Surroundings(driver_seconds=5.0)
    rates = replace(RATES, reading=100.0, reads_beside=True)
    on_gpu = RoundTime.of(replace(config, use_gpu=True), rates, beside, evaluates=True)
    assert on_gpu.reading == pytest.approx(1.92)
    assert on_gpu.total == 5.0
    slow = RoundTime.of(replace(config, use_gpu=True), replace(rates, reading=10.0), beside, evaluates=True)
    assert slow.total == pytest.approx(19.2)
    on_cpu = RoundTime.of(config, replace(rates, reads_beside=False), beside, evaluates=True)
    assert on_cpu.total == pytest.approx(1.92 + 1.28 + 1.92 + 5.0)


def test_dollars_by_hand(config) -> None:
    seconds = 100 * (1.92 + ROUND_SECONDS) + 300 * (1.92 + 1.28 + ROUND_SECONDS) + START_SECONDS
    table = text_of(cost_table(config, RATES, NOTHING_BESIDE, 3600.0))
    assert f"{seconds:,.0f} dollars" in table
    for text in ("none, there is one worker", "not measured", "without reading images, the choice of the networks"):
        assert text in table
    assert "dollars" not in text_of(cost_table(config, RATES, NOTHING_BESIDE, None))
    two = text_of(cost_table(replace(config, num_workers=2), replace(RATES, reading=50.0), Surroundings(), None))
    for text in ("at 10 Gbit/s, assumed", "at 50 images per second and worker", "without the choice"):
        assert text in two


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
    monkeypatch.setattr(calibration, "CALIBRATION_SECONDS", 0.05)
    monkeypatch.setattr(made_up_rounds, "TIMED_ROUNDS", 3)


@pytest.mark.usefixtures("soon")
def test_a_calibration_measures_this_machine(config) -> None:
    rates = measure_here(replace(config, threads_per_worker=1))
    assert 0 < rates.training < rates.evaluation
    assert rates.source == "measured on 1 CPU thread(s), 64 images at a time trained and 128 evaluated"
    assert rates.reading is not None
    assert not rates.reads_beside


@pytest.mark.usefixtures("soon")
def test_a_calibration_of_large_networks_takes_few_images(config, monkeypatch) -> None:
    """A group of 32 photos takes a CPU a minute."""
    monkeypatch.setattr(calibration, "CALIBRATION_FLOPS", 9 * 4 * config.space.costs["flops"].maximum)
    assert measure_here(config).source.endswith(" 8 images at a time trained and 8 evaluated")
    monkeypatch.setattr(calibration, "CALIBRATION_FLOPS", 1.0)
    assert measure_here(config).source.endswith(" 4 images at a time trained and 4 evaluated")


def test_a_calibration_of_large_networks_computes_each_part_once(config, monkeypatch) -> None:
    """One subnet for each part, whose first run is slow enough to be the measurement."""
    computed: list[int] = []
    run = RoundWorker.run

    def counted(worker, work):
        rows_ND = work.architectures if work.train_architectures is None else work.train_architectures
        computed.append(len(rows_ND))
        return run(worker, work)

    monkeypatch.setattr(RoundWorker, "run", counted)
    monkeypatch.setattr(calibration, "CALIBRATION_SECONDS", 0.0)
    monkeypatch.setattr(calibration, "CALIBRATION_FLOPS", 1.0)
    measure_here(config, has_images=False)
    assert computed == [1, 1]
    monkeypatch.setattr(calibration, "CALIBRATION_SECONDS", 1e-9)
    monkeypatch.setattr(calibration, "CALIBRATION_FLOPS", 2.5 * 4 * config.space.costs["flops"].maximum)
    measure_here(config, has_images=False)
    assert computed[2:] == [2, 2]


@pytest.mark.parametrize("workers", [*range(1, 9), 16, 64])
def test_any_number_of_workers_can_be_calibrated(make_config, monkeypatch, workers) -> None:
    seen: list[tuple[int, int]] = []

    def measured(worker, rounds):
        seen.append((worker.training_batches.shard_size, worker.validation_batches.shard_size))
        return 1.0

    monkeypatch.setattr(calibration, "_seconds_of_subnet", measured)
    training = WeightTraining(batch_size=64 * 3, validation_batch_size=64 * 2, norm_batch_size=2)
    config = make_config(num_workers=workers, training=training)
    measure_here(config, has_images=False)
    groups = -(-96 // workers), -(-64 // workers)
    assert seen == [(2 * groups[0], 2 * groups[1])] * 2


@pytest.mark.parametrize("budget_seconds", [300.0, 3600.0, 10 * 3600.0])
def test_a_search_fits_its_time(config, budget_seconds) -> None:
    rates = replace(RATES, training=2000.0, evaluation=8000.0)
    fitted = fitted_to(config, budget_seconds, rates, Surroundings(), (1078, 360))
    duration = Duration.of(fitted, rates, Surroundings(), (1078, 360))
    one_round = duration.rounds / fitted.plan.num_rounds
    assert budget_seconds - 3 * one_round - 1 <= duration.total <= budget_seconds + one_round
    assert fitted.warmup_rounds / fitted.search_rounds == pytest.approx(100 / 300, rel=0.1)


def test_a_time_in_which_nothing_can_be_searched_is_told(config) -> None:
    with pytest.raises(ConfigError, match=r"20 rounds of the search and for the choice, 10 s do not: allow at least"):
        fitted_to(config, 10.0, RATES, Surroundings(), (1078, 360))


def test_rounds_have_a_cost_beside_their_computation(config) -> None:
    fast = replace(RATES, training=1e12, evaluation=1e12)
    assert Duration.of(config, fast, NOTHING_BESIDE, None).rounds == pytest.approx(400 * ROUND_SECONDS, rel=1e-3)


def test_a_driver_is_timed_and_leaves_nothing_behind(config, monkeypatch) -> None:
    monkeypatch.setattr(made_up_rounds, "TIMED_ROUNDS", 3)
    assert 0 < measure_driver(replace(config, start="uniform")) < 1
    assert not list(Path(config.storage_path).iterdir())


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


@pytest.mark.usefixtures("soon", "no_ray")
def test_a_dry_run_needs_no_images_and_no_gpu(config, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = replace(config, data=DataConfig(source="folder", path="/nowhere"), use_gpu=True)
    shown = shown_by_dry_run(config, has_images=False)
    assert "No images yet at /nowhere." in shown
    assert "give --images-per-second" in shown
    assert "least memory of a GPU" in shown
    rules = [("batch_size", "64, which is the rule")]
    told = shown_by_dry_run(config, has_images=False, images_per_second=50.0, network_gigabits=25.0, rules=rules)
    for text in ("estimated time", "What follows from 1 worker(s)", "the rule", "none, there is one worker"):
        assert text in told


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


@pytest.mark.usefixtures("no_ray")
def test_a_supernet_that_does_not_fit_into_memory_is_told_before_it_is_built(config, monkeypatch) -> None:
    needed = 3 * 4 * config.space.supernet_params
    monkeypatch.setattr("multinas_ray.oneshot.rehearsal.available_memory_bytes", lambda: needed - 1)
    with pytest.raises(RunError, match=r"this machine has .* free: use a smaller or narrower space"):
        shown_by_dry_run(config)
