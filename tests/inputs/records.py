"""Small finished runs, made in this process, and what reads them."""

import contextlib
import io
import json
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from multinas_ray.__main__ import main
from multinas_ray.errors import MultiNASError
from multinas_ray.export.exporting import load_weights
from multinas_ray.export.formats import PARITY_FILE, FileParity, write_parity
from multinas_ray.oneshot import choose_and_finish
from multinas_ray.oneshot import record as record_module
from multinas_ray.report import write_report
from multinas_ray.retraining import RetrainConfig, retrain_networks
from multinas_ray.retraining import running as retraining_module
from multinas_ray.retraining.running import Retraining
from multinas_ray.runs import (
    EXPORT_FOLDER,
    RETRAINED_FILE,
    Retrained,
    RetrainingRecord,
    Run,
    Verification,
    load_retraining,
    load_run,
    network_path,
    read_training,
    record_retrained,
    repair_damage,
    verify_run,
    write_retraining,
    write_training,
)
from multinas_ray.selection import SelectConfig, load_family, open_run, select_networks
from multinas_ray.selection import selecting as selecting_module
from multinas_ray.supernets import BlockSupernet, build_subnet, load_supernet, write_supernet
from multinas_ray.tune import MultiNASSearch, best_configs, pareto_front
from tests.inputs.answers import CONTROLS
from tests.oneshot.recorded_search import Crash, RecordedSearch
from tests.selection.conftest import replace_ray
from tests.support.pipeline import Pipeline, result_of
from tests.support.records import edit_document
from tests.support.small_search import small_config

STATE_OF_TUNE = "searcher-state.json"
NORM_BATCH_SIZE = 32
RECIPE = RetrainConfig(epochs=1, batch_size=64)


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def config_of(folder: Path) -> Any:
    return small_config(folder, search_rounds=6)


# ---- the records


def kill_first_session(folder: Path) -> Any:
    """A driver that saves a snapshot after each round, and is killed after the third that evaluates."""
    config = config_of(folder)
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(record_module, "SNAPSHOT_INTERVAL_SECONDS", -1.0)
        with pytest.raises(Crash):
            RecordedSearch(config, 0, ("after observe", 4)).run()
    return config


def chosen_record(folder: Path) -> Path:
    """A search of six rounds in two sessions, and the networks that were chosen."""
    config = kill_first_session(folder)
    search = RecordedSearch(config, 1).run()
    search.record.save(search.schedule.next_round)
    write_supernet(BlockSupernet(config.space, norm_batch_size=NORM_BATCH_SIZE, seed=0), config.run_path)
    with pytest.MonkeyPatch.context() as patches:
        replace_ray(patches).cost = config.cost
        choose_and_finish(config, quiet(), restarts=1)
    path = Path(config.run_path)
    for row in load_family(config.run_path).architectures.to_dict("records"):
        (path / row["weights_path"]).parent.mkdir(parents=True, exist_ok=True)
        torch.save(build_subnet(config.space, row["architecture"], seed=1).state_dict(), path / row["weights_path"])
    return path


def finished_record(folder: Path) -> Path:
    """The same, and what was trained of it; of an exported network, the file that is read again."""
    path = chosen_record(folder)
    write_trained_network(path)
    export = path / network_path(0) / EXPORT_FOLDER
    export.mkdir()
    write_parity(export / PARITY_FILE, [FileParity("model.pt2", "torch", 9, 1e-6, 1.0, {"1": 1e-6})], 8)
    return path


def write_trained_network(path: Path) -> None:
    """The training of the first network."""
    space: Any = open_run(path).space
    place, architecture = path / network_path(0), load_family(str(path)).architectures["architecture"][0]
    torch.save(build_subnet(space, architecture, seed=2).state_dict(), place / RETRAINED_FILE)
    epoch = {
        "epoch": 1,
        "learning_rate": 0.1,
        "train_loss": 1.0,
        "images_per_second": 9.0,
        "seconds": 2.0,
    }
    write_training(place, [epoch])
    result = Retrained(loss=1.0, accuracy=0.5, epochs=1, seconds=2.0)
    write_retraining(place, RetrainingRecord(architecture=architecture, recipe=RECIPE.identity(), result=result))
    record_retrained(str(path), {0: result})


def killed_record(folder: Path) -> Path:
    """Three rounds in Parquet with a snapshot, and two in a journal."""
    config = kill_first_session(folder)
    with pytest.raises(Crash):
        RecordedSearch(config, 1, ("before append", 7)).run()
    return Path(config.run_path)


def tune_record(folder: Path) -> Path:
    """Twelve results in Parquet with a snapshot, and three in a journal."""
    pipeline = Pipeline(folder / "run", samples_per_update=4)
    pipeline.run(12)
    pipeline.search.save(str(folder / "run" / STATE_OF_TUNE))
    pipeline.run(3)
    return folder / "run"


def copied(record: Path, folder: Path) -> Path:
    path = Path(shutil.copytree(record, folder / record.name))
    if (path / STATE_OF_TUNE).exists():
        edit_document(path / STATE_OF_TUNE, record_path=str(path))
    return path


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
    """By the command; what it prints is clean."""
    printed, told = io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(told):
        status = main(["verify", str(path)])
    if status:
        raise MultiNASError((told.getvalue() or printed.getvalue().replace("\n", "; ")).rstrip("\n; "))
    lines = printed.getvalue().splitlines()
    assert not any(map(CONTROLS.search, lines)), lines
    return {"lines": [line.replace(str(path), "") for line in lines]}


def family(path: Path) -> dict[str, Any]:
    found = load_family(str(path))
    return {"architectures": found.architectures, "candidates": found.candidates}


