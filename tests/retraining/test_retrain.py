"""Retraining without Ray: what is trained, what is kept, what is refused. The trainings themselves are stand-ins."""

import dataclasses
import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from multinas_ray.__main__ import main
from multinas_ray.cluster import Trackers
from multinas_ray.errors import ConfigError, DataError, MissingPackageError, StateError
from multinas_ray.retraining import RetrainConfig, retrain_networks
from multinas_ray.retraining.distillation import Distillation
from multinas_ray.retraining.running import Retraining
from multinas_ray.runs import CHECKPOINT_FILE, Retrained, load_retraining, write_retraining, write_training
from multinas_ray.selection import load_family
from tests.support.chosen_run import LARGE, SMALL, write_chosen_run, write_family
from tests.support.narrow import present

RECIPE = RetrainConfig(epochs=3, batch_size=64)
ROW = {"epoch": 3, "learning_rate": 0.0, "train_loss": 1.0, "validation_loss": None, "validation_accuracy": None}


@pytest.fixture
def run_path(tmp_path):
    return write_chosen_run(tmp_path, [SMALL, LARGE, LARGE])


@pytest.fixture
def trained(monkeypatch):
    """Replaces the trials: each network gets files at once. Holds what was trained, by call."""
    calls = []

    def train(self, jobs, callbacks):
        calls.append(sorted(jobs))
        for network, job in jobs.items():
            result = Retrained(loss=1.0 + network, accuracy=0.9 - network / 10, epochs=job.config.epochs, seconds=1.0)
            for folder in job.folders:
                (Path(folder) / "retrained.pt").write_bytes(f"{network}".encode())
                write_training(folder, [{**ROW, "images_per_second": 1.0, "seconds": 1.0}])
                write_retraining(folder, dataclasses.replace(job.record, result=result))

    monkeypatch.setattr(Retraining, "_train", train)
    return calls


def retrain(run_path, config=RECIPE, **arguments):
    return retrain_networks(run_path, config, console=Console(file=io.StringIO()), **arguments).architectures


def test_each_architecture_is_trained_once_and_recorded_for_all_its_networks(run_path, trained):
    before = load_family(run_path).architectures
    rows = retrain(run_path)
    assert trained == [[0, 1]]
    assert rows["retrained_accuracy"].tolist() == [0.9, 0.8, 0.8]
    assert rows["retrained_loss"].tolist() == [1.0, 2.0, 2.0]
    assert rows["retrained_epochs"].tolist() == [3, 3, 3]
    assert rows["retrained_path"].tolist() == [f"networks/{network}/retrained.pt" for network in range(3)]
    assert all((Path(run_path) / path).exists() for path in rows["retrained_path"])
    others = [name for name in rows if not name.startswith("retrained_")]
    pd.testing.assert_frame_equal(rows[others], before[others])


def test_what_is_finished_is_not_trained_again(run_path, trained):
    assert retrain(run_path, networks=[0])["retrained_path"].notna().tolist() == [True, False, False]
    assert retrain(run_path)["retrained_path"].notna().all()
    machine = dataclasses.replace(RECIPE, num_workers=2, max_failures=0)
    retrain(run_path, machine)
    assert trained == [[0], [1]]


def test_a_result_that_the_table_missed_is_recorded_by_the_next_call(run_path, trained):
    retrain(run_path)
    write_family(run_path, [SMALL, LARGE, LARGE])  # as before the training
    assert retrain(run_path)["retrained_accuracy"].tolist() == [0.9, 0.8, 0.8]
    assert len(trained) == 1


def test_another_recipe_is_refused_unless_it_is_to_replace_the_old_one(run_path, trained):
    retrain(run_path, networks=[0])
    other = dataclasses.replace(RECIPE, epochs=5)
    with pytest.raises(
        StateError, match=r"networks/0 was trained with another recipe \(epochs: recorded 3, now 5\).*--overwrite"
    ):
        retrain(run_path, other)
    (Path(run_path) / "networks" / "0" / CHECKPOINT_FILE).touch()
    rows = retrain(run_path, other, overwrite=True, networks=[0])
    assert trained == [[0], [0]]
    assert rows["retrained_epochs"][0] == 5
    assert not (Path(run_path) / "networks" / "0" / CHECKPOINT_FILE).exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_teacher_is_not_trained_by_its_own_answers(run_path, trained, monkeypatch, overwrite):
    retrain(run_path)
    monkeypatch.setattr(Distillation, "start", lambda *_: None)  # the stand-ins have no real weights
    taught = dataclasses.replace(RECIPE, loss="distillation", loss_options={"teacher": 2})
    with pytest.raises(
        ConfigError,
        match=r"the loss 'distillation' needs the trained weights of network 2, so .*: give --networks 0$",
    ):
        retrain(run_path, taught, overwrite=overwrite)
    with pytest.raises(ConfigError, match="choose another teacher or loss"):
        retrain(run_path, taught, overwrite=overwrite, networks=[1])  # it is the same network as 2
    assert load_family(run_path).architectures["retrained_path"].notna().all()
    assert (Path(run_path) / "networks/2/retrained.pt").read_bytes() == b"1"
    retrain(run_path, taught, overwrite=True, networks=[0])
    assert trained == [[0, 1], [0]]


def test_overwritten_figures_are_gone_before_the_training_starts(run_path, trained, monkeypatch):
    retrain(run_path)
    seen = []

    def die(self, jobs, callbacks):
        seen.append(load_family(run_path).architectures["retrained_path"].notna().tolist())
        raise KeyboardInterrupt

    monkeypatch.setattr(Retraining, "_train", die)
    with pytest.raises(KeyboardInterrupt):
        retrain(run_path, overwrite=True, networks=[1])
    assert seen == [[True, False, False]]
    assert present(load_retraining(f"{run_path}/networks/1")).result is None


