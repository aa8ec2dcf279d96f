"""MultiNASSearch driven by hand: what Tune does, without Ray."""

import logging
import math
import pickle
from itertools import count

import numpy as np
import pytest
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Repeater

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.results import load_run, verify_run
from multinas_ray.tune import MultiNASSearch, trial_search
from multinas_ray.tune import multinas as module

SPACE = {"a": tune.choice([1, 2, 3]), "net": {"b": tune.choice([0, 1]), "c": tune.choice([0, 2, 4]), "fixed": 7}}
FINISHED = "FINISHED"


def loss_of(config):
    return 1.0 / (1 + config["a"] + config["net"]["c"]) + 0.3 * config["net"]["b"]


def size_of(config):
    return float(10 * config["a"] + config["net"]["c"])


def sum_of(config):
    return float(sum(config.values()))


def result_of(config):
    return {"loss": loss_of(config), "size": size_of(config)}


class Pipeline:
    """Plays Tune's part."""

    def __init__(self, path, space=SPACE, mode="min", metric="loss", **arguments):
        arguments = {"complexity": "size", "num_distributions": 2, "seed": 0, **arguments}
        self.path, self.numbers, self.running = str(path), count(), {}
        self.search = MultiNASSearch(record_path=str(path), **arguments)
        assert self.search.set_search_properties(metric, mode, space)

    def start(self):
        trial_id = f"t{next(self.numbers)}"
        config = self.search.suggest(trial_id)
        if not isinstance(config, dict):
            return config
        self.running[trial_id] = config
        return trial_id

    def end(self, trial_id, result="computed", error=False):
        config = self.running.pop(trial_id)
        result = result_of(config) if result == "computed" else result
        self.search.on_trial_complete(trial_id=trial_id, result=result, error=error)
        assert self.search.error is None
        return config

    def run(self, num_trials):
        return [self.end(self.start()) for _ in range(num_trials)]

    @property
    def rows(self):
        return load_run(self.path).evaluations

    def restored(self, tmp_path, **changes):
        """Saved, pickled and restored, as Tune does after a crash."""
        file = str(tmp_path / "state.json")
        self.search.save(file)
        return self.taken_up(file)

    def taken_up(self, file=None):
        other = object.__new__(Pipeline)
        other.__dict__.update(self.__dict__)
        other.search, other.running = pickle.loads(pickle.dumps(self.search)), dict(self.running)
        if file is not None:
            other.search.restore(file)
        return other


@pytest.fixture
def pipeline(tmp_path):
    return Pipeline(tmp_path / "run")


@pytest.fixture
def make(tmp_path):
    return lambda **arguments: Pipeline(tmp_path / "run", **arguments)


def holds(pipeline):
    found = verify_run(pipeline.path)
    assert found.holds, found.summary()
    return found


def test_results_are_recorded_at_once_and_make_updates(pipeline):
    for number in range(1, 12):
        pipeline.run(1)
        assert len(pipeline.rows) == number
    rows = pipeline.rows
    assert rows["update"].tolist() == [1] * 4 + [2] * 4 + [3] * 3
    assert rows["round"].tolist() == [0] * 4 + [1] * 4 + [2] * 3
    assert rows["complexity"].isna().tolist() == [True] * 4 + [False] * 7
    assert rows["trial_id"].tolist() == [f"t{number}" for number in range(11)]
    scale = load_run(pipeline.path).config["complexity"]["scale"]
    assert scale == rows["size"][:4].max()
    pipeline.search.best_configs()
    assert holds(pipeline).num_compared == 3  # the start and two updates


def test_a_result_is_on_disk_before_the_optimiser_is_told(pipeline, monkeypatch):
    seen = []
    pipeline.run(3)
    optimizer = pipeline.search._search.optimizer
    monkeypatch.setattr(optimizer, "tell", lambda *_: seen.append(len(pipeline.rows)))
    monkeypatch.setattr(type(optimizer), "num_told", property(lambda _: 0 if not seen else 4))
    pipeline.run(1)
    assert seen == [4]


def test_results_may_come_late_and_in_any_order(pipeline):
    rng = np.random.default_rng(0)
    for _ in range(60):
        while len(pipeline.running) < 7:
            pipeline.start()
        pipeline.end(rng.choice(sorted(pipeline.running)))
    assert pipeline.rows["id"].tolist() != sorted(pipeline.rows["id"])
    pipeline.search.best_configs()
    assert holds(pipeline).num_updates == 15


