"""What Ray's own tests ask of searchers (python/ray/tune/tests/test_searchers.py and those of restores), in substance.

Each case runs with MultiNASSearch, which must pass, and with OptunaSearch, the yardstick. The table of who passes what
is a part of the guide of Tune pipelines.
"""

import copy
import functools
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle, tune
from ray.tune.experiment import Trial
from ray.tune.search import ConcurrencyLimiter

from tests.support.narrow import present
from tests.support.searcher_kinds import KINDS, METRIC

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "tune.md"

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.usefixtures("local_ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]

SPACE = {"a": tune.uniform(0.0, 5.0), "list": [1, 2, 3], "num": 4}
RESULT = {METRIC: 1.0, "size": 1.0, "config/a": 1.0, "training_iteration": 1, "time_total_s": 1.0}


def report(value):
    tune.report({METRIC: value, "size": 1.0})


def fit(searcher, trainable, folder, num_samples=4, space=SPACE, **options):
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 2}),  # one at a time: another process takes four seconds of a core
        param_space=space,
        tune_config=tune.TuneConfig(
            search_alg=searcher, metric=METRIC, mode="max", num_samples=num_samples, reuse_actors=True, **options
        ),
        run_config=tune.RunConfig(storage_path=str(folder), name="run", verbose=0),
    )
    return tuner.fit()


def searcher_of(tuner):
    """The searcher that a restored Tuner has made."""
    return present(tuner._local_tuner)._tune_config.search_alg


def begun(kind, folder, num_trials=0, **arguments):
    """A searcher that is driven by hand, and has told some trials."""
    searcher = kind.make(**arguments)
    assert searcher.set_search_properties(METRIC, "max", SPACE)
    return told(searcher, [f"t{number}" for number in range(num_trials)])


def told(searcher, trial_ids):
    for trial_id in trial_ids:
        assert isinstance(searcher.suggest(trial_id), dict)
        searcher.on_trial_complete(trial_id, dict(RESULT))
    return searcher


# ---- the cases


def invalid_values(kind, folder):
    """NaN and infinite metrics, and constants"""

    def odd(config):
        report(
            next((bad for low, bad in ((4, math.inf), (3, -math.inf), (2, math.nan)) if config["a"] > low), config["a"])
        )

    searcher = kind.make()
    results = fit(searcher, odd, folder, 8)
    assert len(results) == 8
    best = max((each for each in results if math.isfinite(each.metrics[METRIC])), key=lambda each: each.metrics[METRIC])
    assert best.config["a"] <= 2.0
    assert (best.config["list"], best.config["num"]) == ([1, 2, 3], 4)
    assert len(kind.losses(searcher)) > 0


def failed_trials_run_again(kind, folder):
    """`restart_errored`: later successes of failed trials are learned from"""
    mark = folder / "repaired"

    def fickle(config):
        if not mark.exists():
            raise RuntimeError("not yet")
        report(config["a"])

    fit(kind.make(), fickle, folder, 2)
    mark.touch()
    tuner = tune.Tuner.restore(str(folder / "run"), fickle, restart_errored=True)
    results = tuner.fit()
    assert results.num_errors == 0
    values = [present(results[place].metrics)[METRIC] for place in range(len(results))]
    assert sorted(kind.losses(searcher_of(tuner))) == sorted(-value for value in values)


def an_experiment_is_moved(kind, folder):
    """The experiment's folder is moved, and `Tuner.restore` goes on with all results"""
    first, moved = folder / "first", folder / "moved"

    def train(config):
        report(config["a"])

    fit(kind.make(), train, first, 3)
    shutil.move(first, moved)
    tuner = tune.Tuner.restore(str(moved / "run"), train)
    tuner.fit()
    searcher = told(searcher_of(tuner), ["later"])
    assert len(kind.losses(searcher)) == 4


