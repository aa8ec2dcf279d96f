"""What `verify` and the readers say of a MultiNASSearch's record."""

import os
from pathlib import Path

import pytest
from ray import tune

from multinas_ray.__main__ import main
from multinas_ray.errors import StateError
from multinas_ray.runs import load_run, verify_run, write_config
from multinas_ray.tune import MultiNASSearch, best_configs, pareto_front
from tests.support.records import BARE_CONFIG, rewrite_table

SPACE = {f"v{d}": tune.choice([0, 1, 2]) for d in range(3)}


@pytest.fixture
def record(tmp_path):
    """30 results, of which 4 came before the scale, 1 failed and 1 was a given point; and repeats."""
    search = MultiNASSearch(
        complexity="size",
        num_distributions=2,
        seed=0,
        reuse_results=True,
        points_to_evaluate=[{"v0": 1, "v1": 1, "v2": 1}],
        record_path=str(tmp_path / "record"),
    )
    search.set_search_properties("loss", "min", SPACE)
    for number in range(25):
        config = search.suggest(f"t{number}")
        if not isinstance(config, dict):
            assert config == "FINISHED"
            break
        size = float(sum(config.values()))
        search.on_trial_complete(f"t{number}", result={"loss": 1 / (1 + size), "size": size}, error=number == 7)
    search.save(str(tmp_path / "state"))
    return tmp_path / "record"


def rewrite(record, change):
    rewrite_table(record / "evaluations", change)


def place(rows, **wanted):
    return next(i for i, row in enumerate(rows) if all(row[name] == value for name, value in wanted.items()))


def changed(name, value, **wanted):
    def change(rows):
        row = rows[place(rows, **wanted)]
        row[name] = value(row[name]) if callable(value) else value
        return rows

    return change


def test_the_record_holds_and_the_command_says_so(record, capsys):
    assert main(["verify", str(record)]) == 0
    out = capsys.readouterr().out
    assert "The record holds." in out
    rows = load_run(record).evaluations
    assert (rows["complexity"].isna()).sum() >= 5
    assert (rows["id"] < 0).sum() >= 1
    assert rows["reused_id"].notna().any()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (changed("loss", -9.0, tell_order=9), "in the replay differs"),
        (changed("size", lambda size: size + 1, tell_order=1), "in the replay differs"),
        (changed("size", lambda size: size + 1, tell_order=9), "complexity is not size /"),
        (changed("complexity", lambda value: value + 0.1, tell_order=9), "complexity is not size /"),
        (changed("log_q", lambda value: value - 1e-3, tell_order=9), "log_q is not the density at the draw"),
        (changed("update", 1, tell_order=9), "ids with a wrong `update`"),
        (changed("id", -2, tell_order=9), "has id -2, which must be at least 0 where updates use the row"),
        (changed("tell_order", -1, tell_order=9), "tell_order is not 0, 1, 2"),
        (lambda rows: [*rows, rows[place(rows, id=-1)]], "ids recorded more than once: -1"),
        (lambda rows: [row for row in rows if row["tell_order"] != 9], "tell_order is not 0, 1, 2"),
    ],
)
def test_a_changed_record_is_found(record, change, problem):
    rewrite(record, change)
    found = verify_run(record)
    assert any(problem in each for each in found.problems), found.problems


def test_a_changed_scale_or_coefficient_is_found(record):
    config = load_run(record).config
    write_config(record, {**config, "complexity": {**config["complexity"], "scale": 1.0}})
    assert any("complexity is not size / 1" in each for each in verify_run(record).problems)
    coefficients = [value * 2 for value in config["optimizer"]["coefficients"]]
    write_config(record, {**config, "optimizer": {**config["optimizer"], "coefficients": coefficients}})
    assert any("differs from the record in coefficient" in each for each in verify_run(record).problems)


def test_a_loaded_run_gives_the_same_choices_as_the_search(record):
    best, front = best_configs(load_run(record)), pareto_front(load_run(record))
    again = MultiNASSearch(complexity="size")
    again.restore(str(record.parent / "state"))
    assert again.best_configs().equals(best)
    assert again.pareto_front().equals(front)
    assert front["loss"].is_monotonic_decreasing
    assert set(best["config"].map(str)) <= {str(config) for config in load_all_configs(record)}


def test_each_result_is_synced_and_a_repeat_of_it_is_not(tmp_path, monkeypatch):
    synced, real = [], os.fsync

    def noted(descriptor):
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    search = MultiNASSearch(
        complexity="size", num_distributions=2, seed=0, reuse_results=True, record_path=str(tmp_path / "record")
    )
    search.set_search_properties("loss", "min", SPACE)
    for number in range(20):
        config = search.suggest(f"t{number}")
        assert isinstance(config, dict)
        size = float(sum(config.values()))
        search.on_trial_complete(f"t{number}", result={"loss": 1 / (1 + size), "size": size})
    rows = load_run(tmp_path / "record").evaluations  # read from the journal, unsynced rows too
    assert rows["reused_id"].isna().sum() == 20
    assert rows["reused_id"].notna().sum() > 0
    assert sum(path.endswith(".jsonl") for path in synced) == 1 + 20  # one for the header


def load_all_configs(record):
    return [dict(zip(SPACE, row, strict=True)) for row in load_run(record).evaluations["architecture"]]


def test_a_run_of_another_kind_is_refused(tmp_path):
    write_config(tmp_path, BARE_CONFIG)
    for function in (best_configs, pareto_front):
        with pytest.raises(StateError, match="must be the record of a MultiNASSearch"):
            function(load_run(tmp_path))


def test_a_record_of_another_kind_is_not_taken_up(tmp_path, record):
    search = MultiNASSearch(complexity="size", num_distributions=2, reuse_results=True)
    search.restore(str(record.parent / "state"))
    write_config(record, BARE_CONFIG)
    with pytest.raises(StateError, match="is the record of a one-shot search, not of a MultiNASSearch"):
        search.suggest("x")
