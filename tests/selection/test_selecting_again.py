"""Choosing again where networks have been retrained: nothing is lost without being asked for."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from multinas_ray.errors import StateError
from multinas_ray.runs import Retrained, RetrainingRecord, record_retrained, write_retraining
from multinas_ray.selection import load_family, select_networks
from multinas_ray.selection.scores import Score
from tests.selection.conftest import quiet


@pytest.fixture
def retrained(finished):
    """The networks of the finished run, each trained alone."""
    path, networks = Path(finished.run_path), load_family(finished.run_path).architectures
    result = Retrained(loss=0.5, accuracy=0.75, epochs=3, seconds=1.0)
    for network, architecture in zip(networks["network"], networks["architecture"], strict=True):
        folder = path / f"networks/{network}"
        (folder / "retrained.pt").write_text("")
        write_retraining(folder, RetrainingRecord(architecture=architecture, recipe={}, result=result))
    record_retrained(finished.run_path, dict.fromkeys(networks["network"], result))
    return load_family(finished.run_path).architectures


def by_size(self, rung, row):
    """Scores that choose other networks than those of `Actors`."""
    return Score(float(self.cost([row])[0]), 0.5, images=rung.images)


@pytest.mark.slow
def test_equal_choices_again_keep_what_was_retrained_and_others_are_refused(finished, retrained, monkeypatch):
    path = Path(finished.run_path)
    assert (select_networks(finished.run_path, console=quiet()).architectures["retrained_accuracy"] == 0.75).all()
    monkeypatch.setattr("multinas_ray.selection.selecting.EvaluatorGroup.score", by_size)
    message = r"would replace the networks (#\d(, )?)+ of .*small and delete their retraining: give --label NAME"
    with pytest.raises(StateError, match=message):
        select_networks(finished.run_path, console=quiet())
    assert (load_family(finished.run_path).architectures["retrained_accuracy"] == 0.75).all()
    elsewhere = select_networks(finished.run_path, label="again", console=quiet())
    assert elsewhere.architectures["coefficient"].notna().all()
    replaced = select_networks(finished.run_path, overwrite=True, console=quiet()).architectures
    stays = (replaced["architecture"] == retrained["architecture"]).tolist()
    assert not all(stays)
    assert replaced["retrained_path"].notna().tolist() == stays
    assert [(path / f"networks/{network}/retrained.pt").exists() for network in retrained["network"]] == stays


@pytest.mark.slow
def test_a_selection_that_is_killed_while_it_writes_loses_no_training(finished, retrained, monkeypatch):
    def die(self, work):
        raise KeyboardInterrupt

    with monkeypatch.context() as patches:
        patches.setattr("multinas_ray.selection.selecting.EvaluatorGroup.finish", die)
        with pytest.raises(KeyboardInterrupt):
            select_networks(finished.run_path, console=quiet())
    with pytest.raises(StateError, match="no chosen networks yet"):
        load_family(finished.run_path)
    with monkeypatch.context() as patches:
        patches.setattr("multinas_ray.selection.selecting.EvaluatorGroup.score", by_size)
        shutil.rmtree(Path(finished.run_path) / "evaluated")  # of the killed one, whose scores would count
        with pytest.raises(StateError, match="delete their retraining"):
            select_networks(finished.run_path, console=quiet())
        shutil.rmtree(Path(finished.run_path) / "evaluated")
    again = select_networks(finished.run_path, console=quiet()).architectures
    columns = [name for name in again if str(name).startswith("retrained_")]
    pd.testing.assert_frame_equal(again[["architecture", *columns]], retrained[["architecture", *columns]])
