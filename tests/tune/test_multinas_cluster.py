"""MultiNASSearch in a real Tune on a real local Ray: every row of what a Searcher is told, and what it is not."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Repeater

from multinas_ray.runs import SESSIONS, RunRecord, load_run, verify_run
from multinas_ray.tune import MultiNASSearch
from multinas_ray.tune.evaluation import drawn_of

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("local_ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SPACE = {"a": tune.choice([1, 2, 3]), "net": {"b": tune.choice([0, 1]), "c": tune.randint(0, 3)}, "fixed": 7}


def quality(config):
    assert config["fixed"] == 7
    return 1.0 / (config["a"] + config["net"]["c"]) + 0.1 * config["net"]["b"]


def size(config):
    return float(config["a"] + config["net"]["c"])


def result_of(config):
    return {"loss": quality(config), "size": size(config)}


def report(config):
    tune.report(result_of(config))


class Trainable(tune.Trainable):
    """Reports `config`'s result until Tune stops it."""

    def setup(self, config):
        self.values = config

    def step(self):
        return {**result_of(self.values), "done": self.iteration + 1 == 3}

    def reset_config(self, new_config):
        self.values = new_config
        return True

    def save_checkpoint(self, checkpoint_dir):  # Tune saves a class trainable at its end
        return {"values": self.values}

    def load_checkpoint(self, checkpoint):
        self.values = checkpoint["values"]


class Stubborn(Trainable):
    """Refuses to be reused."""

    def reset_config(self, new_config):
        return False


class Bench:
    """Runs a trainable in a Tuner over a new MultiNASSearch."""

    def __init__(self, path):
        self.path = path

    def search(self, **arguments):
        arguments = {"complexity": "size", "num_distributions": 2, "seed": 0, **arguments}
        return MultiNASSearch(record_path=str(self.path / "record"), **arguments)

    def fit(self, trainable, search, *, num_samples=10, space=SPACE, run=None, wrapped=None, **changes):
        # One trial at a time where that is enough: another process takes some four seconds of a core.
        options = {"metric": "loss", "mode": "min", "max_concurrent_trials": 1, "reuse_actors": True, **changes}
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(search_alg=wrapped or search, num_samples=num_samples, **options),
            run_config=tune.RunConfig(storage_path=str(self.path), name="run", verbose=0, **(run or {})),
        )
        results = tuner.fit()
        assert search.error is None
        return results

    @property
    def rows(self):
        found = verify_run(self.path / "record")
        assert found.holds, found.summary()
        return load_run(self.path / "record").evaluations


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def is_failed(rows):
    return [math.isinf(loss) for loss in rows["loss"]]


def test_a_function_with_one_result_in_a_nested_space(bench):
    search = bench.search()
    results = bench.fit(report, search, num_samples=12, max_concurrent_trials=2)
    assert len(results) == 12
    rows = bench.rows
    assert len(rows) == 12
    by_trial = rows.set_index("trial_id")
    for result in results:
        row = by_trial.loc[result.metrics["trial_id"]]
        assert row["loss"] == quality(result.config)
        assert row["size"] == size(result.config)
    assert search.best_configs()["config"].map(lambda config: config["fixed"]).tolist() == [7, 7]


def test_a_function_with_many_results_counts_with_its_last(bench):
    def many(config):
        for step in range(3):
            tune.report({"loss": 10.0 - step, "size": 1.0})

    bench.fit(many, bench.search(), num_samples=5)
    assert bench.rows["loss"].tolist() == [8.0] * 5


def test_a_class_with_many_results_and_reused_actors(bench):
    results = bench.fit(Trainable, bench.search(), num_samples=8, max_concurrent_trials=2)
    assert not results.errors
    assert len(bench.rows) == len(results) == 8
    assert not any(is_failed(bench.rows))


def test_mode_max(bench):
    search = bench.search()
    bench.fit(lambda config: tune.report({"gain": 5.0, "size": 2.0}), search, metric="gain", mode="max", num_samples=4)
    assert bench.rows["loss"].tolist() == [-5.0] * 4
    assert search.best_configs()["gain"].tolist() == [5.0, 5.0]


