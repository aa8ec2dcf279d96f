"""A damaged file of a record, of either kind: every reader gives the right result, or names the file and a remedy."""

import json
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup

from multinas_ray.errors import MultiNASError
from multinas_ray.oneshot import record as record_module
from multinas_ray.report import drawings, write_report
from multinas_ray.runs import (
    ARCHITECTURES_FILE,
    CANDIDATES_FILE,
    Retrained,
    RetrainingRecord,
    Run,
    architectures_schema,
    candidates_schema,
    load_retraining,
    load_run,
    network_path,
    repair_damage,
    verify_run,
    write_retraining,
    write_training,
)
from multinas_ray.selection import load_family
from multinas_ray.storage import make_table, resolve, write_parquet
from multinas_ray.tune import MultiNASSearch, best_configs, pareto_front
from tests.oneshot.damages import DAMAGES
from tests.oneshot.recorded_search import Crash, RecordedSearch
from tests.support.pipeline import Pipeline, result_of
from tests.support.records import edit_document
from tests.support.small_search import small_config

REMEDY = re.compile(
    "restore a copy|delete (it|this line)|verify RUN --repair|use (the|that) version|multinas-ray (select|retrain) RUN|"
    "give the record_path"
)
NETWORK = network_path(0)
STATE_OF_TUNE = "searcher-state.json"
FILES = {
    "oneshot": [
        "config.json",
        "finished.json",
        "sessions/0000.json",
        "state.json",
        "evaluations/part-00000.parquet",
        "evaluations/part-00001.parquet",
        "distributions/part-00000.parquet",
        "rounds/part-00000.parquet",
        ARCHITECTURES_FILE,
        CANDIDATES_FILE,
        f"{NETWORK}/retraining.json",
        f"{NETWORK}/training.parquet",
    ],
    "oneshot killed": [
        "config.json",
        "state.json",
        "evaluations/part-00000.parquet",
        "evaluations/_journal/000000000012.jsonl",
        "distributions/part-00000.parquet",
        "rounds/part-00000.parquet",
        "rounds/_journal/000000000005.jsonl",
    ],
    "tune": [
        "config.json",
        "sessions/0000.json",
        "state.json",
        "evaluations/part-00000.parquet",
        "evaluations/_journal/000000000012.jsonl",
        "distributions/part-00000.parquet",
        STATE_OF_TUNE,
    ],
}
FOLLOW = ("config.json", "finished.json", "sessions", "state.json", "distributions", "rounds", STATE_OF_TUNE)
"""What a search that goes on needs no copy of."""


# ---- the records


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        "oneshot": finished_record(tmp_path_factory.mktemp("finished")),
        "oneshot killed": killed_record(tmp_path_factory.mktemp("killed")),
        "tune": tune_record(tmp_path_factory.mktemp("tune")),
    }


def copied(record: Path, folder: Path) -> Path:
    path = Path(shutil.copytree(record, folder / record.name))
    if (path / STATE_OF_TUNE).exists():
        edit_document(path / STATE_OF_TUNE, record_path=str(path))
    return path


def config_of(folder: Path) -> Any:
    return small_config(folder, search_rounds=6)


def kill_first_session(folder: Path) -> Any:
    """A driver that saves a snapshot after each round, and is killed after the third that evaluates."""
    config = config_of(folder)
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(record_module, "SNAPSHOT_INTERVAL_SECONDS", -1.0)
        with pytest.raises(Crash):
            RecordedSearch(config, 0, ("after observe", 4)).run()
    return config


def finished_record(folder: Path) -> Path:
    """A search of six rounds in two sessions, and what was chosen, trained and written of it."""
    config = kill_first_session(folder)
    RecordedSearch(config, 1).run().finish()
    write_family(Path(config.run_path), config)
    return Path(config.run_path)


def killed_record(folder: Path) -> Path:
    """Three rounds in Parquet with a snapshot, and two in a journal."""
    config = kill_first_session(folder)
    with pytest.raises(Crash):
        RecordedSearch(config, 1, ("before append", 7)).run()
    return Path(config.run_path)


