"""Damaged files of a run's networks are named by `verify`, which needs no torch for it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from multinas_ray.errors import StorageError
from multinas_ray.runs import (
    RetrainingRecord,
    list_checksums,
    load_config,
    load_run,
    verify_run,
    write_finished,
    write_retraining,
)
from multinas_ray.runs.family_files import family_problems
from multinas_ray.runs.retrained import write_training
from tests.support.chosen_run import LARGE, SMALL, write_candidates, write_chosen_run, write_family

SELECT = "choose the networks again by `multinas-ray select RUN`"
TRAIN = "train the network anew by `multinas-ray retrain RUN --overwrite`"
EXPORT = "write it again by `multinas-ray export RUN`"
WEIGHTS = {
    "supernet.pt": "where a checkpoint is left, resuming writes it again",
    "networks/0/weights.pt": SELECT,
    "networks/1/retrained.pt": TRAIN,
    "families/small/networks/0/weights.pt": SELECT,
}
OTHERS = {
    "networks/0/architecture.json": SELECT,
    "families/small/networks/0/architecture.json": SELECT,
    "networks/1/retraining.json": "train the network anew by `multinas-ray retrain RUN`",
    "networks/1/training.parquet": TRAIN,
    "networks/1/export/model.onnx": EXPORT,
    "networks/1/export/README.md": EXPORT,
    "networks/1/export/SHA256SUMS": EXPORT,
    "candidates.parquet": SELECT,
    "families/small/candidates.parquet": SELECT,
    "families/small/architectures.parquet": SELECT,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a family of its own and another; one network is trained and exported."""
    run = Path(write_chosen_run(tmp_path_factory.mktemp("runs"), [SMALL, LARGE]))
    shutil.copytree(run, run / "families" / "small")
    write_family(str(run / "families" / "small"), [SMALL])
    for folder, architectures in ((run, [SMALL, LARGE]), (run / "families" / "small", [SMALL])):
        write_candidates(str(folder), architectures)
        for number, architecture in enumerate(architectures):
            described = json.dumps({"indices": list(architecture)})
            (folder / "networks" / str(number) / "architecture.json").write_text(described)
    for name in WEIGHTS:
        torch.save({"a": torch.ones(1000)}, run / name)
    network = run / "networks" / "1"
    write_retraining(network, RetrainingRecord(architecture=LARGE, recipe={}))
    write_training(
        network, [{"epoch": 1, "learning_rate": 0.1, "train_loss": 1.0, "images_per_second": 1, "seconds": 1}]
    )
    (network / "export").mkdir()
    contents = {"model.onnx": bytes(range(256)), "README.md": b"A network.\n"}
    for name, content in {**contents, "SHA256SUMS": list_checksums(contents)}.items():
        (network / "export" / name).write_bytes(content)
    assert family_problems(run, load_config(run)) == []
    return run


@pytest.fixture
def run_path(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def problems(run_path: Path) -> list[str]:
    return family_problems(run_path, load_config(run_path))


@pytest.mark.parametrize("how", ["cut", "zeros", "empty"])
@pytest.mark.parametrize(("name", "remedy"), [*WEIGHTS.items(), *OTHERS.items()])
def test_a_damaged_file_is_named_with_its_remedy(run_path: Path, name: str, remedy: str, how: str) -> None:
    file = run_path / name
    content = file.read_bytes()
    file.write_bytes({"cut": content[: len(content) // 2], "zeros": bytes(len(content)), "empty": b""}[how])
    (told,) = problems(run_path)
    assert str(file) in told
    assert told.endswith(remedy)


@pytest.mark.parametrize("name", [*WEIGHTS, "networks/1/export/model.onnx"])
def test_a_single_changed_byte_is_noticed(run_path: Path, name: str) -> None:
    file = run_path / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (told,) = problems(run_path)
    assert told.startswith(str(file))


def test_networks_are_those_of_the_table_and_of_the_candidates(run_path: Path) -> None:
    (run_path / "networks" / "0" / "architecture.json").write_text(json.dumps({"indices": list(LARGE)}))
    write_candidates(str(run_path / "families" / "small"), [LARGE])
    own, other = problems(run_path)
    assert "architecture.json does not describe the network of its family's table" in own
    assert f"the networks of {run_path / 'families' / 'small'} are not the chosen ones of its candidates" in other


def test_an_exported_file_that_is_gone_is_missed_and_a_list_of_other_folders_is_damaged(run_path: Path) -> None:
    export = run_path / "networks" / "1" / "export"
    (export / "model.onnx").unlink()
    assert problems(run_path) == [f"{export / 'model.onnx'} is missing: {EXPORT}"]
    (export / "SHA256SUMS").write_bytes(list_checksums({"../weights.pt": b""}))
    assert problems(run_path) == [f"{export / 'SHA256SUMS'} is damaged: {EXPORT}"]


def test_the_list_is_one_that_other_tools_check(run_path: Path) -> None:
    folder = run_path / "networks" / "1" / "export"
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"README.md: OK\nmodel.onnx: OK\n"


UNREADABLE = [
    *("networks/0/weights.pt", "networks/1/retraining.json", "networks/1/export/SHA256SUMS"),
    *("networks/0/architecture.json", "candidates.parquet"),
]


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_no_damage(run_path: Path, name: str) -> None:
    (run_path / name).unlink()
    (run_path / name).symlink_to("/proc/self/mem")  # there, and the system refuses to read it
    with pytest.raises(StorageError):
        problems(run_path)


def test_weights_may_be_missing(run_path: Path) -> None:
    for name in WEIGHTS:
        (run_path / name).unlink()
    assert problems(run_path) == []


def test_a_record_with_damaged_files_does_not_hold(finished_run: str, tmp_path: Path) -> None:
    run_path = shutil.copytree(finished_run, tmp_path / "run")
    assert verify_run(run_path).holds
    (run_path / "supernet.pt").write_bytes(b"x")
    found = verify_run(run_path)
    assert [problem for problem in found.problems if "supernet.pt is damaged" in problem]
    assert not found.holds


def test_networks_that_are_missing_after_the_end_are_told(whole: Path, run_path: Path) -> None:
    write_finished(run_path, {"num_evaluations": 0})
    assert not [each for each in verify_run(run_path).notes if "has ended, but" in each]
    (run_path / "architectures.parquet").unlink()
    assert load_run(run_path).is_finished
    assert [each for each in verify_run(run_path).notes if "architectures.parquet is missing" in each]


def test_no_torch_is_loaded_for_it(run_path: Path) -> None:
    text = (
        "import sys; from multinas_ray.runs import load_config; from multinas_ray.runs.family_files import "
        f"family_problems; run = {str(run_path)!r}; assert family_problems(run, load_config(run)) == []; "
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", text], check=False).returncode == 0