def test_configs_carry_the_constants_and_learning_moves_them(make):
    pipeline = make(coefficients=[0.0, 5.0], num_distributions=None)
    pipeline.run(400)
    best = pipeline.search.best_configs()
    assert best["mode_config"][0] == {"a": 3, "net": {"b": 0, "c": 4, "fixed": 7}}
    assert best["mode_config"][1] == {"a": 1, "net": {"b": 0, "c": 0, "fixed": 7}}
    assert best["config"].tolist() == best["mode_config"].tolist()
    assert best["size"].tolist() == [34.0, 10.0]
    assert best["coefficient"].tolist() == [0.0, 5.0]
    assert (best["num_evaluations"] == 400).all()


def test_max_mode_flips_the_sign_once(tmp_path):
    low = Pipeline(tmp_path / "low")
    high = Pipeline(tmp_path / "high", mode="max", metric="reward")
    for _ in range(60):
        low.run(1)
        trial = high.start()
        config = high.running[trial]
        high.end(trial, {"reward": -loss_of(config), "size": size_of(config)})
    assert np.array_equal(low.search._search.optimizer.probs, high.search._search.optimizer.probs)
    assert (low.search.best_configs()["loss"] == -high.search.best_configs()["reward"]).all()
    assert (low.search.pareto_front()["loss"] == -high.search.pareto_front()["reward"]).all()


@pytest.mark.parametrize(
    ("result", "error", "warning"),
    [
        (None, True, None),
        ({"loss": 0.5, "size": 3.0}, True, None),
        ({}, False, "Metric 'loss' is missing"),
        ({"size": 3.0}, False, "Metric 'loss' is missing"),
        ({"loss": math.nan, "size": 3.0}, False, "Metric 'loss' is nan"),
        ({"loss": math.inf, "size": 3.0}, False, "Metric 'loss' is inf"),
        ({"loss": -math.inf, "size": 3.0}, False, "Metric 'loss' is -inf"),
        ({"loss": "good", "size": 3.0}, False, "Metric 'loss' is good"),
        ({"loss": 0.5}, False, "Complexity 'size' is missing"),
        ({"loss": 0.5, "size": math.nan}, False, "Complexity 'size' is nan"),
        ({"loss": 0.5, "size": -1.0}, False, "Complexity 'size' is -1.0"),
        ({"loss": 0.5, "size": "big"}, False, "Complexity 'size' is missing"),
    ],
)
def test_failed_trials_rank_worst_and_warn_once(pipeline, caplog, result, error, warning):
    pipeline.run(5)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            pipeline.end(pipeline.start(), result, error)
    pipeline.run(1)
    assert pipeline.rows["loss"].tolist()[5:7] == [math.inf, math.inf]
    assert pipeline.rows["complexity"].isna().tolist()[5:7] == [True, True]
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("multinas_ray")]
    assert len(messages) == (warning is not None)
    assert all(warning in message for message in messages)
    pipeline.search.best_configs()
    assert holds(pipeline).num_updates == 2


def test_failures_alone_do_not_fix_the_scale(pipeline):
    for _ in range(9):
        pipeline.end(pipeline.start(), None, error=True)
    assert not pipeline.search._search.is_calibrated
    found = holds(pipeline)
    assert found.num_updates == 0
    assert any("9 results wait" in note for note in found.notes)
    with pytest.raises(StateError, match="no successful evaluation yet"):
        pipeline.search.best_configs()
    pipeline.run(1)
    assert pipeline.search._search.is_calibrated
    pipeline.search.best_configs()
    assert holds(pipeline).num_updates == 2


def test_a_trial_that_never_ran_is_forgotten(pipeline):
    pipeline.run(2)
    pipeline.end(pipeline.start(), None)
    assert len(pipeline.rows) == 2
    assert pipeline.search._search.live == {}
    assert len(pipeline.search._search.optimizer.pending()) == 2


def test_unknown_and_repeated_completions_are_ignored(pipeline, caplog):
    trial = pipeline.start()
    config = pipeline.end(trial)
    with caplog.at_level(logging.WARNING):
        pipeline.search.on_trial_complete(trial_id=trial, result=result_of(config))
        pipeline.search.on_trial_complete(trial_id="nobody", result=result_of(config))
        pipeline.search.on_trial_complete(trial_id="nobody", error=True)
    assert len(pipeline.rows) == 1
    assert sum("it is ignored" in record.getMessage() for record in caplog.records) == 1


