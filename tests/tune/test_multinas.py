"""MultiNASSearch driven by hand: what it proposes, takes in and refuses."""

import logging
import math
import pickle
import time
from itertools import count

import numpy as np
import pytest
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Repeater

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import load_run
from multinas_ray.tune import MultiNASSearch
from tests.support.narrow import present
from tests.support.pipeline import SPACE, Pipeline, holds, loss_of, result_of, size_of


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
    assert holds(pipeline).num_compared == 2


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
    assert best["mode_config"][1] == {"a": 3, "net": {"b": 0, "c": 4, "fixed": 7}}
    assert best["mode_config"][0] == {"a": 1, "net": {"b": 0, "c": 0, "fixed": 7}}
    assert best["config"].tolist() == best["mode_config"].tolist()
    assert best["size"].tolist() == [10.0, 34.0]
    assert best["coefficient"].tolist() == [5.0, 0.0]
    assert (best["num_evaluations"] == 400).all()


def test_max_mode_flips_the_sign_once(tmp_path):
    low = Pipeline(tmp_path / "low")
    high = Pipeline(tmp_path / "high", mode="max", metric="reward")
    for _ in range(60):
        low.run(1)
        trial = high.start()
        config = high.running[trial]
        high.end(trial, {"reward": -loss_of(config), "size": size_of(config)})
    low_probs, high_probs = (present(pipeline.search._search).optimizer.probs for pipeline in (low, high))
    assert np.array_equal(low_probs, high_probs)
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
        ({"loss": 0.5}, False, "Complexity 'size' must be a finite number of at least 0, it is missing"),
        ({"loss": 0.5, "size": math.nan}, False, "Complexity 'size' must be a finite number of at least 0, it is nan"),
        ({"loss": 0.5, "size": -1.0}, False, "Complexity 'size' must be a finite number of at least 0, it is -1.0"),
        ({"loss": 0.5, "size": "big"}, False, "Complexity 'size' must be a finite number of at least 0, it is missing"),
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


def test_an_error_of_our_own_reaches_tune_once_for_each_result_and_at_the_next_suggestion(
    pipeline, monkeypatch, caplog
):
    pipeline.run(2)
    trial = pipeline.start()

    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(pipeline.search._search.record, "append", full)
    for lost in (trial, "other"):
        with pytest.raises(OSError, match="no space left"):
            pipeline.search.on_trial_complete(trial_id=lost, result={"loss": 1.0, "size": 1.0})
        pipeline.search.on_trial_complete(trial_id=lost, error=True)  # as Tune does then
        pipeline.search.on_trial_complete(trial_id=lost, result={"loss": 1.0, "size": 1.0})  # retried
    assert isinstance(pipeline.search.error, OSError)
    assert caplog.text.count("The search stops: no space left") == 1
    with pytest.raises(OSError, match="no space left"):
        pipeline.search.suggest("next")


def test_at_most_max_concurrent_trials_run(pipeline):
    assert pipeline.search.set_max_concurrency(3) is True
    trials = [pipeline.start() for _ in range(3)]
    assert pipeline.start() is None
    pipeline.end(trials[1])
    assert isinstance(pipeline.start(), str)
    assert pipeline.start() is None


