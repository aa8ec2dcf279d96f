"""Whose record a searcher has: in the experiment's folder, restored, copied, and with other settings."""

import copy
import pickle
import shutil
from types import SimpleNamespace

import pyarrow.fs as pafs
import pytest
from ray import tune

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import load_run
from multinas_ray.tune import MultiNASSearch, callers
from tests.support.narrow import present
from tests.support.pipeline import SPACE, holds, result_of


def run(experiments, storage_path, resume_config, resume, call):
    """In the place of `ray.tune.run`, which a searcher looks for among its callers."""
    return call()


class Experiment:
    """What Tune knows of an experiment."""

    def __init__(self, folder, resumed=False, storage_path=None, file_system=None):
        storage = SimpleNamespace(
            storage_filesystem=file_system or pafs.LocalFileSystem(),
            experiment_fs_path=str(folder),
            experiment_dir_name="run",
            custom_fs_provided=False,
        )
        self.known = [SimpleNamespace(storage=storage)], storage_path, None, resumed

    def __call__(self, call):
        return run(*self.known, call)


@pytest.fixture(autouse=True)
def fake_run(monkeypatch):
    monkeypatch.setattr(callers, "run", run)


def run_trials(search, num_trials, first=0):
    for number in range(first, first + num_trials):
        search.on_trial_complete(f"t{number}", result=result_of(present(search.suggest(f"t{number}"))))


def made(experiment=None, num_trials=0, kind=MultiNASSearch, **arguments):
    """A new searcher, which has run some trials."""
    search = kind(**{"complexity": "size", "num_distributions": 2, "seed": 0, **arguments})

    def begin():
        assert search.set_search_properties("loss", "min", SPACE)
        run_trials(search, num_trials)

    (experiment or (lambda call: call()))(begin)
    return search


def saved(search, folder):
    file = folder / "searcher-state-1.json"
    search.save(str(file))
    return str(file)


def test_a_record_moves_with_its_experiment(tmp_path):
    first, moved = tmp_path / "first", tmp_path / "moved"
    search = made(Experiment(first), 5)
    assert search.record_path.startswith(f"{first}/multinas/")
    file = saved(search, first).replace("first", "moved")
    shutil.move(first, moved)
    again = MultiNASSearch(complexity="size")
    with pytest.raises(StateError, match="which is missing"):
        again.restore(file)  # nothing tells where the experiment is now

    def resume():
        again.restore(file)
        run_trials(again, 3, 5)

    Experiment(moved, resumed=True)(resume)
    assert again.record_path.startswith(f"{moved}/multinas/")
    assert len(load_run(again.record_path).evaluations) == 8


def test_two_experiments_of_one_name_have_records_of_their_own(tmp_path):
    searches = [made(Experiment(tmp_path / "run"), 3) for _ in range(2)]
    assert [len(load_run(search.record_path).evaluations) for search in searches] == [3, 3]


def test_an_experiment_in_a_store_gives_a_uri(tmp_path):
    store = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
    experiment = Experiment("bucket/run", storage_path="s3://bucket/folder?region=eu-north-1", file_system=store)
    found = present(experiment(callers.calling_experiment))
    assert found.folder == "s3://bucket/folder/run?region=eu-north-1"
    unnamed = Experiment("bucket/run", file_system=store)
    assert present(unnamed(callers.calling_experiment)).folder is None
    assert callers.calling_experiment() is None


@pytest.mark.parametrize("fault", ["missing", "another's"])
def test_a_snapshot_without_its_record_stops_the_search(tmp_path, fault):
    search = made(record_path=str(tmp_path / "record"), num_trials=3)
    file = saved(search, tmp_path)
    again = pickle.loads(pickle.dumps(search))
    shutil.rmtree(tmp_path / "record")
    if fault == "another's":
        made(record_path=str(tmp_path / "record"), num_trials=1)
    with pytest.raises(StateError, match="must have its"):
        again.restore(file)
    with pytest.raises(StateError, match="must have its"):  # since Tune goes on, as if nothing were saved
        again.suggest("next")