def trained(path: Path) -> dict[str, Any]:
    place = path / network_path(0)
    return {"record": load_retraining(place), "epochs": read_training(place)}


def weights(path: Path) -> dict[str, Any]:
    """Of the supernet and of all networks."""
    opened, found = open_run(path), load_family(str(path))
    networks: list[Any] = [load_supernet(str(path), opened.space, NORM_BATCH_SIZE)]
    rows: Any = found.architectures
    for row in rows.to_dict("records"):
        kinds: Any = ("supernet", "retrained") if isinstance(row["retrained_path"], str) else ("supernet",)
        networks += [load_weights(opened, found, row, kind) for kind in kinds]
    return {"weights": [{name: each.numpy() for name, each in net.state_dict().items()} for net in networks]}


def selected(path: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patches:
        replace_ray(patches).cost = config_of(path.parent).cost
        patches.setattr(selecting_module, "check_workers", lambda *_: None)
        found = select_networks(
            str(path), SelectConfig(limits={"params": 2e4}, prior=(), candidates_per_network=10), console=quiet()
        )
    return {"architectures": found.architectures["architecture"].tolist()}


def retrained(path: Path) -> dict[str, Any]:
    """What is left to train."""
    jobs: list[int] = []
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(retraining_module, "ray_session", contextlib.nullcontext)
        patches.setattr(retraining_module, "check_workers", lambda *_: None)
        patches.setattr(Retraining, "_train", lambda self, wanted, callbacks: jobs.extend(sorted(wanted)))
        retrain_networks(str(path), RECIPE, console=quiet())
    return {"jobs": jobs}


def reported(path: Path) -> dict[str, Any]:
    page = Path(write_report(path, output=path.parent / "page.html")).read_text()
    assert not CONTROLS.search(page.replace("\n", " ").replace("\t", " "))
    if left_out := re.findall("Left out: ([^<]*)</p>", page):
        raise MultiNASError("; ".join(left_out))
    return {"sections": re.findall("<h2[^>]*>(.*?)</h2>", page), "tables": len(re.findall("<table", page))}


def best(path: Path) -> dict[str, Any]:
    return {"configs": best_configs(load_run(path)), "front": pareto_front(load_run(path))}


def repaired(path: Path) -> dict[str, Any]:
    """A finished run as it is resumed: damaged files are rebuilt."""
    repair_damage(path)
    run = load_run(path)
    checked(path)
    evaluated = run.rounds.loc[run.rounds["num_evaluations"] > 0, "round"]  # nothing else tells of the warm-up
    return {"distributions": run.distributions, "is finished": run.is_finished, "rounds": sorted(evaluated)}


def checked(path: Path) -> Verification:
    """What `verify` finds, which is an answer too where a value is absurd in a file that is whole."""
    found = verify_run(path)
    if not found.holds:
        raise MultiNASError("; ".join(found.summary().splitlines()))
    return found


def gone_on(path: Path) -> dict[str, Any]:
    """The distributions after what is on record, with which a resumed search goes on to its end."""
    search = RecordedSearch(config_of(path.parent), len(list((path / "sessions").glob("*.json"))))
    probs = search.optimizer.probs
    search.run().finish()
    return {"probs": probs, "evaluations": checked(path).num_evaluations}


def restored(path: Path) -> dict[str, Any]:
    """The distributions after what is on record, as a restored Tune pipeline has them; it goes on for some trials."""
    search = MultiNASSearch(record_path=str(path), complexity="size", num_distributions=2, seed=0, samples_per_update=4)
    search = pickle.loads(pickle.dumps(search))  # as Tune does
    search.restore(str(path / STATE_OF_TUNE))
    for number in range(5):
        config = search.suggest(f"new{number}")
        if not isinstance(config, dict):
            raise search.error or AssertionError(config)
        if number == 0:
            probs = search._search.optimizer.probs
        search.on_trial_complete(f"new{number}", result=result_of(config))
    assert search.error is None
    search.best_configs()
    return {"probs": probs, "evaluations": checked(path).num_evaluations}


Reader = Callable[[Path], dict[str, Any]]
OF_ALL: dict[str, Reader] = {"load_run": loaded, "verify": verified, "report": reported}
READERS: dict[str, dict[str, Reader]] = {
    "oneshot": {
        **OF_ALL,
        "load_family": family,
        "load_retraining": trained,
        "weights": weights,
        "select": selected,
        "retrain": retrained,
        "resume": repaired,
    },
    "oneshot killed": {**OF_ALL, "resume": gone_on},
    "tune": {**OF_ALL, "best_configs": best, "resume": restored},
}
RECORDS: dict[str, Callable[[Path], Path]] = {
    "oneshot": finished_record,
    "oneshot killed": killed_record,
    "tune": tune_record,
}


def differences(found: Any, wanted: Any, place: str = "") -> Iterator[str]:
    """Places at which two results differ."""
    if isinstance(wanted, dict):
        if set(found) != set(wanted):
            yield f"{place}: {sorted(found)}"
            return
        for name, value in wanted.items():
            yield from differences(found[name], value, f"{place}.{name}")
    elif isinstance(wanted, list) and len(found) == len(wanted):
        for index, value in enumerate(wanted):
            yield from differences(found[index], value, f"{place}[{index}]")
    elif isinstance(wanted, pd.DataFrame):
        if not found.equals(wanted):
            yield place
    elif isinstance(wanted, np.ndarray):
        if not np.array_equal(found, wanted):
            yield place
    elif found != wanted:
        yield f"{place}: {str(found)[:60]}"