def run_resume(kind, folder):
    """`tune.run(resume=True)` with a new searcher"""

    def train(config):
        report(config["a"])

    options: dict[str, Any] = {
        "metric": METRIC,
        "mode": "max",
        "num_samples": 2,
        "storage_path": str(folder),
        "name": "run",
        "verbose": 0,
    }
    tune.run(train, config=SPACE, search_alg=kind.make(), **options)
    searcher = kind.make()
    tune.run(train, config=SPACE, search_alg=searcher, resume=True, **options)
    told(searcher, ["later"])
    assert len(kind.losses(searcher)) == 3


def batches(kind, folder):
    """`ConcurrencyLimiter(batch=True)` batches"""

    def train(config):
        report(config["a"])

    searcher = kind.make()
    assert len(fit(ConcurrencyLimiter(searcher, max_concurrent=2, batch=True), train, folder, 4)) == 4
    assert len(kind.losses(searcher)) == 4
    searcher = kind.make(**({"record_path": str(folder / "record")} if kind.name == "MultiNASSearch" else {}))
    limiter = ConcurrencyLimiter(searcher, max_concurrent=2, batch=True)
    limiter.set_search_properties(METRIC, "max", SPACE)
    assert [limiter.suggest(trial_id) is None for trial_id in "abc"] == [False, False, True]
    limiter.on_trial_complete("a", result=dict(RESULT))
    assert limiter.suggest("d") is None
    limiter.on_trial_complete("b", result=dict(RESULT))
    assert limiter.suggest("d") is not None


def added_points(kind, folder):
    """`add_evaluated_point`: a good, a failed and a stopped one"""
    searcher = begun(kind, folder)
    complexity = {"complexity": 1.0} if kind.name == "MultiNASSearch" else {}
    searcher.add_evaluated_point({"a": 1.0}, 1.0, intermediate_values=[0.8, 0.9], **complexity)
    searcher.add_evaluated_point({"a": 1.0}, 2.0, error=True, **complexity)
    searcher.add_evaluated_point({"a": 1.0}, 3.0, pruned=True, intermediate_values=[3.0], **complexity)
    assert isinstance(searcher.suggest("t"), dict)
    assert -1.0 in kind.losses(searcher)
    assert -2.0 not in kind.losses(searcher)


def added_trials(kind, folder):
    """`add_evaluated_trials`: a list and a single one"""
    trials = [Trial("trainable", config={"a": float(place)}, trial_id=f"old{place}", stub=True) for place in range(4)]
    for place, trial in enumerate(trials):
        trial.run_metadata.last_result = {METRIC: float(place), "size": 1.0, "done": True}
        trial.set_status(Trial.TERMINATED)
    for given, losses in ((trials, [-3.0, -2.0, -1.0, 0.0]), (trials[2], [-2.0])):
        searcher = copy.deepcopy(begun(kind, folder))
        searcher.set_search_properties(METRIC, "max", SPACE)
        searcher.add_evaluated_trials(given, METRIC)
        assert isinstance(searcher.suggest("t"), dict)
        assert sorted(kind.losses(searcher)) == losses


def saved_and_restored(kind, folder):
    """`save`, and `restore` into a searcher of defaults, without `set_search_properties`"""
    searcher = begun(kind, folder, 1)
    for trial_id in ("second", "not_completed"):
        searcher.suggest(trial_id)
    searcher.save(str(folder / "state"))
    again = kind.make()
    again.restore(str(folder / "state"))
    again.on_trial_complete("second", dict(RESULT))
    told(again, ["third"])
    assert kind.tracks(again, "not_completed")
    assert len(kind.losses(again)) == 3


def newer_than_the_snapshot(kind, folder):
    """Results that are newer than the snapshot, after a crash"""
    searcher = begun(kind, folder, 2)
    searcher.save(str(folder / "state"))
    told(searcher, ["late"])
    again = kind.make()
    again.restore(str(folder / "state"))
    told(again, ["next"])
    assert len(kind.losses(again)) == 4