def write_family(path: Path, config: Any) -> None:
    search_space, costs = config.space.search_space, config.costs
    architecture = [0] * search_space.num_variables
    shared: dict[str, Any] = {
        "architecture": [architecture],
        "architecture_readable": [search_space.describe(architecture)],
        **{name: [float(cost([architecture])[0])] for name, cost in costs.items()},
        "complexity": [0.1],
        "network": [0],
        "origin": ["mode"],
    }
    for file, schema_of, own in (
        (ARCHITECTURES_FILE, architectures_schema, {"supernet_accuracy": [0.5], "limits": ['{"params": 2e6}']}),
        (
            CANDIDATES_FILE,
            candidates_schema,
            {"loss": [1.0], "accuracy": [0.5], "objective": [1.0], "within_budget": [True], "chosen": [True]}
            | {"reason": ["it is the only one"], "rung": [1], "images": [9]},
        ),
    ):
        schema = schema_of(list(costs))
        columns = {name: [None] for name in schema.names} | shared | own
        write_parquet(path / file, make_table(schema, {name: columns[name] for name in schema.names}))
    row = {"epoch": 1, "learning_rate": 0.1, "train_loss": 1.0, "images_per_second": 9.0, "seconds": 2.0}
    result = Retrained(loss=1.0, accuracy=0.5, epochs=1, seconds=2.0)
    folder = resolve(path).join(NETWORK)
    write_retraining(folder, RetrainingRecord(architecture=tuple(architecture), recipe={"epochs": 1}, result=result))
    write_training(folder, [{**row, "validation_loss": None, "validation_accuracy": None}])


def tune_record(folder: Path) -> Path:
    """Twelve results in Parquet with a snapshot, and three in a journal."""
    pipeline = Pipeline(folder / "run", samples_per_update=4)
    pipeline.run(12)
    pipeline.search.save(str(folder / "run" / STATE_OF_TUNE))
    pipeline.run(3)
    return folder / "run"


# ---- readers: each gives something that two calls agree in


def tables_of(run: Run) -> dict[str, Any]:
    return {
        "kind": run.kind,
        "config": json.dumps(run.config, default=str, sort_keys=True),
        "finished": run.finished,
        **{name: getattr(run, name) for name in ("evaluations", "distributions", "rounds", "architectures")},
    }


def loaded(path: Path) -> dict[str, Any]:
    return tables_of(load_run(path))


def verified(path: Path) -> dict[str, Any]:
    found = verify_run(path)
    if not found.holds:
        raise MultiNASError("; ".join(found.problems))
    return {"updates": found.num_updates, "evaluations": found.num_evaluations, "compared": found.num_compared}


def family(path: Path) -> dict[str, Any]:
    found = load_family(str(path))
    return {"architectures": found.architectures, "candidates": found.candidates}


def trained(path: Path) -> dict[str, Any]:
    return {"record": load_retraining(path / NETWORK)}


def reported(path: Path) -> dict[str, Any]:
    page = Path(write_report(path, output=path.parent / "page.html")).read_text()
    if left_out := re.findall("Left out: ([^<]*)</p>", page):
        raise MultiNASError("; ".join(left_out))
    return {"sections": re.findall("<h2[^>]*>(.*?)</h2>", page), "tables": len(re.findall("<table", page))}


def best(path: Path) -> dict[str, Any]:
    return {"configs": best_configs(load_run(path)), "front": pareto_front(load_run(path))}


def repaired(path: Path) -> dict[str, Any]:
    """A finished run as it is resumed: damaged files are rebuilt."""
    repair_damage(path)
    run = load_run(path)
    assert verify_run(path).holds
    evaluated = run.rounds.loc[run.rounds["num_evaluations"] > 0, "round"]  # nothing else tells of the warm-up
    return {"distributions": run.distributions, "is finished": run.is_finished, "rounds": sorted(evaluated)}


