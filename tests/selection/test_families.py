import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import (
    Retrained,
    RetrainingRecord,
    load_run,
    load_trainings,
    network_path,
    write_config,
    write_retraining,
)
from multinas_ray.selection import family_labels, family_path, load_family
from multinas_ray.selection.choice import choose
from multinas_ray.selection.family_writing import FamilyWriter
from multinas_ray.selection.goals import Goal
from multinas_ray.selection.outcome import SearchOutcome
from multinas_ray.selection.pool import candidates_for
from multinas_ray.selection.scores import Score
from tests.support.made_up_outcome import ALL_DIFFER, COSTS, SPACE, run_of, whole_space
from tests.support.records import BARE_CONFIG

GOALS = [Goal(coefficient=0.0, distribution=0), Goal(coefficient=0.5, distribution=1)]


def falling(row):
    """A loss that is least for the largest network, and with half of the complexity added for the smallest."""
    return 1.0 - 0.03 * float(COSTS["params"]([row])[0] - 1000) / 122


@pytest.fixture
def run_path(tmp_path):
    path = str(tmp_path / "run")
    write_config(path, BARE_CONFIG)
    return path


@pytest.fixture
def write(run_path):
    """Chooses by losses that `loss` gives and writes the family; returns its writer."""

    def write(goals=GOALS, label=None, loss=falling):
        run = run_of(whole_space())
        distributions = run.distributions.assign(mode_probability=[0.1, 0.2, 0.7, 0.6])
        run = replace(run, path=run_path, distributions=distributions)
        outcome = SearchOutcome.of(run, SPACE, COSTS, ALL_DIFFER)
        candidates = candidates_for(outcome, goals, 6, 0.1, np.random.default_rng(0))
        scores = {each.architecture: Score(loss(each.architecture), 0.5) for each in candidates}
        family = choose(candidates, goals, scores)
        path = family_path(run_path, label)
        writer = FamilyWriter(path, run, outcome, "the space", family, load_trainings(path))
        writer.clear()
        writer.write([0.25 + 0.125 * each.network for each in family.networks])
        return writer

    return write


def retrain(run_path, network):
    """Train a network of the run's own family, as far as the record of its training tells."""
    architecture = load_family(run_path).architectures["architecture"].tolist()[network]
    result = Retrained(loss=0.5, accuracy=0.75, epochs=9, seconds=1.0)
    record = RetrainingRecord(architecture=tuple(architecture), recipe={}, result=result)
    write_retraining(f"{run_path}/{network_path(network)}", record)


def test_a_written_family_is_read_again(write, run_path):
    chosen = write().family
    family = load_family(run_path)
    assert family.path == run_path
    table = family.architectures
    assert table["network"].tolist() == [0, 1]
    assert table["architecture"].tolist() == [each.candidate.architecture for each in chosen.networks]
    assert table["coefficient"].tolist() == [goal.coefficient for goal in chosen.goals]
    by_goal = dict(zip(table["distribution"], table["mode_probability"], strict=True))
    assert by_goal == {0: 0.6, 1: 0.7}
    assert table["supernet_test_accuracy"].tolist() == [0.25, 0.375]
    assert table["weights_path"].tolist() == ["networks/0/weights.pt", "networks/1/weights.pt"]
    assert table["limits"].isna().all()
    assert table["retrained_path"].isna().all()
    assert family.candidates["reason"].tolist() == [each.reason for each in chosen.choices]
    assert family.candidates["architecture"].tolist() == [each.candidate.architecture for each in chosen.choices]
    winners = family.candidates[family.candidates["chosen"]]
    assert winners["loss"].tolist() == table["supernet_loss"].tolist()
    pd.testing.assert_frame_equal(load_run(run_path).architectures, table)


def test_each_network_is_described_in_json(write, run_path, tmp_path):
    (first, _) = write().family.networks
    described = json.loads((tmp_path / "run" / network_path(0) / "architecture.json").read_text())
    assert described == {
        "space": "the space",
        "indices": list(first.candidate.architecture),
        "blocks": SPACE.decode(first.candidate.architecture),
    }


