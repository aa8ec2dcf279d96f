"""The cores that decoding may use: those that are left to the process, shared by the workers of a node. And memory."""

import os
import subprocess
import sys

import pytest

from multinas_ray.data import DataConfig, available_memory_bytes, config, machine

AFFINITY = hasattr(os, "sched_setaffinity")


@pytest.mark.skipif(not AFFINITY, reason="this system has no affinity")
def test_a_process_that_is_bound_to_one_core_uses_one() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from multinas_ray.data import usable_cores; print(usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize(("workers", "processes"), [(1, 12), (2, 6), (5, 2), (40, 1)])
def test_workers_of_a_node_share_its_cores(monkeypatch: pytest.MonkeyPatch, workers: int, processes: int) -> None:
    monkeypatch.setattr(config, "usable_cores", lambda: 12)
    photos = DataConfig(source="folder", path="photos", in_memory=False)
    assert photos.shared_by(workers).decode_processes == processes


def test_a_number_that_was_given_and_a_source_that_decodes_nothing_stay_as_they_are() -> None:
    photos = DataConfig(source="folder", path="photos", in_memory=False, decode_processes=7)
    assert photos.shared_by(3) == photos
    assert DataConfig(source="digits").shared_by(3) == DataConfig(source="digits")


def test_the_memory_available_is_the_machines_or_less():
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    available = available_memory_bytes()
    assert available is None or 0 < available <= total


def test_files_that_a_container_only_keeps_in_memory_are_free(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    for name, text in (
        ("memory.max", "2000\n"),
        ("memory.current", "1900\n"),
        ("memory.stat", "anon 5\ninactive_file 700\n"),
    ):
        (tmp_path / name).write_text(text)
    assert available_memory_bytes() == 800
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory_bytes() != 800
