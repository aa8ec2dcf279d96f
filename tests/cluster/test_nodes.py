"""What is asked of every node, and what is said when nodes do not fit together. No Ray."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from multinas_ray.cluster import NodeFacts, check_nodes, check_other_nodes, check_versions, describe_nodes, nodes
from multinas_ray.errors import RunError

FINE = NodeFacts(
    address="10.0.0.1",
    versions={"python": "3.11.7", "ray": "2.60.0", "torch": "2.14.1"},
    storage_problem=None,
    sees_images=True,
    gpu_bytes=[],
)


@pytest.fixture
def answers(monkeypatch):
    """Makes the cluster's nodes answer these facts; returns what they were asked."""
    asked = []

    def answer(*facts):
        def probe_all(storage, marker, data_path):
            assert Path(marker).exists()
            asked.append((storage, marker, data_path))
            return list(facts)

        monkeypatch.setattr(nodes, "_probe_all", probe_all)
        return asked

    return answer


def test_nodes_that_fit_together(tmp_path, answers):
    asked = answers(FINE, replace(FINE, address="10.0.0.2"))
    assert len(check_nodes(str(tmp_path / "runs"), "images")) == 2
    ((storage, marker, data_path),) = asked
    assert storage == str(tmp_path / "runs")
    assert data_path == "images"
    assert not Path(marker).exists()
    assert list(Path(storage).iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"versions": {**FINE.versions, "torch": "2.13.0"}},
            "the same version of torch, got 2.13.0 on 10.0.0.2 and 2.14.1 on 10.0.0.1: install",
        ),
        (
            {"versions": {**FINE.versions, "ray": None}},
            "the same version of ray, got None on 10.0.0.2 and 2.60.0 on 10.0.0.1",
        ),
        ({"storage_problem": "not there"}, "but 10.0.0.2 cannot (not there): give a folder"),
        ({"sees_images": False}, "but 10.0.0.2 does not: put them on a shared disk"),
    ],
)
def test_a_node_that_does_not_fit_is_named(tmp_path, answers, changes, text):
    answers(FINE, replace(FINE, address="10.0.0.2", **changes))
    with pytest.raises(RunError, match=re.escape(text)):
        check_nodes(str(tmp_path), None)


@pytest.mark.parametrize(("alive", "is_asked"), [((True,), False), ((True, False), False), ((True, True), True)])
def test_other_nodes_are_asked_where_there_are_any(tmp_path, answers, monkeypatch, alive, is_asked):
    asked = answers(FINE)
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": each} for each in alive])
    check_other_nodes(str(tmp_path), "/photos")
    assert [data_path for _, _, data_path in asked] == ["/photos"] * is_asked


def test_one_node_fits_itself():
    check_versions([FINE])


def test_nodes_are_described_in_a_few_lines():
    rows = dict(describe_nodes([replace(FINE, gpu_bytes=[24 * 10**9]), FINE]))
    assert rows["nodes"].startswith("2; ")
    assert rows["GPUs"] == "1, 24.0 GB the smallest"
    assert "torch 2.14.1" in rows["software"]