def reports_too_often(kind, folder):
    """Results after the end of a trial"""
    searcher = begun(kind, folder, 1)
    for _ in range(2):
        searcher.on_trial_result("t0", dict(RESULT))
        searcher.on_trial_complete("t0", dict(RESULT))
    assert len(kind.losses(searcher)) == 1


def copies(kind, folder):
    """Deep copies learn on their own; pickles of subclasses keep their attributes"""
    searcher = kind.make(kind.subclass())
    searcher.own = "kept"
    assert cloudpickle.loads(cloudpickle.dumps(searcher)).own == "kept"
    copied = copy.deepcopy(searcher)
    assert copied.own == "kept"
    for each, num_trials in ((searcher, 2), (copied, 1)):
        each.set_search_properties(METRIC, "max", SPACE)
        told(each, [f"t{number}" for number in range(num_trials)])
        assert len(kind.losses(each)) == num_trials


def seed_0(kind, folder):
    """The seed 0 is a seed"""

    def drawn():
        searcher = kind.make(seed=0, **({"sampler": None} if kind.name == "OptunaSearch" else {}))
        searcher.set_search_properties(METRIC, "max", SPACE)
        return [searcher.suggest(f"t{number}") for number in range(3)]

    assert drawn() == drawn()


def takes(space):
    """A case that a searcher takes a space: it draws from it what Ray draws."""

    def case(kind, folder):
        searcher = kind.make()
        assert searcher.set_search_properties(METRIC, "max", {"other": tune.uniform(0, 1), **space})
        for number in range(4):
            config = searcher.suggest(f"t{number}")
            assert isinstance(config, dict)
            assert not any(isinstance(value, tune.search.sample.Domain) for value in config["x"].values())
            searcher.on_trial_complete(f"t{number}", dict(RESULT))

    return case


SPACES = {
    "Numbers, logarithmic, whole and with a quantum": {
        "x": {"a": tune.loguniform(1e-4, 1), "b": tune.lograndint(1, 99), "c": tune.quniform(0, 1, 0.1)}
    },
    "`qloguniform`": {"x": {"a": tune.qloguniform(1e-2, 1, 1e-2)}},
    "`randn`": {"x": {"a": tune.randn(0, 1)}},
    "Domains within a `choice`": {"x": tune.choice([{"a": tune.uniform(0, 1)}, {"b": 1}])},
    "`grid_search`": {"x": {"a": tune.grid_search([1, 2])}},
    "`sample_from`": {"x": {"a": tune.sample_from(lambda config: 1)}},
}

CASES = {
    case.__doc__: case
    for case in (
        *(invalid_values, failed_trials_run_again, an_experiment_is_moved, run_resume, batches),
        *(added_points, added_trials, saved_and_restored, newer_than_the_snapshot, reports_too_often, copies, seed_0),
    )
} | {name: takes(space) for name, space in SPACES.items()}


@functools.cache
def outcome(name, case, base):
    """The exception of a case with a kind of searcher; None if it passes."""
    folder = base / name / str(list(CASES).index(case))
    folder.mkdir(parents=True)
    try:
        CASES[case](KINDS[name], folder)
    except Exception as error:  # whatever a searcher raises, it does not pass
        return error
    return None


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("cases")


@pytest.fixture(autouse=True)
def home(monkeypatch, base):
    monkeypatch.setenv("HOME", str(base))


@pytest.mark.parametrize("case", CASES)
def test_our_searcher_passes(base, case):
    error = outcome("MultiNASSearch", case, base)
    if error is not None:
        raise error


@pytest.mark.by_hand
def test_the_table_of_the_guide_tells_who_passes_what(base):
    rows = [
        f"| {case} | " + " | ".join("yes" if outcome(name, case, base) is None else "no" for name in KINDS) + " |"
        for case in CASES
    ]
    table = "\n".join([f"| case | {' | '.join(KINDS)} |", "|---|---|---|", *rows])
    assert table in GUIDE.read_text(), table