def test_a_trial_that_raises_is_failed(bench):
    def fails(config):
        tune.report(result_of(config))
        if config["a"] == 1:
            raise RuntimeError("on purpose")

    results = bench.fit(fails, bench.search(), num_samples=6)
    failed = {result.metrics["trial_id"] for result in results if result.error}
    rows = bench.rows
    assert len(rows) == 6
    assert set(rows["trial_id"][is_failed(rows)]) == failed
    assert 0 < len(failed) < 6


def test_a_retry_under_max_failures_counts_once(bench):
    folder = bench.path / "attempts"
    folder.mkdir()

    def second_time(config):
        mark = folder / tune.get_context().get_trial_id()
        if not mark.exists():
            mark.touch()
            raise RuntimeError("the first time")
        tune.report(result_of(config))

    failures = tune.FailureConfig(max_failures=1)
    bench.fit(second_time, bench.search(), num_samples=2, run={"failure_config": failures})
    assert len(bench.rows) == 2
    assert not any(is_failed(bench.rows))


def endless(config):
    for step in range(10_000):
        tune.report({"loss": 1.0 + step, "size": 1.0})
        time.sleep(0.05)


class StopAll(tune.Stopper):
    """Stops everything after a number of results."""

    def __init__(self):
        self.count = 0

    def __call__(self, trial_id, result):
        self.count += 1
        return False

    def stop_all(self):
        return self.count > 20


@pytest.mark.parametrize("how", ["stop_all", "time_budget_s"])
def test_an_early_end_tells_nothing_of_what_runs(bench, how):
    search = bench.search()
    if how == "stop_all":
        bench.fit(endless, search, run={"stop": StopAll()})
    else:
        bench.fit(endless, search, time_budget_s=2)
    assert len(bench.rows) == 0
    assert len(search._search.live) > 0


@pytest.mark.timeout(120)  # Tune's driver would hang for minutes
def test_trials_lost_by_a_refused_reset_stop_nobody(bench):
    search = bench.search()
    results = bench.fit(Stubborn, search, num_samples=4)
    assert len(results) == 4
    assert len(search._search.live) > 0  # Tune has lost some
    assert len(bench.rows) + len(search._search.live) == 4


