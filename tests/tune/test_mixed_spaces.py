"""Searches over numbers, conditional parts and values that are drawn: records, restores and answers."""

import json
import math
import time

import numpy as np
import pytest
from ray import tune
from ray.tune.experiment import Trial

from multinas_ray.errors import ConfigError
from multinas_ray.runs import load_run
from tests.support.narrow import present
from tests.support.pipeline import Pipeline, holds, sum_of


def space():
    return {
        "lr": tune.loguniform(1e-4, 1e-1),
        "width": tune.lograndint(8, 512),
        "depth": tune.randint(1, 4),
        "opt": tune.choice([{"name": "sgd", "momentum": tune.quniform(0, 0.95, 0.05)}, {"name": "adam"}]),
        "seed": tune.sample_from(lambda config: np.int64(config["width"] % 7)),
        "epochs": 3,
    }


def result(config):
    assert config["seed"] == config["width"] % 7
    assert config["epochs"] == 3
    size = config["depth"] * config["width"]
    loss = (math.log10(config["lr"]) + 2) ** 2 + 1 / size + 0.2 * (config["opt"]["name"] == "adam")
    loss += abs(config["opt"].get("momentum", 0.0) - 0.5)
    return {"loss": loss, "size": float(size), "config/seed": config["seed"]}


def run(pipeline, num_trials):
    for _ in range(num_trials):
        trial = pipeline.start()
        pipeline.end(trial, result(pipeline.running[trial]))
    return pipeline


@pytest.mark.parametrize("options", [{}, {"reuse_results": True}, {"optimizer": "screened"}])
def test_a_mixed_space_is_searched_recorded_and_resumed(make, tmp_path, options):
    pipeline = run(make(space=space(), num_distributions=None, coefficients=[0.0, 1.0], **options), 60)
    trial = pipeline.start()
    again = pipeline.restored(tmp_path)
    assert again.search.set_search_properties("loss", "min", space())  # which has the functions of sample_from
    again.end(trial, result(pipeline.running[trial]))
    found = holds(run(again, 10))
    rows, best = pipeline.rows, pipeline.search.best_configs()
    ((_, answer),) = best[best["coefficient"] == 0.0].iterrows()
    assert found.num_updates >= 10
    assert answer["config"]["opt"]["name"] == "sgd"
    assert answer["config"]["seed"] == answer["config"]["width"] % 7
    assert answer["loss"] < rows["loss"].median() / 3
    assert all(("momentum" in config["opt"]) == (config["opt"]["name"] == "sgd") for config in best["mode_config"])
    assert json.loads(rows["drawn"][0]).keys() == {"seed"}


def test_the_same_seed_gives_the_same_search(tmp_path):
    rows = [run(Pipeline(tmp_path / name, space=space(), seed=0), 30).rows for name in ("a", "b")]
    assert rows[0]["architecture"].tolist() == rows[1]["architecture"].tolist()
    assert rows[0]["log_q"].tolist() == rows[1]["log_q"].tolist()


def test_points_results_and_a_complexity_of_the_config(make):
    points = [{"lr": 3e-4, "width": 100, "depth": 2, "opt": {"name": "adam"}}]
    pipeline = make(
        space=space(),
        complexity=lambda config: config["depth"] * config["width"],
        points_to_evaluate=points,
        reuse_results=True,
    )
    config = pipeline.running[pipeline.start()]
    assert {name: config[name] for name in points[0]} == points[0]
    pipeline.search.add_evaluated_point({**points[0], "lr": 0.01, "opt": {"name": "sgd", "momentum": 0.5}}, 0.001)
    row = pipeline.search.pareto_front().iloc[0]
    assert row["config"] == {**points[0], "lr": 0.01, "opt": {"name": "sgd", "momentum": 0.5}, "epochs": 3}
    with pytest.raises(ConfigError, match=r"0\.01 is not a value of the variable 'width'"):
        pipeline.search.add_evaluated_point({**points[0], "width": 0.01}, 0.001)