def test_trials_that_ended_without_a_word_stop_nobody(pipeline, monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
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
    assert "whose end was not reported" in caplog.text
    pipeline.end(trials[0])  # a result is welcome all the same
    assert pipeline.rows["trial_id"].tolist() == [trials[0]]


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


BAD = [
    ({"coefficients": [0, 1], "targets": [1.0]}, "keep one"),
    ({"coefficients": [1, 0]}, "strictly increasing"),
    ({"targets": [3.0, 2.0]}, "increasing order"),
    ({"targets": []}, "targets must have at least 1 items or must be a mapping or None"),
    ({"num_distributions": 0}, "num_distributions must be at least 1 or None, got 0"),
    ({"num_distributions": 3, "samples_per_update": 4}, "multiple"),
    ({"mode": "maximum"}, r"^MultiNASSearch: mode must be one of min, max or must be a list or None, got 'maximum'$"),
    ({"num_distributions": 2.5}, r"^MultiNASSearch: num_distributions must be a whole number or None, got 2\.5$"),
    ({"reuse_results": "no"}, "reuse_results must be True or False, got 'no'"),
    ({"coefficients": [0, "1"]}, r"coefficients\[1\] must be a number, got '1'"),
    ({"margin_scale": math.nan}, "margin_scale must be finite, got nan"),
    ({"metric": 3}, "metric must be text or must be a list or None, got 3"),
    ({"space": [1]}, "space must be a mapping or None, got \\[1\\]"),
    ({"points_to_evaluate": 3}, "points_to_evaluate must be a list or None, got 3"),
    ({"evaluated_rewards": ["a"], "points_to_evaluate": [{}]}, r"evaluated_rewards\[0\] must be a number, got 'a'"),
    ({"record_path": 3}, "record_path must be text or None, got 3"),
    ({"complexities": 3}, "complexities is unknown; is complexity meant"),
    ({"evaluated_rewards": [1.0]}, "give points_to_evaluate"),
    ({"seed": -1}, "seed must be at least 0 or None, got -1"),
    ({"optimizer": "asng"}, "no kind of optimiser is registered by the name 'asng'"),
    ({"optimizer_options": {"alpha": 0}}, "alpha must be positive, got 0"),
    ({"optimizer_options": {"memory": 2}}, "must be settings that only the optimiser has, got memory: set them as"),
    ({"space": {"x": {"eval": "spec.config.y"}}}, "x must be a domain that Tune documents"),
]


@pytest.mark.parametrize(("arguments", "problem"), BAD)
def test_bad_arguments_are_refused(arguments, problem):
    with pytest.raises(ConfigError, match=problem):
        MultiNASSearch(complexity="size", **arguments)


def test_seed_0_is_a_seed_and_none_is_drawn_and_kept(tmp_path):
    runs = [Pipeline(tmp_path / str(number), seed=0) for number in range(2)]
    assert runs[0].run(20) == runs[1].run(20)
    free = [MultiNASSearch(complexity="size") for _ in range(2)]
    assert free[0]._settings.seed != free[1]._settings.seed
    assert free[0]._place.search_id != free[1]._place.search_id
    assert pickle.loads(pickle.dumps(free[0]))._settings.seed == free[0]._settings.seed


def test_space_metric_and_mode_may_come_from_the_constructor_or_be_missing(tmp_path):
    def make(**arguments):
        return MultiNASSearch(complexity="size", record_path=str(tmp_path / "run"), **arguments)

    with pytest.raises(ConfigError, match="must have a search space"):
        make(metric="loss", mode="min").suggest("x")
    with pytest.raises(ConfigError, match="metric and mode must be set"):
        make(space=SPACE).suggest("x")
    search = make(space=SPACE, metric="loss", mode="min")
    assert search.set_search_properties(None, None, {"lr": 0.1})
    assert search.metric == "loss"
    assert not search.set_search_properties(None, None, {"lr": tune.choice([1, 2])})
    assert isinstance(search.suggest("x"), dict)


def batches_of(tmp_path, size):
    search = MultiNASSearch(complexity="size", record_path=str(tmp_path / "run"))
    limiter = ConcurrencyLimiter(search, max_concurrent=size, batch=True)
    assert limiter.set_search_properties("loss", "min", SPACE)
    return search, limiter


def test_a_limiter_batches(tmp_path):
    search, limiter = batches_of(tmp_path, 3)
    for batch in range(2):
        trials = [f"{batch}{place}" for place in range(3)]
        configs = {trial: present(limiter.suggest(trial)) for trial in trials}
        assert limiter.suggest("early") is None
        for trial in trials[1:]:
            limiter.on_trial_complete(trial, result=result_of(configs[trial]))
            assert limiter.suggest("early") is None
            assert sorted(present(search._search).live) == trials
        limiter.on_trial_complete(trials[0], error=True)
        assert present(search._search).live == {}
    assert len(load_run(search.record_path).evaluations) == 6


def test_an_error_of_our_own_passes_a_limiter_that_batches(tmp_path, monkeypatch):
    search, limiter = batches_of(tmp_path, 2)
    configs = {trial: present(limiter.suggest(trial)) for trial in "ab"}
    monkeypatch.setattr(present(search._search).record, "append", lambda *_, **__: 1 / 0)
    limiter.on_trial_complete("a", result=result_of(configs["a"]))
    with pytest.raises(ZeroDivisionError):
        limiter.on_trial_complete("b", result=result_of(configs["b"]))
    limiter.on_trial_complete("b", error=True)  # as Tune does then
    with pytest.raises(ZeroDivisionError):
        limiter.suggest("next")


def test_limiter_and_repeater(tmp_path, caplog):
    limited = ConcurrencyLimiter(MultiNASSearch(complexity="size", record_path=str(tmp_path / "l")), max_concurrent=2)
    limited.set_search_properties("loss", "min", SPACE)
    assert [limited.suggest(str(number)) is None for number in range(3)] == [False, False, True]
    inner = MultiNASSearch(complexity="size", record_path=str(tmp_path / "r"))
    repeated = Repeater(inner, repeat=2)
    repeated.set_search_properties("loss", "min", SPACE)
    for trial in ("a", "b"):
        repeated.on_trial_complete(trial, result=result_of(repeated.suggest(trial)))
    assert "With a Repeater, which passes on the metric only, give the complexity as a function" in caplog.text
    inner = MultiNASSearch(complexity=size_of, record_path=str(tmp_path / "f"))
    repeated = Repeater(inner, repeat=2)
    repeated.set_search_properties("loss", "min", SPACE)
    configs = [present(repeated.suggest(trial)) for trial in ("a", "b")]
    assert configs[0]["a"] == configs[1]["a"]
    repeated.on_trial_complete("a", result={"loss": 1.0})
    repeated.on_trial_complete("b", result={"loss": 3.0})
    assert load_run(str(tmp_path / "f")).evaluations["loss"].tolist() == [2.0]
