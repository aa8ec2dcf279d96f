"""MultiNASSearch driven by hand: points given by the user, and going on after a crash."""

import math
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from ray import tune

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import load_run
from multinas_ray.tune import MultiNASSearch, trial_search
from tests.support.pipeline import FINISHED, SPACE, holds, loss_of, result_of, size_of, sum_of


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
    assert pipeline.search.best_configs()["loss"].iloc[-1] == -5.0
    holds(pipeline)


def test_known_points_of_a_maximised_metric_and_a_function(make):
    points = [{"a": 3, "net": {"b": 0, "c": 4}}]
    pipeline = make(points_to_evaluate=points, evaluated_rewards=[5.0], complexity=size_of, mode="max", metric="r")
    pipeline.end(pipeline.start(), {"r": 1.0})
    assert pipeline.rows["loss"].tolist() == [-5.0, -1.0]
    assert pipeline.rows["raw_complexity"][0] == 34.0
    assert pipeline.search.pareto_front()["r"].max() == 5.0


def test_results_from_outside_enter_the_record_and_no_update(make, tmp_path):
    points = [{"a": 1, "net": {"b": 1, "c": 0}}]
    pipeline = make(points_to_evaluate=points, reuse_results=True)
    pipeline.search.add_evaluated_point({"a": 3, "net": {"b": 0, "c": 4}}, -5.0, complexity=34.0)
    pipeline.search.add_evaluated_point({"a": 2, "net/b": 0, "net/c": 4}, 1.0, error=True)
    pipeline = pipeline.taken_up()  # as from tuner.pkl
    pipeline.search.set_search_properties("loss", "min", SPACE)
    assert pipeline.run(1)[0]["net"] == {"b": 1, "c": 0, "fixed": 7}
    pipeline.search.add_evaluated_point({"a": 2, "net": {"b": 0, "c": 0}}, -7.0, pruned=True, complexity=20.0)
    again = pipeline.restored(tmp_path)
    again.search.add_evaluated_point({"a": 1, "net": {"b": 0, "c": 0}}, -6.0, complexity=10.0)
    again.run(6)
    rows = again.rows.set_index("id")
    assert rows["loss"].loc[[-2, -3, -4, -5]].tolist() == [-5.0, np.inf, -7.0, -6.0]
    assert rows.index.is_unique
    assert rows.loc[[-2, -3, -4, -5], "tell_order"].eq(-1).all()
    assert not rows["architecture"][rows["reused_id"].isna()].duplicated().any()  # none is run again
    assert again.search.best_configs()["loss"].min() == -7.0
    assert holds(again).num_updates >= 1


def test_results_from_outside_of_a_maximised_metric_and_a_function(make):
    pipeline = make(complexity=size_of, mode="max", metric="r")
    pipeline.search.add_evaluated_point({"a": 3, "net": {"b": 0, "c": 4}}, 5.0)
    pipeline.end(pipeline.start(), {"r": 1.0})
    pipeline.search.add_evaluated_point({"a": 1, "net": {"b": 0, "c": 4}}, 7.0)
    assert pipeline.rows.sort_values("id")["loss"].tolist() == [-7.0, -5.0, -1.0]
    assert pipeline.rows["raw_complexity"][0] == 34.0


@pytest.mark.parametrize("num_run", [0, 1])
def test_bad_results_from_outside_are_refused_at_once(pipeline, num_run):
    pipeline.run(num_run)
    for arguments, problem in [
        (({"a": 9, "net": {"b": 0, "c": 0}}, 1.0), "9 is not a choice"),
        (({"a": 1, "net": {"b": 0, "c": 0}}, 1.0), "complexity= in add_evaluated_point"),
    ]:
        with pytest.raises(ConfigError, match=problem):
            pipeline.search.add_evaluated_point(*arguments)
    pipeline.run(1)
    assert pipeline.rows["id"].min() == 0


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
    assert found.num_compared == 6
    assert again.search._search.record.session.number == 1


