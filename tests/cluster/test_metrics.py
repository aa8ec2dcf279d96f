import math
import time
from dataclasses import replace

import numpy as np
import pytest

from multinas_ray.cluster import metrics as metrics_module
from multinas_ray.cluster.metrics import INTERVAL_SECONDS, Figures, SearchMetrics
from multinas_ray.oneshot import RoundFigures
from tests.support.narrow import present
from tests.support.pipeline import Pipeline


class Ray:
    """Stands for ray.util.metrics: keeps what was written, by name and tags."""

    def __init__(self):
        self.values, self.num_writings = {}, 0

    def make(self, name, description, tag_keys):
        assert description
        return Metric(self, name, set(tag_keys))

    def __getitem__(self, name):
        """The values of a metric by its tags' values, the run's name left out."""
        found = {}
        for (each, tags), value in self.values.items():
            if each == f"multinas_{name}":
                tags = dict(tags)
                assert tags.pop("run") == "mine"
                found[tags.get("network", "")] = value
        return found


class Metric:
    def __init__(self, ray, name, tag_keys):
        self._ray, self._name, self._tag_keys, self._default = ray, name, tag_keys, {}

    def set_default_tags(self, tags):
        self._default = tags

    def _key(self, tags):
        self._ray.num_writings += 1
        tags = {**self._default, **tags}
        assert set(tags) == self._tag_keys
        return self._name, tuple(sorted(tags.items()))

    def set(self, value, tags):
        assert math.isfinite(value)
        self._ray.values[self._key(tags)] = value

    def inc(self, value):
        assert value > 0  # Ray refuses anything else
        key = self._key({})
        self._ray.values[key] = self._ray.values.get(key, 0) + value


@pytest.fixture
def ray(monkeypatch):
    fake = Ray()
    monkeypatch.setattr(metrics_module, "Gauge", fake.make)
    monkeypatch.setattr(metrics_module, "Counter", fake.make)
    return fake


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


class Told:
    """A source that gives what it was told to."""

    def __init__(self, **changes):
        self.num_read = 0
        diagnostics = {
            "coefficient": np.array([0.0, 0.25]),
            "target": np.full(2, np.nan),
            "expected_complexity": np.array([0.75, 0.125]),
            "expected_loss": np.array([0.5, np.nan]),
            "entropy": np.array([3.0, 0.5]),
            "effective_sample_size": np.array([8.0, 3.25]),
            "mode": np.array([[0, 1, 1], [2, 0, 0]]),
            "mode_probability": np.array([0.25, 0.75]),
        }
        totals, levels = {"evaluations": 16, "rounds": 3}, {"rounds_in_flight": 4.0}
        self.now = Figures(diagnostics=diagnostics, complexity_scale=2e6, totals=totals, levels=levels)

    def figures(self):
        self.num_read += 1
        return self.now


def test_every_distribution_has_gauges_in_raw_units(ray):
    SearchMetrics("mine", Told()).write()
    assert ray["expected_complexity"] == {"0": 0.25e6, "1": 1.5e6}
    assert ray["expected_loss"] == {"1": 0.5}  # of the other nothing is known yet
    assert ray["entropy"] == {"0": 0.5, "1": 3.0}
    assert ray["effective_sample_size"] == {"0": 3.25, "1": 8.0}
    assert ray["mode_probability"] == {"0": 0.75, "1": 0.25}
    assert ray["rounds_in_flight"] == {"": 4.0}
    assert ray["checkpoint_age_seconds"] == {}


def test_the_name_of_a_run_is_given_to_ray_in_ascii(ray):
    SearchMetrics("größe", Told()).write()
    assert {dict(tags)["run"] for _, tags in ray.values} == {r"gr\xf6\xdfe"}


def test_counters_come_to_the_totals(ray):
    source = Told()
    metrics = SearchMetrics("mine", source)
    for totals in (
        {"evaluations": 16, "rounds": 3},
        {"evaluations": 16, "rounds": 4},
        {"evaluations": 40, "rounds": 9},
    ):
        source.now = replace(source.now, totals=totals)
        metrics.write()
        assert {name: ray[name][""] for name in totals} == totals


def test_figures_are_read_and_written_once_an_interval_however_often_it_ticks(ray, clock):
    source = Told()
    metrics = SearchMetrics("mine", source)
    for _ in range(1000):
        metrics.tick()
        clock[0] += INTERVAL_SECONDS / 100
    assert source.num_read == 10
    assert ray.num_writings == 10 * 10 + 2  # 9 of the distributions and a level each time; two totals that stand still


def test_a_one_shot_search_tells_its_rounds_and_its_checkpoints_age(ray, clock, make_search):
    made_up = make_search()
    figures = RoundFigures(made_up.schedule, 2e6)
    metrics = SearchMetrics("mine", figures)
    metrics.write()
    assert (ray["rounds"], ray["evaluations"], ray["rounds_in_flight"]) == ({}, {}, {"": 0})
    made_up.draw()
    metrics.write()
    assert ray["rounds_in_flight"] == {"": made_up.plan.rounds_ahead}
    made_up.run_in_order()
    for finished, _, _ in made_up.record:
        figures.note(finished)
        clock[0] += 1.0
    metrics.write()
    assert ray["rounds"] == {"": made_up.plan.num_rounds}
    assert ray["evaluations"] == {"": made_up.optimizer.num_told}
    assert ray["rounds_in_flight"] == {"": 0}
    diagnostics = made_up.optimizer.diagnostics()
    assert list(ray["expected_complexity"].values()) == pytest.approx(2e6 * diagnostics["expected_complexity"][::-1])
    assert list(ray["entropy"].values()) == pytest.approx(diagnostics["entropy"][::-1])
    after_the_warm_up = made_up.plan.num_rounds - made_up.plan.warmup_rounds + 1
    assert ray["checkpoint_age_seconds"] == {"": after_the_warm_up}


def test_a_search_in_a_pipeline_tells_its_trials(ray, clock, tmp_path):
    pipeline = Pipeline(tmp_path / "mine")
    first, _ = pipeline.start(), pipeline.start()
    pipeline.end(first)
    assert ray["trials_in_flight"] == {"": 1}
    assert ray["expected_complexity"] == {}  # its scale is not known yet
    pipeline.run(7)
    clock[0] += INTERVAL_SECONDS
    pipeline.run(1)
    assert ray["evaluations"] == {"": 8}
    search = present(pipeline.search._search)
    expected = search.optimizer.diagnostics()["expected_complexity"]
    assert list(ray["expected_complexity"].values()) == pytest.approx(present(search.scales)["size"] * expected[::-1])


def test_a_record_in_a_bucket_is_named_by_its_folder(ray, tmp_path):
    search = Pipeline(tmp_path / "record").search
    opened, search._place.path = search._opened(), "s3://runs/folder/mine/?endpoint_override=127.0.0.1:9000"
    search._write_metrics(opened)
    assert ray["trials_in_flight"] == {"": 0}


def test_metrics_that_fail_end_no_search_and_are_told_once(tmp_path, caplog, monkeypatch):
    def fail(*arguments):
        raise UnicodeEncodeError("ascii", "é", 0, 1, "not of ASCII")

    monkeypatch.setattr(metrics_module, "Gauge", fail)
    pipeline = Pipeline(tmp_path / "run", samples_per_update=4)
    pipeline.run(4)
    assert pipeline.search.error is None
    assert [each.getMessage() for each in caplog.records if "metrics" in each.getMessage()] == [
        "The metrics cannot be written ('ascii' codec can't encode character '\\xe9' in position 0: not of ASCII). The "
        "search goes on."
    ]
