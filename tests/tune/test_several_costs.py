"""A loss and several costs: targets of each, the front in all of them, and lists of metrics as of OptunaSearch."""

import moocore
import numpy as np
import pytest
from ray import tune

from multinas_ray.errors import ConfigError
from multinas_ray.runs import load_run, spread_subset
from multinas_ray.tune import MultiNASSearch
from tests.support.pipeline import Pipeline, holds

SPACE = {"a": tune.choice([1, 2, 3, 4]), "b": tune.choice([1, 2, 3, 4]), "c": tune.choice([0.0, 0.1, 0.2])}


def width(config):
    return 10.0 * config["b"]


def result(config):
    return {"loss": 1 / config["a"] + 1 / config["b"] + config["c"], "ms": float(config["a"]), "width": width(config)}


def run(pipeline, num_trials):
    for _ in range(num_trials):
        trial = pipeline.start()
        pipeline.end(trial, result(pipeline.running[trial]))
    return pipeline


def made(tmp_path, **arguments):
    return Pipeline(tmp_path / "run", space=SPACE, **{"complexity": None, "num_distributions": None, **arguments})


def test_each_answer_keeps_all_targets(tmp_path):
    pipeline = run(made(tmp_path, targets={"ms": [0.5, 1.0, 3.0, 4.0], "width": [40.0, 40.0, 40.0, 40.0]}), 150)
    best, tried = pipeline.search.best_configs(), pipeline.rows
    assert best["is_met"].tolist() == [False, True, True, True]
    assert best[["target_ms", "target_width"]].to_numpy().tolist() == [[0.5, 40], [1, 40], [3, 40], [4, 40]]
    for _, row in best[1:].iterrows():
        fits = tried[(tried["ms"] <= row["target_ms"]) & (tried["width"] <= row["target_width"])]
        assert row["loss"] == fits["loss"].min()
        assert row["ms"] <= row["target_ms"]
    assert best["nearest_complexity"][0] == 2.0
    assert best["ms"].isna().tolist() == [True, False, False, False]
    config = load_run(pipeline.path).config
    assert config["complexity"] == {"name": "ms", "label": "ms", "scale": 4.0, "scales": {"ms": 4.0, "width": 40.0}}
    expected = np.maximum(tried["ms"] / 4, tried["width"] / 40)
    assert np.allclose(load_run(pipeline.path).complexities, expected)
    assert holds(pipeline).num_updates == 9


@pytest.mark.parametrize("function", [False, True])
def test_the_answers_and_the_front_are_in_all_costs(tmp_path, function):
    costs = {"ms": "ms", "wide": width} if function else ["ms", "width"]
    pipeline = run(made(tmp_path, complexity=costs, num_distributions=4), 120)
    wide = "wide" if function else "width"
    front, tried = pipeline.search.pareto_front(), pipeline.rows[["loss", "ms", wide]].to_numpy()
    points = front[["loss", "ms", wide]].to_numpy()
    assert {tuple(point) for point in points} == {tuple(point) for point in tried[moocore.is_nondominated(tried)]}
    best = pipeline.search.best_configs()
    assert len(best) == 4
    assert {tuple(row) for row in best[["loss", "ms", wide]].to_numpy()} <= {tuple(point) for point in points}
    scales = load_run(pipeline.path).config["complexity"]["scales"]
    sizes = np.maximum(best["ms"] / scales["ms"], best[wide] / scales[wide])
    assert (np.diff(sizes) >= 0).all()
    assert scales[wide] == 40.0
    holds(pipeline)


def test_the_complexity_is_learned_by_as_one_number(tmp_path):
    """So the law of the core stays: the same search as with the largest quotient as a function."""
    pipeline = run(made(tmp_path / "several", targets={"ms": [4.0], "width": [40.0]}, coefficients=None), 80)
    coefficients = load_run(pipeline.path).config["optimizer"]["coefficients"]
    largest = made(
        tmp_path / "one", complexity=lambda config: max(config["a"] / 4, config["b"] / 4), num_distributions=8
    )
    run(largest, 80)
    assert load_run(largest.path).config["optimizer"]["coefficients"] == pytest.approx(coefficients)
    assert np.allclose(largest.search._search.optimizer.probs, pipeline.search._search.optimizer.probs)