def test_a_restored_search_learns_what_an_unbroken_one_knows(make, tmp_path):
    pipeline = make()
    pipeline.run(10)
    file = str(tmp_path / "state.json")
    pipeline.search.save(file)
    pipeline.run(11)
    again = pipeline.taken_up(file)
    again.start()
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

    run(pipeline, lambda each: each.search._search is not None and each.search._search.next_untold < -1)
    again = pipeline.restored(tmp_path)
    run(again, lambda _: False)
    assert (again.rows["id"] < 0).sum() >= 2
    holds(again)


def flat_result(config):
    """As Tune passes it on: with the configuration, all flattened."""
    told = {"config/a": config["a"], "config/net/fixed": 7}
    return {**result_of(config), **told, **{f"config/net/{name}": config["net"][name] for name in "bc"}}


def test_a_failed_trial_that_tune_runs_again_after_a_restore_is_recorded(make, tmp_path, caplog):
    pipeline = make(reuse_results=True)
    failed = pipeline.end(pipeline.start(), None, error=True)
    pipeline.run(3)
    search = pipeline.restored(tmp_path).search
    search.on_trial_complete("again", result=flat_result(failed))  # no word of it before
    assert "not of this search" not in caplog.text
    search.on_trial_complete("again", result=flat_result(failed))
    search.on_trial_complete("t1", result=flat_result(failed))
    search.on_trial_complete("failed again", error=True)
    search.on_trial_complete("config unknown", result=result_of(failed))
    assert search.error is None
    rows = pipeline.rows.set_index("trial_id")
    assert sorted(rows.index) == ["again", "t0", "t1", "t2", "t3"]
    assert rows["loss"].loc[["t0", "again"]].tolist() == [math.inf, loss_of(failed)]
    assert rows["tell_order"]["again"] == -1
    draw = replace(search._search._draw(), architecture=rows["architecture"]["t0"])
    known = search._search._known.repeat(draw)
    assert (known.loss, known.reused_id) == (loss_of(failed), -1)  # the failed result is replaced
    holds(pipeline)


def test_a_failed_trial_that_is_resumed_under_its_own_id_counts(pipeline, tmp_path):
    failed, search = pipeline.end(pipeline.start(), None, error=True), pipeline.restored(tmp_path).search
    search.on_trial_complete("t0", result=flat_result(failed))
    rows = pipeline.rows[["trial_id", "loss", "tell_order"]].to_numpy().tolist()
    assert rows == [["t0", loss_of(failed), -1], ["t0", math.inf, 0]]


def test_a_trial_that_was_not_asked_for_is_ignored_without_a_restore(pipeline, caplog):
    pipeline.run(1)
    pipeline.search.on_trial_complete("x", result=flat_result({"a": 1, "net": {"b": 0, "c": 2}}))
    assert len(pipeline.rows) == 1
    assert "not of this search" in caplog.text


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
    file = str(tmp_path / "state.json")
    pipeline.search.save(file)
    again = pipeline.taken_up(file)
    with pytest.raises(StateError, match=r"give the same param_space to Tuner\.restore"):
        again.search.suggest("x")
    again = pipeline.taken_up(file)
    assert again.search.set_search_properties("loss", "min", {**SPACE, "build": loss_of})
    assert again.search.suggest("x")["build"] is loss_of
    again = pipeline.taken_up(file)
    again.search.set_search_properties("loss", "min", {**SPACE, "build": loss_of, "more": tune.choice([1, 2])})
    with pytest.raises(StateError, match="param_space must be the one recorded"):
        again.search.suggest("x")