def export(run_path, network):
    """What an export leaves; returns its folder."""
    folder = Path(run_path) / "networks" / str(network) / "export"
    folder.mkdir()
    (folder / "parity.json").write_text("{}")
    return folder


def test_a_networks_exported_files_go_with_the_weights_they_were_made_from(run_path, trained, monkeypatch):
    retrain(run_path)
    exports = [export(run_path, network) for network in range(3)]
    retrain(run_path)  # nothing is left to train
    assert all(folder.exists() for folder in exports)
    monkeypatch.setattr(Retraining, "_train", lambda *arguments: 1 / 0)  # as if killed before any new weights
    with pytest.raises(ZeroDivisionError):
        retrain(run_path, overwrite=True, networks=[1])
    assert [folder.exists() for folder in exports] == [True, False, False]  # 1 and 2 are of one architecture


def test_a_network_that_another_selection_made_equal_takes_over_the_files(run_path, trained):
    retrain(run_path)
    write_family(run_path, [SMALL, SMALL, LARGE])
    shutil.rmtree(Path(run_path) / "networks" / "1")  # as a selection does with networks that do not stay
    (Path(run_path) / "networks" / "1").mkdir()
    exported = export(run_path, 1)  # of the supernet's weights
    rows = retrain(run_path)
    assert not exported.exists()
    assert len(trained) == 1
    assert rows["retrained_accuracy"].tolist() == [0.9, 0.9, 0.8]
    assert (Path(run_path) / "networks" / "1" / "retrained.pt").read_bytes() == b"0"


def test_the_files_of_another_architecture_are_not_taken_for_a_network(run_path, trained):
    retrain(run_path)
    write_family(run_path, [LARGE, SMALL])
    stale = Path(run_path) / "networks" / "0" / CHECKPOINT_FILE
    stale.touch()
    rows = retrain(run_path)
    assert not stale.exists()
    assert trained == [[0, 1], [0, 1]]
    assert rows["retrained_path"].notna().all()


def test_what_cannot_be_trained_is_told(run_path, trained):
    with pytest.raises(ConfigError, match=r"has the networks \[0, 1, 2\], not \[0, 3\]: give numbers of its networks"):
        retrain(run_path, networks=[3, 0])
    with pytest.raises(ConfigError, match="not \\[\\]"):
        retrain(run_path, networks=[])
    with pytest.raises(
        DataError, match=r"batch_size must be at most the 1438 training images, got 1439: set it to 1438 or less"
    ):
        retrain(run_path, RetrainConfig(batch_size=1439))
    with pytest.raises(DataError, match="set it to 1150 or less"):
        retrain(run_path, RetrainConfig(batch_size=1439, train_on="train"))
    with pytest.raises(StateError, match="has no family 'small'"):
        retrain(run_path, label="small")
    assert not trained


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_a_missing_tracker_is_told_before_anything_starts(run_path, trained, tracker, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, tracker, None)
    with pytest.raises(MissingPackageError, match=rf'need the package {tracker}.*"multinas-ray\[tracking\]"'):
        retrain(run_path, trackers=Trackers(**{tracker: "somewhere"}))
    assert not trained


def test_the_file_that_a_training_writes_trains_by_the_same_recipe(run_path, trained, monkeypatch):
    recipe = RetrainConfig(epochs=3, batch_size=64, gradient_clip_norm=float("inf"), init="supernet", max_failures=-1)
    retrain(run_path, recipe)
    seen = []
    monkeypatch.setattr(Retraining, "run", lambda self, *, overwrite: seen.append(self.config))
    file = f"{run_path}/retraining/config.yaml"
    assert main(["retrain", run_path, "--config", file]) == 0
    assert main(["retrain", run_path, "--config", file, "--epochs", "4"]) == 0
    assert seen == [recipe, dataclasses.replace(recipe, epochs=4)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("epoch: 3", "RetrainConfig: epoch is unknown; is epochs meant?"),
        ("epochs: 2.5", "RetrainConfig: epochs must be a whole number, got 2.5"),
        ("use_gpu: no", "RetrainConfig: use_gpu must be True or False, got 'no'"),
        ("momentum: .nan", "RetrainConfig: momentum must be finite, got nan"),
        ("init: imagenet", "RetrainConfig: init must be one of scratch, supernet, got 'imagenet'"),
        ("epochs: {", "is not readable as YAML"),
    ],
)
def test_a_bad_file_of_a_recipe_is_one_line(run_path, trained, tmp_path, capsys, text, told):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    assert main(["retrain", run_path, "--config", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"multinas-ray: error: {file}")
    assert told in error
    assert error.count("\n") == 1
    assert not trained


OWN_LOSS = """
from dataclasses import dataclass
from typing import ClassVar

from multinas_ray.errors import StateError
from multinas_ray.retraining import TrainingLoss, register_loss
from multinas_ray.settings import checked


@register_loss
@checked
@dataclass(frozen=True, kw_only=True)
class Needy(TrainingLoss):
    kind: ClassVar[str] = "needy"
    file: str

    def start(self, space, task, family_path, device):
        raise StateError(f"{family_path} has no {self.file}: write it first")
"""


def test_a_loss_of_an_imported_module_tells_at_once_what_it_lacks(run_path, trained, tmp_path, capsys):
    module = tmp_path / "own_loss_of_this_test.py"
    module.write_text(OWN_LOSS)
    flags = ["--import", str(module), "--loss", "needy", "--loss-options", "file=answers.npy"]
    assert main(["retrain", run_path, *flags]) == 2
    assert f"{run_path} has no answers.npy: write it first" in capsys.readouterr().err
    assert not trained