def test_results_between_the_values_of_a_number_are_kept_as_they_were(make, tmp_path):
    pipeline = make(
        space={"lr": tune.loguniform(1e-4, 1e-1), "rate": tune.quniform(0, 0.2, 0.1), "width": tune.choice([16, 32])},
        complexity=sum_of,
        reuse_results=True,
    )
    between = {"lr": 0.01, "rate": 0.123, "width": 30}
    pipeline.search.add_evaluated_point(between, -1.0)
    pipeline.end(pipeline.start(), {"loss": 1.0})
    again = pipeline.restored(tmp_path).search
    for search in (pipeline.search, again):
        front = search.pareto_front().set_index("loss")
        assert front["config"][-1.0] == between
        assert front["complexity"][-1.0] == sum_of(between)
    architecture = (*again._opened().space.encode({"lr": 0.01, "rate": 0.1, "width": 32}),)
    assert architecture not in again._search._known  # the neighbour itself is still to run
    for outside in ({"rate": 0.3}, {"width": 40}, {"width": "30"}, {"lr": 1.0}):
        with pytest.raises(ConfigError, match=f"is not a .*variable '{next(iter(outside))}'|for the variable"):
            pipeline.search.add_evaluated_point({**between, **outside}, -1.0)


def test_a_cost_of_the_choices_alone_is_exact_beside_numbers(make):
    pipeline = make(
        space={"lr": tune.loguniform(1e-4, 1e-1), "width": tune.choice([1, 5]), "depth": tune.choice([1, 2])},
        complexity=lambda config: 10.0 * config["width"] + config["depth"],
        coefficients=[0.0, 1.0],
        num_distributions=None,
    )
    for _ in range(80):
        trial = pipeline.start()
        pipeline.end(trial, {"loss": abs(math.log10(pipeline.running[trial]["lr"]) + 2)})
    config = load_run(pipeline.path).config
    assert config["complexity"]["scale"] == 52
    assert max(present(pipeline.search._search).optimizer.layout.num_categories) > 4
    pipeline.search.best_configs()
    holds(pipeline)


def test_integers_are_searched_until_all_are_known(make):
    pipeline = make(space={"x": tune.randint(0, 20)}, complexity=lambda config: config["x"], reuse_results=True)
    seen = []
    while isinstance(trial := pipeline.start(), str) and trial in pipeline.running:
        seen.append(pipeline.running[trial]["x"])
        pipeline.end(trial, {"loss": (seen[-1] - 5.0) ** 2})
    assert sorted(seen) == list(range(20))


def test_the_cost_of_a_trial_is_small_and_does_not_grow(make):
    """Medians of thread time at K = 8 and D = 21, over 300 trials after 100 and after 700; every third is a number."""
    domains = [tune.uniform(0, 1), tune.choice([1, 2, 3]), tune.choice([1, 2, 3, 4])]
    pipeline = make(space={f"v{d}": domains[d % 3] for d in range(21)}, num_distributions=8)
    seconds = []
    for _ in range(1000):
        start = time.thread_time()
        trial = pipeline.start()
        config = pipeline.running[trial]
        pipeline.end(trial, {"loss": sum(config.values()), "size": config["v1"]})
        seconds.append(time.thread_time() - start)
    early, late = np.median(seconds[100:400]), np.median(seconds[700:])
    assert late < 0.0015
    assert late < 1.5 * early


def test_trials_of_another_run_bring_their_complexities(make, caplog):
    pipeline = make(space={"lr": tune.loguniform(1e-4, 1e-1), "depth": tune.choice([1, 2])})
    configs = [{"lr": 0.003, "depth": depth} for depth in (1, 2, 1)]
    trials = [Trial("trainable", config=config, trial_id=f"old{i}", stub=True) for i, config in enumerate(configs)]
    for trial, results in zip(trials, ({"loss": 0.5, "size": 7.0}, {"size": 3.0}, {}), strict=True):
        trial.run_metadata.last_result = results
    trials[2].set_status(Trial.ERROR)
    pipeline.search.add_evaluated_trials(trials, "loss")
    pipeline.start()
    rows = pipeline.rows
    assert sorted(zip(rows["loss"], rows["size"].fillna(-1), strict=True)) == [(0.5, 7.0), (math.inf, -1)]
    assert "Trial old1 is left out, since its result has no loss" in caplog.text
    with pytest.raises(ConfigError, match="trials must be a ResultGrid"):
        pipeline.search.add_evaluated_trials([1], "loss")