def test_a_search_that_was_taken_up_elsewhere_records_nothing_more(make, tmp_path):
    pipeline = make()
    pipeline.run(6)
    trial = pipeline.start()
    again = pipeline.restored(tmp_path)
    again.run(2)
    with pytest.raises(StateError, match="another driver has resumed"):
        pipeline.search.on_trial_complete(trial, result={"loss": 1.0, "size": 1.0})
    assert isinstance(pipeline.search.error, StateError)
    with pytest.raises(StateError, match="so that no evaluation is recorded twice"):
        pipeline.search._search.record.flush()
    assert len(again.rows) == 8
    assert again.rows["id"].is_unique
    assert len(pipeline.search.best_configs()) == 2  # of the record as it is now
    again.end(trial)
    again.run(4)
    holds(again)


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


@pytest.mark.parametrize("content", ["{}", "", "[1]", '{"schema_version": 2, "record_path": "x"}'])
def test_a_search_goes_on_without_the_state_of_tune(make, tmp_path, caplog, content):
    pipeline = make()
    running = pipeline.start()
    config = pipeline.running[running]
    pipeline.run(9)
    file = tmp_path / "state.json"
    pipeline.search.save(str(file))
    file.write_text(content)
    again = pipeline.taken_up(str(file))
    assert f"The search resumes from its record {pipeline.path}" in caplog.text
    assert str(file) in caplog.text
    again.search.on_trial_complete(running, result=flat_result(config))  # Tune still runs it
    again.run(5)
    assert len(again.rows) == 15
    assert again.rows.set_index("trial_id")["tell_order"][running] == -1
    holds(again)


def test_a_damaged_state_of_an_unknown_record_is_refused(make, tmp_path):
    (tmp_path / "state").write_text("{}")
    with pytest.raises(StateError, match=r"state has schema version None"):
        make().search.restore(str(tmp_path / "state"))
    pipeline = make()
    pipeline.run(1)
    pipeline.search.save(str(tmp_path / "state"))
    (tmp_path / "state").write_text((tmp_path / "state").read_text()[:-30])
    other = MultiNASSearch(complexity="size", record_path=str(tmp_path / "other"))
    with pytest.raises(StateError, match=r"state is damaged .*: give the record_path of the search"):
        other.restore(str(tmp_path / "state"))


@pytest.mark.parametrize("keep_distributions", [True, False])
@pytest.mark.parametrize("screened", [True, False])
def test_a_search_goes_on_without_its_snapshot_and_distributions(make, tmp_path, keep_distributions, screened):
    """Both follow from the evaluations."""
    pipeline = make(optimizer="screened" if screened else "distributions", complexity=size_of, samples_per_update=4)
    pipeline.run(13)
    file = str(tmp_path / "state.json")
    pipeline.search.save(file)
    before = load_run(pipeline.path).distributions
    (tmp_path / "run" / "state.json").unlink()
    if not keep_distributions:
        shutil.rmtree(tmp_path / "run" / "distributions")
    again = pipeline.taken_up(file)
    again.start()
    assert np.array_equal(again.search._search.optimizer.probs, pipeline.search._search.optimizer.probs)
    again.search.best_configs()
    pd.testing.assert_frame_equal(load_run(pipeline.path).distributions, before)
    holds(again)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"points_to_evaluate": [{"a": 9, "net": {"b": 0, "c": 0}}]}, "9 is not a choice"),
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


@pytest.mark.parametrize("with_snapshot", [True, False])
def test_a_screened_search_runs_each_config_once_and_its_record_holds(make, tmp_path, with_snapshot):
    pipeline = make(optimizer="screened", complexity=size_of, num_distributions=2, samples_per_update=4)
    configs = pipeline.run(12)
    assert pipeline.search._search.optimizer.num_told == 12
    configs += pipeline.run(1)
    assert pipeline.search._search.optimizer.num_told == 13  # at once: it decides what comes next
    again = pipeline.restored(tmp_path) if with_snapshot else pipeline.taken_up()
    while (trial := again.start()) != FINISHED:
        configs.append(again.end(trial))
    assert len(configs) == len({str(config) for config in configs}) == 18
    again.search.best_configs()
    assert holds(again).num_updates >= 4
    assert load_run(again.path).config["optimizer"]["kind"] == "screened"