def test_lists_of_metrics_are_a_loss_and_costs(tmp_path):
    search = MultiNASSearch(
        metric=["loss", "ms", "width"], mode=["min", "min", "min"], space=SPACE, record_path=str(tmp_path / "run")
    )
    assert (search.metric, search.mode) == ("loss", "min")
    for number in range(40):
        search.on_trial_complete(f"t{number}", result=result(search.suggest(f"t{number}")))
    assert list(search.pareto_front().columns) == ["config", "loss", "ms", "width", "evaluation_id", "trial_id"]
    assert len(MultiNASSearch(metric=["loss", "ms"], mode="min")._settings.complexities.names) == 1


def test_a_resumed_search_and_results_from_outside_have_all_costs(tmp_path):
    pipeline = run(made(tmp_path, complexity=["ms", "width"]), 3)
    point = {"a": 1, "b": 1, "c": 0.0}
    pipeline.search.add_evaluated_point(point, -1.0, complexity={"ms": 0.1, "width": 0.2})
    for given in (None, 1.0, {"ms": 1.0}):
        with pytest.raises(ConfigError, match=r"complexity '\w+' of results that are not run must be known"):
            pipeline.search.add_evaluated_point(point, -1.0, complexity=given)
    again = run(pipeline.restored(tmp_path), 20)
    front = again.search.pareto_front()
    assert front[["loss", "ms", "width"]].to_numpy().tolist() == [[-1.0, 0.1, 0.2]]
    holds(again)


@pytest.mark.parametrize("missing", ["ms", "width"])
def test_a_result_without_one_of_the_costs_is_failed(tmp_path, missing):
    pipeline = made(tmp_path, complexity=["ms", "width"])
    trial = pipeline.start()
    told = result(pipeline.running[trial])
    del told[missing]
    pipeline.end(trial, told)
    assert pipeline.rows["loss"].tolist() == [float("inf")]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "complexity must be given"),
        ({"complexity": ["ms", "width"], "targets": [1.0]}, r"give a dict, such as {'ms': \[1.0\]}"),
        ({"complexity": "ms", "targets": {"width": [1.0]}}, "'width' is none: use .*ms"),
        (
            {"targets": {"ms": [1.0, 2.0], "width": [1.0]}},
            "one number of each cost for each answer, got .* add the missing",
        ),
        ({"targets": {"ms": [2.0, 1.0]}}, "targets of ms must not fall"),
        ({"metric": ["loss", "ms"], "mode": ["min", "max"]}, 'the mode of a cost must be "min"'),
        ({"metric": ["loss", "ms"], "mode": ["min"]}, "lists of one length"),
        ({"metric": ["loss", "ms"], "complexity": "ms"}, "costs must be given once"),
        ({"metric": "loss", "mode": ["min", "min"], "complexity": "ms"}, "mode must be a list only if metric is one"),
    ],
)
def test_costs_that_do_not_fit_are_refused(arguments, problem):
    with pytest.raises(ConfigError, match=problem):
        MultiNASSearch(**arguments)


def test_a_spread_subset_dominates_nearly_the_most():
    rng = np.random.default_rng(0)
    points, reference = rng.random((30, 3)), np.ones(3)
    chosen = spread_subset(points, 5, reference)
    best = max(moocore.hypervolume(points[rng.choice(30, 5, replace=False)], ref=reference) for _ in range(2000))
    assert len(set(chosen.tolist())) == 5
    assert moocore.hypervolume(points[chosen], ref=reference) >= 0.98 * best
    assert len(spread_subset(points, 99, reference)) == moocore.is_nondominated(points).sum()
    assert spread_subset(points + 1, 5, reference).tolist() == []


@pytest.mark.parametrize(("points", "reference"), [((0,), (2,)), ((4, 2), (3,)), ((4, 1), (1,)), ((4, 2, 1), (2, 1))])
def test_a_spread_subset_needs_points_with_costs(points, reference):
    with pytest.raises(ConfigError, match=r"points must be \(n, J \+ 1\)"):
        spread_subset(np.ones(points), 2, np.ones(reference))
