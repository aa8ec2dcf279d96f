"""What is asked of every node, and what is said when nodes do not fit together. No Ray."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from multinas_ray.cluster import NodeFacts, check_versions, describe_nodes, nodes
from multinas_ray.errors import RunError
from multinas_ray.oneshot.memory_estimate import estimate_memory
from multinas_ray.oneshot.preflight import check_cluster, check_gpus
from multinas_ray.runs import gigabytes

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


def test_nodes_that_fit_together(make_config, answers):
    config = make_config()
    asked = answers(FINE, replace(FINE, address="10.0.0.2"))
    assert len(check_cluster(config)) == 2
    ((storage, marker, data_path),) = asked
    assert storage == config.storage_path
    assert data_path is None
    assert not Path(marker).exists()
    assert list(Path(storage).iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"versions": {**FINE.versions, "torch": "2.13.0"}},
            "nodes differ: torch is 2.13.0 on 10.0.0.2 and 2.14.1 on 10.0.0.1; install the same on all",
        ),
        ({"versions": {**FINE.versions, "ray": None}}, "nodes differ: ray is None on 10.0.0.2 and 2.60.0 on 10.0.0.1"),
        ({"storage_problem": "not there"}, "the node 10.0.0.2 cannot use the storage"),
        ({"sees_images": False}, "the node 10.0.0.2 does not see the images at"),
    ],
)
def test_a_node_that_does_not_fit_is_named(make_config, answers, changes, text):
    answers(FINE, replace(FINE, address="10.0.0.2", **changes))
    with pytest.raises(RunError, match=re.escape(text)):
        check_cluster(make_config())


def test_one_node_fits_itself():
    check_versions([FINE])


def test_a_gpu_too_small_for_one_subnet_is_told_what_it_needs(make_config, answers):
    config = make_config(use_gpu=True, num_workers=2, min_workers=1)
    needed = estimate_memory(config.space, config.training, 1).least
    large, small = (replace(FINE, gpu_bytes=[2 * needed, memory]) for memory in (needed, needed - 1))
    check_gpus(config, [large])
    answers(large, replace(small, address="10.0.0.2"))
    with pytest.raises(RunError, match=re.escape(f"1 worker(s) need {gigabytes(needed)} each; use more workers")):
        check_cluster(config)


def test_nodes_are_described_in_a_few_lines():
    rows = dict(describe_nodes([replace(FINE, gpu_bytes=[24 * 10**9]), FINE]))
    assert rows["nodes"].startswith("2, ")
    assert rows["GPUs"] == "1, 24.0 GB the smallest"
    assert "torch 2.14.1" in rows["software"]
