"""The check for GPUs, run whole and tiny on the CPU, and what becomes of a part that fails or cannot be done."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from experiments.gpu_check import __main__ as gpu_check
from experiments.gpu_check import choice, parity
from experiments.gpu_check.bench import SMALL_GROUP, Bench
from experiments.gpu_check.findings import Finding
from experiments.gpu_check.measuring import host_waits
from experiments.gpu_check.options import PARTS

Check = Callable[..., tuple[int, dict[str, dict[str, Any]]]]


@pytest.fixture
def check(tmp_path) -> Check:
    """Runs parts on the CPU; returns the exit status and the lines by their parts."""

    def run(*parts: str) -> tuple[int, dict[str, dict[str, Any]]]:
        out = tmp_path / "results" / "check.jsonl"
        flags = ["--device", "cpu", "--tiny", "--out", str(out), *(["--only", *parts] if parts else [])]
        status = gpu_check.main(flags)
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        return status, {line["part"]: line for line in lines}

    return run


@pytest.mark.slow
def test_every_part_runs_on_a_cpu(check):
    status, lines = check()
    assert list(lines) == list(PARTS)
    assert {name: line["why"] for name, line in lines.items() if line["why"]} == {
        "graphs": ["CUDA graphs need a GPU"],
    }
    assert {line["outcome"] for name, line in lines.items() if name != "graphs"} == {"ok"}
    assert lines["graphs"]["outcome"] == "skipped"
    assert status == 0
    assert lines["choice"]["figures"]["refused passes"] == 2
    assert lines["rounds"]["figures"]["host waits"] == 0
    assert lines["training"]["figures"]["weight step / plain"] > 0


def test_a_part_that_raises_is_told_and_the_next_goes_on(check, monkeypatch, capsys):
    def broken(bench: Bench) -> Finding:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(parity, "parity", broken)
    monkeypatch.setattr(parity, "shards", lambda bench: Finding({}, ["the losses differ"]))
    status, lines = check("environment", "parity", "shards", "graphs")
    assert status == 1
    assert [line["outcome"] for line in lines.values()] == ["ok", "failed", "failed", "skipped"]
    assert lines["parity"]["why"] == ["RuntimeError: the device is gone"]
    assert "in broken" in lines["parity"]["figures"]["where"][-1]
    assert lines["shards"]["why"] == ["the losses differ"]
    assert "4 parts, 2 failed: parity, shards" in capsys.readouterr().out


def test_a_part_without_its_package_is_skipped(check, monkeypatch):
    def lacking(bench: Bench) -> Finding:
        raise ModuleNotFoundError("No module named 'timm.optim'", name="timm.optim")

    monkeypatch.setattr(parity, "environment", lacking)
    status, lines = check("environment")
    assert status == 0
    assert lines["environment"]["outcome"] == "skipped"
    assert lines["environment"]["why"] == ["the package timm.optim is not installed"]


def test_passes_that_are_not_halved_are_a_fault(check, monkeypatch):
    monkeypatch.setattr(choice, "LARGEST_PASS", SMALL_GROUP)
    status, lines = check("choice")
    assert status == 1
    assert lines["choice"]["why"] == ["passes were refused 0 times, not 2"]


def test_values_that_the_host_needs_are_listed_with_their_place():
    with host_waits(torch.device("cpu")) as places:
        values = torch.ones(3) * 2
        float(values.sum())
        values.nonzero()
    assert [place.split(": ")[1] for place in places] == ["_local_scalar_dense", "nonzero"]
    assert all("test_gpu_check.py" in place for place in places)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_not_there_is_an_error_in_one_line(capsys):
    assert gpu_check.main(["--tiny"]) == 2
    assert "device must be one that torch finds here, got cuda" in capsys.readouterr().err