def test_an_error_of_our_own_ends_the_search_and_raises_nothing(pipeline, monkeypatch, caplog):
    pipeline.run(2)
    trial = pipeline.start()

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(pipeline.search._search.record, "append", full)
    pipeline.search.on_trial_complete(trial_id=trial, result={"loss": 1.0, "size": 1.0})
    assert isinstance(pipeline.search.error, OSError)
    assert "The search stops: no space left" in caplog.text
    assert pipeline.search.suggest("next") == FINISHED
    pipeline.search.on_trial_complete(trial_id="other", result={"loss": 1.0, "size": 1.0})


def test_at_most_max_concurrent_trials_run(pipeline):
    assert pipeline.search.set_max_concurrency(3) is True
    trials = [pipeline.start() for _ in range(3)]
    assert pipeline.start() is None
    pipeline.end(trials[1])
    assert isinstance(pipeline.start(), str)
    assert pipeline.start() is None


def test_trials_that_ended_without_a_word_stop_nobody(pipeline, monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    pipeline.search.set_max_concurrency(2)
    trials = [pipeline.start(), pipeline.start()]
    for _ in range(50):  # Tune asks at this pace while trials run
        now[0] += 0.1
        assert pipeline.start() is None
    answers = []
    for _ in range(4):  # and at this one when none does
        now[0] += 1.0
        answers.append(pipeline.start())
    assert answers[:3] == [None, None, None]
    assert answers[3] in pipeline.running
    assert "ended without a word" in caplog.text
    pipeline.end(trials[0])  # a result is welcome all the same
    assert pipeline.rows["trial_id"].tolist() == [trials[0]]


def test_known_configs_are_not_run_again_until_all_are_known(make):
    pipeline = make(reuse_results=True, complexity=size_of, memory=0)
    configs = []
    while (trial := pipeline.start()) != FINISHED:
        configs.append(pipeline.end(trial))
    assert len(configs) == 18
    assert len({str(config) for config in configs}) == 18
    assert pipeline.start() == FINISHED
    rows = pipeline.rows
    assert len(rows) > 18
    repeats = rows[rows["reused_id"].notna()]
    original = rows.set_index("id").loc[repeats["reused_id"]]
    assert (repeats["loss"].to_numpy() == original["loss"].to_numpy()).all()
    assert repeats["architecture"].tolist() == original["architecture"].tolist()
    untold = rows[rows["id"] < 0]
    assert (untold[["source", "round", "drawn_at_update", "tell_order", "update"]] == -1).all(axis=None)
    assert (untold["log_q"] == 0).all()
    pipeline.search.best_configs()
    assert holds(pipeline).num_updates == (rows["tell_order"].max() + 1) // 4


def test_every_config_of_a_larger_space_is_run_once(make, monkeypatch):
    monkeypatch.setattr(trial_search, "MAX_KNOWN_DRAWS", 10)
    pipeline = make(space={f"v{d}": tune.choice([0, 1, 2]) for d in range(3)}, complexity="size", reuse_results=True)
    configs = []
    while (trial := pipeline.start()) != FINISHED:
        size = sum(pipeline.running[trial].values())
        configs.append(pipeline.end(trial, {"loss": (size - 3.5) ** 2, "size": size}))
    assert len(configs) == len({str(config) for config in configs}) == 27
    assert (pipeline.rows["id"] < 0).sum() >= 2  # taken since ten draws in a row were known
    holds(pipeline)


def test_a_config_whose_trial_never_ran_is_proposed_again(make):
    pipeline = make(space={"x": tune.choice([0, 1])}, complexity=sum_of, reuse_results=True)
    first, second = pipeline.start(), pipeline.start()
    config = pipeline.end(first, None)
    assert pipeline.running[pipeline.start()] == config
    assert config not in [pipeline.running[second]]


def test_a_draw_of_a_running_config_waits_for_its_result(make):
    pipeline = make(space={"x": tune.choice([0, 1])}, complexity=lambda config: config["x"], reuse_results=True)
    first, second = pipeline.start(), pipeline.start()
    assert pipeline.start() is None  # both configs are running
    pipeline.end(first, {"loss": 0.25})
    rows = pipeline.rows
    assert (rows["loss"] == 0.25).all()
    assert rows["reused_id"].isna().sum() == 1
    assert len(rows) > 10
    pipeline.end(second, {"loss": 0.75})
    assert pipeline.start() == FINISHED
    holds(pipeline)


def test_targets_bound_the_best_evaluated(make):
    pipeline = make(targets=[5.0, 12.0, 24.0], num_distributions=None)
    pipeline.run(200)
    best = pipeline.search.best_configs()
    assert best["target"].tolist() == [5.0, 12.0, 24.0]
    assert best["is_met"].tolist() == [False, True, True]
    assert best["config"][0] is None
    assert math.isnan(best["loss"][0])
    assert best["nearest_complexity"][0] == 10.0
    assert (best["size"][1:] <= best["target"][1:]).all()
    tried = pipeline.rows
    for row in (1, 2):
        assert best["loss"][row] == tried["loss"][tried["size"] <= best["target"][row]].min()
    assert len(load_run(pipeline.path).config["optimizer"]["coefficients"]) == 8


def test_best_configs_before_the_first_update(pipeline):
    pipeline.run(3)
    best = pipeline.search.best_configs()
    assert len(best) == 2
    assert best["mode_config"].tolist() == [None, None]
    assert best["loss"].min() == pipeline.rows["loss"].min()


def test_the_front_is_what_none_beats(pipeline):
    pipeline.run(100)
    front, tried = pipeline.search.pareto_front(), pipeline.rows
    assert front["size"].is_monotonic_increasing
    for loss, size in zip(tried["loss"], tried["size"], strict=True):
        assert ((front["loss"] <= loss) & (front["size"] <= size)).any()
    for loss, size in zip(front["loss"], front["size"], strict=True):
        assert not ((tried["loss"] < loss) & (tried["size"] <= size)).any()


def test_points_are_run_first_and_enter_no_update(make):
    points = [{"a": 2, "net": {"b": 1, "c": 4}}, {"a": 1, "net/b": 0, "net/c": 0}]
    pipeline = make(points_to_evaluate=points)
    configs = pipeline.run(6)
    assert configs[0] == {"a": 2, "net": {"b": 1, "c": 4, "fixed": 7}}
    assert configs[1] == {"a": 1, "net": {"b": 0, "c": 0, "fixed": 7}}
    rows = pipeline.rows
    assert rows["id"].tolist() == [-1, -2, 0, 1, 2, 3]
    assert rows["tell_order"].tolist() == [-1, -1, 0, 1, 2, 3]
    pipeline.search.best_configs()
    assert holds(pipeline).num_updates == 1


def test_known_points_are_not_run(make):
    points = [{"a": 3, "net": {"b": 0, "c": 4}}]
    pipeline = make(points_to_evaluate=points, evaluated_rewards=[-5.0], evaluated_complexities=[34.0])
    pipeline.run(5)
    assert pipeline.rows["id"].tolist() == [-1, 0, 1, 2, 3, 4]
    assert pipeline.search.best_configs()["loss"][0] == -5.0
    holds(pipeline)


def test_known_points_of_a_maximised_metric_and_a_function(make):
    points = [{"a": 3, "net": {"b": 0, "c": 4}}]
    pipeline = make(points_to_evaluate=points, evaluated_rewards=[5.0], complexity=size_of, mode="max", metric="r")
    pipeline.end(pipeline.start(), {"r": 1.0})
    assert pipeline.rows["loss"].tolist() == [-5.0, -1.0]
    assert pipeline.rows["raw_complexity"][0] == 34.0
    assert pipeline.search.pareto_front()["r"].max() == 5.0


def test_further_complexities_are_recorded(make):
    pipeline = make(recorded_complexities={"depth": lambda config: config["a"], "ms": "latency"})
    config = pipeline.end(pipeline.start(), {"loss": 1.0, "size": 2.0, "latency": 0.5})
    row = pipeline.rows.iloc[0]
    assert (row["size"], row["depth"], row["ms"]) == (2.0, config["a"], 0.5)


def test_an_additive_function_makes_expectations_exact_and_fixes_the_scale(make):
    pipeline = make(complexity=size_of, coefficients=[0.1, 1.0], num_distributions=None)
    pipeline.start()
    config = load_run(pipeline.path).config
    assert config["complexity"]["scale"] == 34.0
    assert np.allclose(config["optimizer"]["base_cost"], 10 / 34)
    pipeline.end("t0", {"loss": 1.0})
    pipeline.run(8)
    assert not pipeline.rows["complexity"].isna().any()
    holds(pipeline)


def test_a_function_that_raises_later_fails_the_trial(make, caplog):
    calls = count()

    def fickle(config):
        if next(calls) > 400:
            raise RuntimeError("no more")
        return config["a"] * config["net"]["c"]

    pipeline = make(complexity=fickle)
    pipeline.run(1)
    while next(calls) <= 400:
        pass
    pipeline.run(1)
    assert pipeline.rows["loss"].iloc[-1] == math.inf
    assert "A complexity function raised" in caplog.text


def test_a_restored_search_goes_on_where_the_record_ends(make, tmp_path):
    pipeline = make()
    for _ in range(3):
        pipeline.start()
    pipeline.run(9)
    file = str(tmp_path / "state.json")
    pipeline.search.save(file)
    pipeline.run(6)  # after the snapshot
    pipeline.end("t0")
    lost = pipeline.start()
    again = pipeline.taken_up(file)
    search = again.search
    assert sorted(search.suggest("new") or {}) == ["a", "net"]
    assert sorted(search._search.live) == ["new", "t1", "t2"]
    search.on_trial_complete("t0", result={"loss": 9.0, "size": 1.0})  # Tune replays it
    search.on_trial_complete(lost, result={"loss": 9.0, "size": 1.0})  # Tune knows it no more, nor do we
    assert len(again.rows) == 16
    again.end("t1")
    again.run(8)
    assert len(again.rows) == 25
    assert again.rows["id"].is_unique
    search.best_configs()
    found = holds(again)
    assert found.num_updates == 6
    assert found.num_compared == 7
    assert load_run(again.path).config["restarts"] == 1


def test_a_restored_search_learns_what_an_unbroken_one_knows(make, tmp_path):
    pipeline = make()
    pipeline.run(10)
    file = str(tmp_path / "state.json")
    pipeline.search.save(file)
    pipeline.run(11)
    again = pipeline.taken_up(file)
    again.start()
    pipeline.search._search.record.flush()
    assert np.array_equal(again.search._search.optimizer.probs, pipeline.search._search.optimizer.probs)


@pytest.mark.parametrize("with_snapshot", [True, False])
@pytest.mark.parametrize("num_before", [0, 3, 5])
def test_a_search_is_restored_before_and_after_its_scale_is_known(make, tmp_path, with_snapshot, num_before):
    pipeline = make(samples_per_update=4)
    pipeline.start()
    pipeline.run(2)
    file = str(tmp_path / "state.json")
    pipeline.search.save(file)
    pipeline.run(num_before)
    again = pipeline.taken_up(file if with_snapshot else None)
    if with_snapshot:
        again.end("t0")
    again.run(12)
    assert len(again.rows) == 2 + num_before + with_snapshot + 12
    again.search.best_configs()
    holds(again)


def test_draws_after_a_restart_are_new_ones(make, tmp_path):
    pipeline = make(space={f"v{d}": tune.randint(0, 9) for d in range(9)})
    pipeline.search.save(str(tmp_path / "empty"))
    first = pipeline.running[pipeline.start()]
    again = pipeline.taken_up()
    assert again.search.suggest("x") != first
    twice = again.taken_up()
    assert twice.search.suggest("y") not in (first, again.search._search.space.decode((0,) * 9))


def test_draws_after_a_snapshot_are_not_drawn_again(make, tmp_path):
    pipeline = make(space={f"v{d}": tune.randint(0, 9) for d in range(9)}, samples_per_update=8)
    for _ in range(9):
        pipeline.end(pipeline.start(), {"loss": 1.0, "size": 1.0})
    file = str(tmp_path / "state.json")
    pipeline.search.save(file)
    drawn_later = [pipeline.running[pipeline.start()] for _ in range(10)]
    again = pipeline.taken_up(file)
    assert not any(again.running[again.start()] in drawn_later for _ in range(10))


def test_unseen_configs_get_new_ids_after_a_restart(make, tmp_path, monkeypatch):
    monkeypatch.setattr(trial_search, "MAX_KNOWN_DRAWS", 10)
    space = {f"v{d}": tune.choice([0, 1, 2]) for d in range(3)}
    pipeline = make(space=space, complexity=sum_of, reuse_results=True)

    def run(pipeline, is_enough):
        while not is_enough(pipeline) and (trial := pipeline.start()) != FINISHED:
            pipeline.end(trial, {"loss": (sum_of(pipeline.running[trial]) - 3.5) ** 2})

    run(pipeline, lambda each: each.search._search is not None and each.search._search._next_untold < -1)
    again = pipeline.restored(tmp_path)
    run(again, lambda _: False)
    assert (again.rows["id"] < 0).sum() >= 2
    holds(again)


def test_points_not_run_yet_are_run_after_a_restart(make, tmp_path):
    points = [{"a": a, "net": {"b": 1, "c": 4}} for a in (1, 2, 3)]
    pipeline = make(points_to_evaluate=points)
    pipeline.run(1)
    pipeline.start()
    again = pipeline.restored(tmp_path)
    assert again.running[again.start()]["a"] == 3
    again.end("t1")
    again.run(3)
    assert again.rows["id"].tolist()[:2] == [-1, -2]


def test_a_restored_search_keeps_its_limit_and_its_known_results(make, tmp_path):
    pipeline = make(reuse_results=True, complexity=size_of)
    pipeline.search.set_max_concurrency(2)
    seen = pipeline.run(10)
    again = pipeline.restored(tmp_path)
    assert [again.start() for _ in range(3)][2] is None
    for trial in list(again.running):
        seen.append(again.end(trial))
    while (trial := again.start()) != FINISHED:
        seen.append(again.end(trial))
    assert len(seen) == len({str(config) for config in seen}) == 18
    holds(again)


def test_a_restore_needs_no_second_search_space_but_takes_the_same(make, tmp_path):
    pipeline = make(space={**SPACE, "build": loss_of})
    pipeline.run(2)
    again = pipeline.restored(tmp_path)
    with pytest.raises(StateError, match=r"give the same param_space to Tuner\.restore"):
        again.search.suggest("x")
    again = pipeline.restored(tmp_path)
    assert again.search.set_search_properties("loss", "min", {**SPACE, "build": loss_of})
    assert again.search.suggest("x")["build"] is loss_of
    again = pipeline.restored(tmp_path)
    again.search.set_search_properties("loss", "min", {**SPACE, "build": loss_of, "more": tune.choice([1, 2])})
    with pytest.raises(StateError, match="param_space differs"):
        again.search.suggest("x")


def test_tuner_pkl_holds_the_arguments_only(pipeline):
    before = len(pickle.dumps(pipeline.search))
    pipeline.run(20)
    assert len(pickle.dumps(pipeline.search)) == before
    assert pipeline.taken_up().search.record_path == pipeline.path


def test_a_searcher_or_record_is_not_used_twice(make, pipeline, tmp_path):
    pipeline.run(1)
    with pytest.raises(ConfigError, match="record of an earlier search"):
        pipeline.search.set_search_properties("loss", "min", SPACE)
    with pytest.raises(ConfigError, match="record of an earlier search"):
        make()
    other = MultiNASSearch(complexity="size", space=SPACE, metric="loss", mode="min", record_path=pipeline.path)
    with pytest.raises(ConfigError, match="record of an earlier search"):
        other.suggest("x")


def test_other_settings_do_not_take_a_record_up(make, tmp_path):
    pipeline = make()
    pipeline.run(1)
    pipeline.search.save(str(tmp_path / "state"))
    other = MultiNASSearch(complexity="size", num_distributions=4, record_path=str(tmp_path / "other"))
    other.restore(str(tmp_path / "state"))
    with pytest.raises(StateError, match=r"num_distributions was 2, is 4"):
        other.suggest("x")


def test_a_damaged_state_is_refused(pipeline, tmp_path):
    (tmp_path / "state").write_text("{}")
    with pytest.raises(StateError, match="no state of MultiNASSearch"):
        pipeline.search.restore(str(tmp_path / "state"))


BAD = [
    ({"coefficients": [0, 1], "targets": [1.0]}, "keep one"),
    ({"coefficients": [1, 0]}, "strictly increasing"),
    ({"targets": [3.0, 2.0]}, "increasing order"),
    ({"targets": []}, "increasing order"),
    ({"num_distributions": 0}, "whole number from 1"),
    ({"num_distributions": 3, "samples_per_update": 4}, "multiple"),
    ({"mode": "maximum"}, '"min" or "max"'),
    ({"evaluated_rewards": [1.0]}, "needs points_to_evaluate"),
    ({"seed": -1}, "seed"),
    ({"space": {"x": tune.uniform(0, 1)}}, "continuous"),
]


@pytest.mark.parametrize(("arguments", "problem"), BAD)
def test_bad_arguments_are_refused(arguments, problem):
    with pytest.raises(ConfigError, match=problem):
        MultiNASSearch(complexity="size", **arguments)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"points_to_evaluate": [{"a": 9, "net": {"b": 0, "c": 0}}]}, "9 is no choice"),
        ({"points_to_evaluate": [{"a": 1, "net/b": 0, "net/c": 0}], "evaluated_rewards": [1, 2]}, "got 2 for 1"),
        (
            {"points_to_evaluate": [{"a": 1, "net/b": 0, "net/c": 0}], "evaluated_rewards": [1]},
            "evaluated_complexities",
        ),
    ],
)
def test_bad_points_are_refused_before_the_run(make, arguments, problem):
    with pytest.raises(ConfigError, match=problem):
        make(**arguments)


