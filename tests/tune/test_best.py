"""The answers of a search in a Tune pipeline: the best configurations and the front."""

import itertools
import math

import moocore
import numpy as np

from multinas_ray.runs import load_run


def test_without_coefficients_the_answers_spread_over_the_front(make):
    pipeline = make(num_distributions=3)
    pipeline.run(120)
    best, rows = pipeline.search.best_configs(), pipeline.rows
    reference = rows["loss"].quantile(0.9), rows["size"].max() + 0.1 * np.ptp(rows["size"])

    def area(losses, sizes):
        return moocore.hypervolume(np.stack([losses, sizes], axis=1), ref=reference)

    front = pipeline.search.pareto_front()
    subsets = itertools.combinations(range(len(front)), 3)
    assert area(best["loss"], best["size"]) == max(
        area(front["loss"].iloc[list(three)], front["size"].iloc[list(three)]) for three in subsets
    )
    assert (np.diff(best["size"]) > 0).all(), "the first row is the smallest, as everywhere"


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
