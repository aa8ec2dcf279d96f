"""A campaign of faults at random moments: `pytest -m campaign tests/campaign`, with MULTINAS_FAULTS and MULTINAS_SEED.

Each trial draws a plan, a fault and a moment of a search, lets it befall the search, and resumes it up to three times.
Every fourth trial has a second fault during the first --resume. A line is printed for each: pytest -s shows it.
"""

import os
import re
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from multinas_ray.runs import load_run, verify_run
from tests.campaign.faults import FAULTS, disk_of_its_own
from tests.support.search_process import SearchProcess

NUM_FAULTS, SEED = int(os.environ.get("MULTINAS_FAULTS", "100")), int(os.environ.get("MULTINAS_SEED", "0"))
WARMUP_ROUNDS, SEARCH_ROUNDS = 40, 40
FLAGS = ["--warmup-rounds", f"{WARMUP_ROUNDS}", "--search-rounds", f"{SEARCH_ROUNDS}"]
FLAGS += ["--checkpoint-interval-seconds", "2"]
RESUMES, END_SECONDS, GONE_SECONDS = 3, 420.0, 30.0
DURATION_SECONDS = float(os.environ.get("MULTINAS_DURATION", "40"))
"""How long an undisturbed search takes on this machine: moments are drawn from it."""

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(2400)]


def ended(search: SearchProcess) -> str:
    """Wait for the end of the driver and of its processes; returns what it has printed."""
    family = search.family()
    output, _ = search.process.communicate(timeout=END_SECONDS)
    left = psutil.wait_procs(family, timeout=GONE_SECONDS)[1]
    assert not left, f"left behind after {GONE_SECONDS:.0f} s: {left}\n{output}"
    return output


def is_well_told(output: str) -> bool:
    """Whether the driver said what happened without a trace of Python."""
    return "Traceback (most recent call last)" not in output


def check_record(run_path: Path) -> None:
    run = load_run(run_path)
    assert run.is_finished
    number = SEARCH_ROUNDS * int(run.config["optimizer"]["samples_per_update"])
    assert len(run.evaluations) == number
    assert run.evaluations["id"].is_unique
    assert run.evaluations["tell_order"].tolist() == list(range(number))
    found = verify_run(run_path)
    assert found.holds, found.summary()
    lost = [note for note in found.notes if "whose figures are lost" in note]
    rounds = WARMUP_ROUNDS + SEARCH_ROUNDS
    assert lost or run.rounds["round"].tolist() == list(range(rounds))
    for network in run.architectures["weights_path"]:
        assert (run_path / network).stat().st_size > 0
    assert (run_path / "pareto.png").exists()
    assert [each for each in run_path.rglob("*.tmp") if "tune" not in each.parts] == []


@pytest.mark.parametrize("number", range(NUM_FAULTS))
def test_a_search_survives(tmp_path: Path, number: int) -> None:
    rng = np.random.default_rng((SEED, number))
    name = list(FAULTS)[int(rng.integers(len(FAULTS)))]
    moment = float(rng.uniform(0.0, DURATION_SECONDS))
    plan = "--no-train-during-search" if rng.random() < 0.5 else "--train-during-search"
    told, outputs = f"#{number} {name} after {moment:.1f} s, {plan}", []
    with disk_of_its_own(tmp_path / "disk"):
        storage = tmp_path / "disk"
        for start in range(RESUMES + 1):
            flags = ["--resume"] if (storage / "tiny" / "sessions").exists() else []
            search = SearchProcess(storage, *FLAGS, plan, *flags)
            if start == 0 or (start == 1 and number % 4 == 3):
                if start == 1:
                    name, moment = list(FAULTS)[int(rng.integers(len(FAULTS)))], float(rng.uniform(0, DURATION_SECONDS))
                    told += f"; then {name} after {moment:.1f} s"
                befall(search, name, moment, rng)
            outputs.append(ended(search))
            told += f"; exit {search.process.returncode}"
            if search.process.returncode == 0:
                break
        print(f"\n{told}: {errors_of(outputs)}", flush=True)
        assert search.process.returncode == 0, "\n".join([told, *outputs])
        assert all(map(is_well_told, outputs)), "\n".join([told, *outputs])
        check_record(search.run_path)


def befall(search: SearchProcess, name: str, moment: float, rng: np.random.Generator) -> None:
    deadline = time.monotonic() + moment
    while time.monotonic() < deadline and search.process.poll() is None:
        time.sleep(0.05)
    FAULTS[name](search, rng)


def errors_of(outputs: list[str]) -> list[str]:
    return [line for output in outputs for line in re.findall(r"error: .*", output)]