def test_seed_0_is_a_seed_and_none_is_drawn_and_kept(tmp_path):
    runs = [Pipeline(tmp_path / str(number), seed=0) for number in range(2)]
    assert runs[0].run(20) == runs[1].run(20)
    free = [MultiNASSearch(complexity="size") for _ in range(2)]
    assert free[0]._seed != free[1]._seed
    assert free[0].record_path != free[1].record_path
    assert pickle.loads(pickle.dumps(free[0]))._seed == free[0]._seed


def test_space_metric_and_mode_may_come_from_the_constructor_or_be_missing(tmp_path):
    def make(**arguments):
        return MultiNASSearch(complexity="size", record_path=str(tmp_path / "run"), **arguments)

    with pytest.raises(ConfigError, match="no search space"):
        make(metric="loss", mode="min").suggest("x")
    with pytest.raises(ConfigError, match="mode is not set"):
        make(space=SPACE).suggest("x")
    search = make(space=SPACE, metric="loss", mode="min")
    assert search.set_search_properties(None, None, {"lr": 0.1})
    assert search.metric == "loss"
    assert not search.set_search_properties(None, None, {"lr": tune.choice([1, 2])})
    assert isinstance(search.suggest("x"), dict)


def test_limiter_and_repeater(tmp_path, caplog):
    limited = ConcurrencyLimiter(MultiNASSearch(complexity="size", record_path=str(tmp_path / "l")), max_concurrent=2)
    limited.set_search_properties("loss", "min", SPACE)
    assert [limited.suggest(str(number)) is None for number in range(3)] == [False, False, True]
    inner = MultiNASSearch(complexity="size", record_path=str(tmp_path / "r"))
    repeated = Repeater(inner, repeat=2)
    repeated.set_search_properties("loss", "min", SPACE)
    for trial in ("a", "b"):
        repeated.on_trial_complete(trial, result=result_of(repeated.suggest(trial)))
    assert "A Repeater passes on the metric only: give the complexity as a function" in caplog.text
    inner = MultiNASSearch(complexity=size_of, record_path=str(tmp_path / "f"))
    repeated = Repeater(inner, repeat=2)
    repeated.set_search_properties("loss", "min", SPACE)
    configs = [repeated.suggest(trial) for trial in ("a", "b")]
    assert configs[0]["a"] == configs[1]["a"]
    repeated.on_trial_complete("a", result={"loss": 1.0})
    repeated.on_trial_complete("b", result={"loss": 3.0})
    assert load_run(str(tmp_path / "f")).evaluations["loss"].tolist() == [2.0]


def test_a_screened_search_runs_each_config_once_and_its_record_holds(make, tmp_path):
    pipeline = make(screened=True, complexity=size_of, num_distributions=2, samples_per_update=4)
    configs = pipeline.run(12)
    assert pipeline.search._search.optimizer.num_told == 12
    configs += pipeline.run(1)
    assert pipeline.search._search.optimizer.num_told == 13  # at once: it decides what comes next
    again = pipeline.restored(tmp_path)
    while (trial := again.start()) != FINISHED:
        configs.append(again.end(trial))
    assert len(configs) == len({str(config) for config in configs}) == 18
    again.search.best_configs()
    assert holds(again).num_updates >= 4
    assert load_run(again.path).config["optimizer"]["screened"] is True
