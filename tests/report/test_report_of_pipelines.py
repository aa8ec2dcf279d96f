"""Reports of a search in a Tune pipeline, where each evaluation is a trial."""

import pytest
from ray import tune

from multinas_ray.report.writing import render_report
from tests.report.pages import checked
from tests.support.pipeline import Pipeline, loss_of, size_of

SPACE = {
    "a": tune.choice([1, 2, 3]),
    "net": {"b": tune.choice([0, 1]), "c": tune.choice(["<i>", "x", 4.5]), "fixed": 7},
}


def result_of(config):
    plain = {"a": config["a"], "net": {**config["net"], "c": ["<i>", "x", 4.5].index(config["net"]["c"])}}
    return {"accuracy": 1 - loss_of(plain), "size": size_of(plain)}


def record(path, num_trials, **arguments):
    pipeline = Pipeline(path, space=SPACE, mode="max", metric="accuracy", **arguments)
    for number in range(num_trials):
        trial = pipeline.start()
        failed = number % 9 == 4
        pipeline.end(trial, result=None if failed else result_of(pipeline.running[trial]), error=failed)
    return pipeline


def test_configurations_take_the_place_of_networks(tmp_path):
    pipeline = record(tmp_path / "run", 60)
    page = checked(render_report(str(tmp_path / "run")))
    assert "One search for 2 configurations that weigh accuracy against size." in page.text
    assert [attrs["id"] for attrs in page.all("section")] == [
        "networks",
        "pareto",
        "convergence",
        "maps",
        "cost",
        "about",
    ]
    best = pipeline.search.best_configs().sort_values("size")
    section = page.section("networks")
    places = [section.index(f"{row['size']:.4g} {row['trial_id']}") for row in best.to_dict("records")]
    assert places == sorted(places)
    for row in best.to_dict("records"):
        assert f"a={row['config']['a']}, net/b={row['config']['net']['b']}" in section
        assert f"{row['accuracy']:.4g} {row['size']:.4g} {row['trial_id']}" in section
    assert "configurations on the front" in section
    assert "accuracy (higher is better)" in page.section("pareto")
    assert "trials" in page.section("pareto")
    assert "Trials 60 60 to 120" in page.section("cost")
    assert "<i>" in page.text


def test_a_target_that_nothing_meets_is_told(tmp_path):
    record(tmp_path / "run", 40, num_distributions=None, targets=[1.0, 1e6])
    section = checked(render_report(str(tmp_path / "run"))).section("networks")
    assert "no trial is within the target; the smallest has 10" in section


@pytest.mark.parametrize("num_trials", [1, 5])
def test_a_pipeline_that_has_just_begun_is_told(tmp_path, num_trials):
    """Results, but no update yet; of five trials one failed."""
    record(tmp_path / "run", num_trials)
    page = checked(render_report(str(tmp_path / "run")))
    assert f"{num_trials} trial" in page.text
    assert "No update is recorded yet." in page.section("maps")


def test_the_distributions_are_shown_once_they_are_on_disk(tmp_path):
    record(tmp_path / "run", 60).search.best_configs()  # writes what is buffered
    page = checked(render_report(str(tmp_path / "run")))
    assert page.html.count('class="map labelled"') == 2
    assert "net/c" in page.section("maps")
    assert "Expected accuracy" in page.section("convergence")
    assert "Expected size" in page.section("convergence")