def test_a_resumed_run_takes_a_new_searcher_and_a_fresh_one_takes_no_record(tmp_path):
    def resume(search):
        assert search.set_search_properties("loss", "min", SPACE)
        search.restore(file)
        run_trials(search, 1, 4)

    search = made(Experiment(tmp_path), 4, record_path=str(tmp_path / "record"))
    file = saved(search, tmp_path)
    new = MultiNASSearch(complexity="size", record_path=str(tmp_path / "record"))
    Experiment(tmp_path, resumed=True)(lambda: resume(new))  # tune.run(resume=True)
    assert len(load_run(new.record_path).evaluations) == 5
    for other in (
        MultiNASSearch(complexity="size", record_path=search.record_path),
        pickle.loads(pickle.dumps(search)),
    ):
        with pytest.raises(ConfigError, match="record of an earlier search"):
            Experiment(tmp_path)(lambda other=other: other.set_search_properties("loss", "min", SPACE))


class Named(MultiNASSearch):
    """A searcher with an attribute of its own."""

    def __init__(self, name, **arguments):
        super().__init__(**arguments)
        self.name = name


def test_subclasses_pickles_and_copies_keep_what_they_hold_and_copies_share_no_record(tmp_path):
    search = made(kind=Named, name=["mine"])
    search.add_evaluated_point({"a": 1, "net": {"b": 0, "c": 0}}, -1.0, complexity=1.0)
    begun = [Experiment(tmp_path)(lambda each=each: begin(each)) for each in (search, copy.copy(search))]
    begun += [Experiment(tmp_path)(lambda: begin(copy.deepcopy(search)))]
    assert len({each.record_path for each in begun}) == 3
    for each in begun:
        assert type(each) is Named
        assert each.name == ["mine"]
        assert load_run(each.record_path).evaluations["id"].tolist() == [-1, 0]
    assert begun[1].name is search.name is not begun[2].name
    again = pickle.loads(pickle.dumps(search))
    assert (again.name, again._place.search_id) == (search.name, search._place.search_id)


def begin(search):
    search.set_search_properties("loss", "min", SPACE)
    run_trials(search, 1)
    return search


def resumed(tmp_path, start, later, space=None):
    """A searcher of other arguments that resumes a record."""
    search = made(num_trials=6, record_path=str(tmp_path / "record"), **{"num_distributions": None, **start})
    again = MultiNASSearch(complexity="size", **later)
    again.restore(saved(search, tmp_path))
    if space is not None:
        again.set_search_properties("loss", "min", space)
    run_trials(again, 4, 6)
    return again


@pytest.mark.parametrize(
    "start",
    [
        {"num_distributions": 4, "margin_scale": 0.7},
        {"coefficients": [0.0, 0.3, 1.0]},
        {"targets": [12.0, 24.0]},
        {"reuse_results": True, "memory": 2, "recorded_complexities": ["loss2"]},
        {"optimizer": "screened", "optimizer_options": {"alpha": 2.0}},
    ],
)
def test_a_searcher_of_defaults_resumes_with_the_settings_of_the_record(tmp_path, start):
    again = resumed(tmp_path, start, {})
    assert again._settings.identity() == load_run(again.record_path).config["settings"]
    identity = again._settings.identity()
    assert {name: identity[name] for name in start if name in identity} == {
        name: value for name, value in start.items() if name in identity
    }
    assert holds(SimpleNamespace(path=again.record_path)).num_evaluations >= 10  # a repeated one is a row too


def test_other_targets_are_taken_since_the_distributions_do_not_depend_on_them(tmp_path):
    again = resumed(tmp_path, {"targets": [12.0, 24.0]}, {"targets": [15.0, 25.0, 34.0]})
    assert again.best_configs()["target"].tolist() == [15.0, 25.0, 34.0]


@pytest.mark.parametrize(
    ("later", "space", "problem"),
    [
        (
            {"num_distributions": 3},
            None,
            r"num_distributions was 2, is 3, .* begin a new search and give it the trials",
        ),
        ({"coefficients": [0.0, 1.0]}, None, r"coefficients was None, is \[0.0, 1.0\]"),
        ({"memory": 3}, None, "memory was 0, is 3"),
        ({"recorded_complexities": ["time"]}, None, "complexities was"),
        ({}, {**SPACE, "a": tune.choice([1, 2, 3, 4])}, r"differs in a: .* since what was drawn has its density"),
    ],
)
def test_what_cannot_be_resumed_exactly_says_why(tmp_path, later, space, problem):
    with pytest.raises(StateError, match=problem):
        resumed(tmp_path, {"num_distributions": 2}, later, space)
