"""Copies of a family, for a training by another recipe."""

from pathlib import Path

import pytest

from multinas_ray.errors import StateError
from multinas_ray.runs import Retrained, record_retrained
from multinas_ray.selection import copy_family, family_labels, load_family
from tests.support.chosen_run import LARGE, SMALL, write_chosen_run


def test_a_copy_has_the_networks_and_none_of_their_trainings(tmp_path):
    run_path = write_chosen_run(tmp_path, [SMALL, LARGE])
    original = load_family(run_path)
    record_retrained(run_path, {0: Retrained(loss=0.5, accuracy=0.75, epochs=3, seconds=1.0)})
    copied = copy_family(run_path, None, "longer")
    assert copied.path == f"{run_path}/families/longer"
    assert copied.architectures["architecture"].tolist() == original.architectures["architecture"].tolist()
    assert copied.architectures["retrained_path"].isna().all()
    for path in original.architectures["weights_path"].dropna():
        assert Path(copied.path, path).read_bytes() == Path(run_path, path).read_bytes()
    assert family_labels(run_path) == ["longer"]


def test_a_copy_stays_as_it_is_with_its_trainings(tmp_path):
    run_path = write_chosen_run(tmp_path, [SMALL, LARGE])
    copied = copy_family(run_path, None, "longer")
    record_retrained(copied.path, {0: Retrained(loss=0.5, accuracy=0.75, epochs=3, seconds=1.0)})
    again = copy_family(run_path, None, "longer")
    assert again.architectures["retrained_epochs"][0] == 3
    with pytest.raises(StateError, match="has no family 'none'"):
        copy_family(run_path, "none", "other")
