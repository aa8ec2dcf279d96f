"""Searches in which a known configuration is not run again."""

from ray import tune

from multinas_ray.tune import trial_search
from tests.support.pipeline import FINISHED, holds, size_of, sum_of


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
