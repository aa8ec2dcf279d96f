import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from multinas_ray.runs import load_run, read_document, verify_run
from multinas_ray.selection import goals_of_run, open_run
from tests.oneshot.recorded_search import Crash, RecordedSearch
from tests.support.narrow import present
from tests.support.uneven_cost import Unevenness


def test_a_row_holds_what_the_round_gave(make_config):
    config = make_config()
    session = RecordedSearch(config, 0).run()
    row = load_run(config.run_path).evaluations.iloc[13]  # round 5, sample 1
    drawn = session.drawn[5]
    architecture = present(drawn.architectures)[1]
    assert row["round"] == 5
    assert row["block"] == 1
    assert row["trial_id"] == "trial-0"
    assert row["architecture"] == tuple(architecture)
    assert row["architecture_readable"] == config.space.search_space.describe(architecture)
    assert row["loss"] == session.result_of(drawn).losses[1]
    assert row["accuracy"] == 0.5
    assert row["params"] == config.space.costs["params"](architecture[None])[0]
    assert row["flops"] == config.space.costs["flops"](architecture[None])[0]
    assert row["complexity"] == row["params"] / config.complexity_scale
    assert (row["tell_order"], row["update"]) == (13, 4)
    assert np.isposinf(load_run(config.run_path).evaluations["loss"][12])  # the failure of round 5


def test_evaluations_are_durable_before_the_optimiser_is_told(make_config):
    config = make_config()
    session = RecordedSearch(config, 0, ("after append", 2))
    with pytest.raises(Crash):
        session.run()
    assert session.optimizer.num_told == 0
    assert len(load_run(config.run_path).evaluations) == 4


def test_snapshots_come_now_and_then(make_config, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    config = make_config()
    rounds = [0]
    session = RecordedSearch(config, 0)
    session.draw()
    for number in range(14):
        session.schedule.take(session.result_of(session.drawn[number]), 0, "trial")
        session.draw()
        now[0] += 4.0
        state = Path(config.run_path, "state.json")
        next_round = read_document(state, "-")["next_round"] if state.exists() else 0
        if next_round != rounds[-1]:
            rounds.append(next_round)
    assert rounds == [0, 4, 7, 10, 13]  # more than 10 s after the one before


def test_the_elapsed_time_goes_on_over_sessions(make_config):
    config = make_config()
    first = RecordedSearch(config, 0)
    first.record._record._started_seconds -= 1000.0
    first.run().record.save(14)
    resumed = RecordedSearch(config, 1)
    assert 1000.0 <= resumed.record.elapsed_seconds < 1000.0 + 600.0


def test_the_elapsed_time_of_a_warm_up_counts_too(make_config):
    config = make_config()
    first = RecordedSearch(config, 0)
    first.record._record._started_seconds = time.monotonic() - 1000.0
    first.record.save(1)
    assert RecordedSearch(config, 1).record.elapsed_seconds >= 1000.0


def test_the_record_of_a_search_for_targets_holds_across_a_crash(make_config):
    config = make_config(coefficients=None, targets=[9e3, 2e4])
    with suppress(Crash):
        RecordedSearch(config, 0, crash_at=("after append", 7)).run()
    session = RecordedSearch(config, 1).run()
    session.finish()
    verification = verify_run(config.run_path)
    assert verification.holds, verification.problems
    run = load_run(config.run_path)
    newest = run.distributions[run.distributions["update"] == run.distributions["update"].max()]
    np.testing.assert_allclose(newest["target"] * config.complexity_scale, [9e3, 2e4])
    assert newest["coefficient"].isna().all()
    assert (session.optimizer.diagnostics()["expected_complexity"] == newest["expected_complexity"]).all()
    assert [(goal.limits, goal.distribution) for goal in goals_of_run(run)] == [
        ({"params": 9e3}, 0),
        ({"params": 2e4}, 1),
    ]


@pytest.mark.parametrize("goals", [{"coefficients": (0.0, 0.3)}, {"coefficients": None, "targets": (1.0, 3.0)}])
def test_a_search_for_a_cost_that_is_no_sum_is_recorded_and_holds(make_config, goals):
    uneven = Unevenness("unevenness", make_config().space.search_space.num_categories)
    config = make_config(extra_costs=[uneven], complexity="unevenness", **goals)
    assert config.optimizer_settings.cost_table is None
    RecordedSearch(config, 0).run().finish()
    verification = verify_run(config.run_path)
    assert verification.holds, verification.problems
    opened = open_run(config.run_path)
    rows = opened.run.evaluations
    recorded = opened.costs["unevenness"](np.array(rows["architecture"].tolist()))
    np.testing.assert_array_equal(rows["unevenness"], recorded)
    np.testing.assert_array_equal(rows["complexity"], recorded / uneven.maximum)
    assert np.isfinite(opened.run.distributions["expected_complexity"]).all()