def gone_on(path: Path) -> dict[str, Any]:
    """The distributions after what is on record, with which a resumed search goes on to its end."""
    search = RecordedSearch(config_of(path.parent), len(list((path / "sessions").glob("*.json"))))
    probs = search.optimizer.probs
    search.run().finish()
    found = verify_run(path)
    assert found.holds, found.summary()
    return {"probs": probs, "evaluations": found.num_evaluations}


def restored(path: Path) -> dict[str, Any]:
    """The distributions after what is on record, as a restored Tune pipeline has them; it goes on for some trials."""
    search = MultiNASSearch(record_path=str(path), complexity="size", num_distributions=2, seed=0, samples_per_update=4)
    search = pickle.loads(pickle.dumps(search))  # as Tune does
    search.restore(str(path / STATE_OF_TUNE))
    for number in range(5):
        config = search.suggest(f"new{number}")
        if number == 0:
            probs = search._search.optimizer.probs
        search.on_trial_complete(f"new{number}", result=result_of(config))
    assert search.error is None
    search.best_configs()
    found = verify_run(path)
    assert found.holds, found.summary()
    return {"probs": probs, "evaluations": found.num_evaluations}


OF_ALL: dict[str, Callable[[Path], dict[str, Any]]] = {"load_run": loaded, "verify": verified, "report": reported}
READERS = {
    "oneshot": {**OF_ALL, "load_family": family, "load_retraining": trained, "resume": repaired},
    "oneshot killed": {**OF_ALL, "resume": gone_on},
    "tune": {**OF_ALL, "best_configs": best, "resume": restored},
}
CASES = [
    (kind, file, damage, seed)
    for kind, files in FILES.items()
    for file in files
    for damage, (_, number) in DAMAGES.items()
    for seed in range(number)
    if damage != "deleted" or file == "config.json"  # a run without one of the others may never have had it
]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take most of the time."""
    nothing = drawings.Drawing(Markup(""), Markup(""))
    monkeypatch.setattr(drawings, "_drawn", lambda prefix, label, draw: nothing)


@pytest.fixture(scope="module")
def expected(records: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    """What each reader gives of a whole record."""
    nothing = drawings.Drawing(Markup(""), Markup(""))
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(drawings, "_drawn", lambda prefix, label, draw: nothing)
        return {
            (kind, name): reader(copied(records[kind], tmp_path_factory.mktemp("whole")))
            for kind, readers in READERS.items()
            for name, reader in readers.items()
        }


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    for name, value in wanted.items():
        if isinstance(value, pd.DataFrame):
            same = found[name].equals(value)
        elif isinstance(value, np.ndarray):
            same = np.array_equal(found[name], value)
        else:
            same = found[name] == value
        if not same:
            yield name


@pytest.mark.parametrize(("kind", "file", "damage", "seed"), CASES)
def test_every_reader_is_right_or_names_the_file_and_a_remedy(
    records: dict[str, Path],
    expected: dict[tuple[str, str], Any],
    tmp_path: Path,
    kind: str,
    file: str,
    damage: str,
    seed: int,
) -> None:
    for name, reader in READERS[kind].items():
        path = copied(records[kind], tmp_path / name)
        DAMAGES[damage][0](path / file, seed)
        found, told = outcome(reader, path)
        if told is not None:
            assert Path(file).name in told, f"{name}: {told}"
            assert REMEDY.search(told), f"{name}: {told}"
            is_repaired = name == "resume" and file.startswith(FOLLOW)
            assert not is_repaired, f"it could have been rebuilt: {told}"
        elif not is_line_lost(file, damage):
            assert list(differences(found, expected[kind, name])) == [], name


def outcome(reader: Callable[[Path], dict[str, Any]], path: Path) -> tuple[dict[str, Any], str | None]:
    """What a reader gives, or what it tells."""
    try:
        return reader(path), None
    except MultiNASError as error:
        return {}, str(error)


def is_line_lost(file: str, damage: str) -> bool:
    """Whether lines of a journal do not come to their ends, which is how a kill may leave them: they never counted."""
    return "_journal" in file and damage in ("empty", "cut by 1", "cut by 100", "noise")