def test_a_missing_metric_fails_the_trial(bench, monkeypatch):
    monkeypatch.setenv("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    bench.fit(lambda config: tune.report({"size": 1.0}), bench.search(), num_samples=3)
    assert is_failed(bench.rows) == [True] * 3


def test_nan_inf_and_a_missing_complexity_fail_the_trial(bench):
    def odd(config):
        values = {1: {"loss": math.nan, "size": 1.0}, 2: {"loss": math.inf, "size": 1.0}, 3: {"loss": 1.0}}
        tune.report(values[config["a"]])

    bench.fit(odd, bench.search(), num_samples=6)
    assert is_failed(bench.rows) == [True] * 6


class TellsAgain(tune.Callback):
    """Tells a searcher every completion once more, and one of a trial that nobody knows."""

    def __init__(self, search):
        self.search = search

    def on_trial_complete(self, iteration, trials, trial, **info):
        for trial_id in (trial.trial_id, "nobody"):
            self.search.on_trial_complete(trial_id, result={**trial.last_result, "loss": -1.0})


def test_repeated_and_unknown_completions_change_nothing(bench):
    search = bench.search()
    results = bench.fit(report, search, run={"callbacks": [TellsAgain(search)]})
    rows = bench.rows
    assert len(rows) == len(results) == 10
    assert sorted(rows["loss"]) == sorted(result.metrics["loss"] for result in results)


def test_a_trial_stopped_by_asha_counts_with_its_last_result(bench):
    def slow(config):
        for step in range(1, 9):
            tune.report({**result_of(config), "step": step, "progress": float(step)})

    scheduler = ASHAScheduler(time_attr="step", max_t=8, grace_period=1, reduction_factor=2)
    search = bench.search(recorded_complexities=["progress"])
    results = bench.fit(slow, search, num_samples=12, scheduler=scheduler, max_concurrent_trials=2)
    last = {result.metrics["trial_id"]: result.metrics["progress"] for result in results}
    rows = bench.rows
    assert len(rows) == 12
    assert dict(zip(rows["trial_id"], rows["progress"], strict=True)) == last
    assert min(last.values()) < 8
    assert not any(is_failed(rows))


def test_a_repeater_with_a_complexity_function(bench):
    search = bench.search(complexity=size)
    bench.fit(report, search, wrapped=Repeater(search, repeat=2), num_samples=8, max_concurrent_trials=None)
    assert len(bench.rows) == 4
    assert not any(is_failed(bench.rows))


SHIPPED = {
    "lr": tune.loguniform(1e-4, 1e-1),
    "width": tune.randint(10, 200),
    "opt": tune.choice([{"name": "sgd", "momentum": tune.uniform(0, 1)}, {"name": "adam"}]),
    "activation": tune.grid_search(["relu", "tanh"]),
    "decay": tune.sample_from(lambda config: config["lr"] / 100),
    "layers": [{"dropout": tune.quniform(0, 0.5, 0.1)}, {"dropout": tune.quniform(0, 0.5, 0.1)}],
}


def report_shipped(config):
    assert config["decay"] == config["lr"] / 100
    tune.report({"loss": abs(math.log10(config["lr"]) + 2), "size": float(config["width"])})


def test_numbers_conditional_parts_grids_and_drawn_values(bench):
    search = bench.search()
    results = bench.fit(report_shipped, search, num_samples=12, space=SHIPPED, max_concurrent_trials=2)
    assert not results.errors
    rows = bench.rows.set_index("trial_id")
    assert len(rows) == 12
    assert rows["loss"].notna().all()
    for result in results:
        row, space = rows.loc[result.metrics["trial_id"]], search._search.space
        assert space.decode(row["architecture"], drawn_of(row)) == result.config


def test_an_error_of_the_searcher_reaches_fit(bench, monkeypatch):
    appended = RunRecord.append

    def full_after_three(record, results, **options):
        if len(results.ids) and results.ids[0] >= 3:
            raise OSError("no space left")
        appended(record, results, **options)

    monkeypatch.setattr(RunRecord, "append", full_after_three)
    with pytest.raises(Exception, match="no space left"):
        bench.fit(report, bench.search(), num_samples=10)
    assert len(bench.rows) == 3
    last = Bench(bench.path / "last")
    with pytest.raises(AssertionError):  # the searcher's error, which the bench looks for
        last.fit(report, last.search(), num_samples=4)
    grid = tune.Tuner.restore(str(last.path / "run"), report).get_results()
    assert [("no space left" in str(error)) for error in grid.errors] == [True]


def test_known_configs_end_the_run(bench):
    results = bench.fit(report, bench.search(reuse_results=True), num_samples=100, max_concurrent_trials=2)
    assert len(results) == 18
    assert (bench.rows["reused_id"].isna()).sum() == 18


def test_a_killed_driver_loses_no_result(tmp_path):
    """Nothing that was finished is lost or counted twice, though Tune's snapshot is older than the record."""
    environment = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "4"}
    environment.pop("RAY_ADDRESS", None)

    def start(mode):
        command = [sys.executable, "-m", "tests.support.tune_driver", str(tmp_path), mode, "40"]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    first = start("start")
    deadline = time.monotonic() + 120
    while _num_rows(tmp_path) < 15 and time.monotonic() < deadline:
        assert first.poll() is None, "the driver ended by itself"
        time.sleep(0.2)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    first.stdout.close()
    (record,) = records_in(tmp_path)
    before = load_run(record).evaluations
    assert 15 <= len(before) < 40

    with start("resume") as second:
        try:
            output, _ = second.communicate(timeout=300)
        finally:
            second.kill()
    assert "ENDED 40" in output
    after = load_run(record).evaluations
    kept = after[after["id"].isin(before["id"])]
    columns = ["id", "trial_id", "loss", "tell_order", "architecture"]
    assert kept[columns].reset_index(drop=True).equals(before[columns].reset_index(drop=True))
    assert after["trial_id"].is_unique
    assert len(after) >= 40
    found = verify_run(record)
    assert found.holds, found.summary()
    assert [note.name for note in sorted((record / SESSIONS).iterdir())] == ["0000.json", "0001.json"]


def records_in(folder: Path) -> list[Path]:
    """The records of the experiment in a folder."""
    return list((folder / "run" / "multinas").glob("*"))


def _num_rows(folder: Path) -> int:
    with contextlib.suppress(Exception):
        return len(load_run(records_in(folder)[0]).evaluations)
    return 0