def test_a_family_within_limits_lies_apart_with_its_limits(write, run_path):
    write(goals=[Goal(limits={"params": 1030.0}), Goal(limits={"params": 1100.0})], label="small")
    family = load_family(run_path, "small")
    assert family.path == f"{run_path}/families/small"
    assert [json.loads(text) for text in family.architectures["limits"]] == [{"params": 1030.0}, {"params": 1100.0}]
    assert family.architectures["coefficient"].isna().all()
    assert family_labels(run_path) == ["small"]
    with pytest.raises(
        StateError, match=r"has no family 'large', its families are: small; choose one with `multinas-ray"
    ):
        load_family(run_path, "large")


def test_goals_that_nobody_meets_have_candidates_and_no_network(write, run_path):
    write(goals=[Goal(limits={"params": 1030.0}), Goal(limits={"params": 999.0})], label="x")
    family = load_family(run_path, "x")
    assert family.architectures["network"].tolist() == [0]
    assert set(family.candidates["network"]) == {0, 1}
    assert not family.candidates[family.candidates["network"] == 1]["within_budget"].any()


def test_without_networks_it_is_told_how_to_get_them(run_path, tmp_path):
    with pytest.raises(
        StateError, match=r"has no chosen networks yet: resume its search if it has not ended, .*select"
    ):
        load_family(run_path)
    with pytest.raises(StateError, match="there is no run at"):
        load_family(str(tmp_path / "elsewhere"))


@pytest.mark.parametrize("label", ["", "../up", "a/b", ".hidden", "a b", "x" * 101])
def test_a_label_is_a_plain_folder_name(run_path, label):
    with pytest.raises(ConfigError, match="the label of a family names a folder"):
        load_family(run_path, label)


def test_retrained_figures_stay_with_networks_that_stay(write, run_path, tmp_path):
    write()
    for network in range(2):
        (tmp_path / "run" / network_path(network) / "retrained.pt").write_text("")
    retrain(run_path, 1)
    assert write().dropped() == []
    table = load_family(run_path).architectures
    assert table["retrained_accuracy"].tolist()[1] == 0.75
    assert table["retrained_epochs"].tolist()[1] == 9
    assert table["retrained_path"].isna().tolist() == [True, False]
    assert (tmp_path / "run" / network_path(1) / "retrained.pt").exists()


def test_networks_that_go_are_told_if_retrained_and_their_files_are_deleted(write, run_path, tmp_path):
    write()
    before = load_family(run_path).architectures["architecture"].tolist()
    for network in range(2):
        (tmp_path / "run" / network_path(network) / "retrained.pt").write_text("")
    retrain(run_path, 0)
    writer = write(loss=lambda row: 100.0 if row == before[0] else falling(row))
    after = load_family(run_path).architectures
    assert after["architecture"].tolist()[0] != before[0]
    assert after["architecture"].tolist()[1] == before[1]
    assert writer.dropped() == [0]
    assert after["retrained_path"].isna().all()
    assert not (tmp_path / "run" / network_path(0) / "retrained.pt").exists()
    assert (tmp_path / "run" / network_path(1) / "retrained.pt").exists()


def test_a_network_that_was_not_retrained_goes_untold(write, run_path):
    write()
    smallest = load_family(run_path).architectures["architecture"].tolist()[0]
    loss = lambda row: 100.0 if row == smallest else falling(row)  # noqa: E731
    retrain(run_path, 1)
    assert write(loss=loss).dropped() == []


def test_a_family_that_shrinks_leaves_no_old_network(write, run_path, tmp_path):
    write()
    retrain(run_path, 1)
    writer = write(goals=GOALS[1:])
    assert writer.dropped() == [1]
    assert not (tmp_path / "run" / network_path(1)).exists()
