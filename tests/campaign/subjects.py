"""What the faults befall: a search, and the commands that follow it. A subject is started until it is finished."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multinas_ray.export.card import CARD_FILE
from multinas_ray.runs import load_run, verify_run
from multinas_ray.selection import load_family
from tests.campaign.faults import FAULTS, LATER_FAULTS
from tests.campaign.processes import Command
from tests.inputs.records import chosen_record

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "support" / "tiny_search.py"
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",
    "COLUMNS": "200",
}
WARMUP_ROUNDS, SEARCH_ROUNDS, NUM_NETWORKS = 60, 60, 3
SEARCH_FLAGS = ["--warmup-rounds", f"{WARMUP_ROUNDS}", "--search-rounds", f"{SEARCH_ROUNDS}"]
SEARCH_FLAGS += ["--checkpoint-interval-seconds", "2", "--blocks-in-flight", "2"]


class Search:
    """A search of the digits, by one of the two plans, which begins anew after it is finished."""

    faults = FAULTS

    def __init__(self, disk: Path, rng: np.random.Generator) -> None:
        self.disk, self.folder = disk, disk / "tiny"
        self.rng = rng
        self.plan = self._drawn_plan()
        self.has_begun = False

    def __str__(self) -> str:
        return f"search {self.plan}"

    def _drawn_plan(self) -> str:
        return "--no-train-during-search" if self.rng.random() < 0.5 else "--train-during-search"

    def start(self) -> Command:
        """Start the search, or go on with it."""
        flags = ["--resume"] if (self.folder / "sessions").exists() else []
        self.has_begun = True
        words = [sys.executable, str(TINY), "--storage", str(self.disk), *SEARCH_FLAGS, self.plan, *flags]
        return Command(words, ENVIRONMENT, self.folder, self.disk)

    def go_on(self) -> None:
        """What comes after the end: another search."""
        shutil.rmtree(self.folder)
        self.plan = self._drawn_plan()
        self.has_begun = False

    def check(self, output: str) -> None:
        """Check the finished run. Its picture may be missing if this was told."""
        run = load_run(self.folder)
        assert run.is_finished
        number = SEARCH_ROUNDS * int(run.config["optimizer"]["samples_per_update"])
        assert len(run.evaluations) == number
        assert run.evaluations["id"].is_unique
        assert run.evaluations["tell_order"].tolist() == list(range(number))
        check_verified(self.folder)
        lost = [note for note in verify_run(self.folder).notes if "whose figures are lost" in note]
        assert lost or run.rounds["round"].tolist() == list(range(WARMUP_ROUNDS + SEARCH_ROUNDS))
        check_networks(self.folder)
        is_told = re.search("[Dd]rawing pareto.png|draws the picture", output)
        assert is_told or (self.folder / "pareto.png").exists()


class Later:
    """Selection, retraining and export, one after the other, of a run whose search is finished."""

    faults = LATER_FAULTS
    label = "others"

    def __init__(self, disk: Path, rng: np.random.Generator) -> None:
        self.disk = disk
        self.folder = chosen_record(disk)
        self.verbs = ["select", "retrain", "export"]
        self.has_begun = False

    def __str__(self) -> str:
        return self.verbs[0]

    def start(self) -> Command:
        """Give the command, or give it again."""
        self.has_begun = True
        flags = {
            "select": ["--max", "params=20000,10000", "--candidates", "60", "--label", self.label],
            "retrain": ["--label", self.label, "--epochs", "12", "--batch-size", "64"],
            "export": ["--label", self.label, "--no-onnx"],
        }
        words = [sys.executable, "-m", "multinas_ray", self.verbs[0], str(self.folder), *flags[self.verbs[0]]]
        return Command(words, ENVIRONMENT, self.folder, self.disk)

    def go_on(self) -> None:
        """The next command, or the first again."""
        self.has_begun = False
        self.verbs.pop(0)
        if not self.verbs:
            shutil.rmtree(self.folder / "families")
            self.verbs = ["select", "retrain", "export"]

    def check(self, output: str) -> None:
        """Check what the command has made."""
        check_verified(self.folder)
        family = check_networks(self.folder, self.label)
        if self.verbs[0] != "select":
            assert family["retrained_path"].notna().all()
            assert (family["retrained_epochs"] == 12).all()
            for path in family["retrained_path"]:
                torch.load(self.folder / "families" / self.label / path, weights_only=True)
        if self.verbs[0] == "export":
            for network in family["network"]:
                check_export(self.folder / "families" / self.label / "networks" / str(network) / "export")


def check_verified(folder: Path) -> None:
    found = verify_run(folder)
    assert found.holds, found.summary()


def check_networks(folder: Path, label: str | None = None) -> Any:
    """The networks and their weights are there, and nothing unfinished."""
    found = load_family(str(folder), label)
    assert len(found.architectures)
    for path in found.architectures["weights_path"]:
        torch.load(Path(found.path) / path, weights_only=True)
    assert [each for each in folder.rglob("*.tmp*") if not {"tune", "train"} & {*each.parts}] == []
    return found.architectures


def check_export(folder: Path) -> None:
    card = (folder / CARD_FILE).read_text()
    for file in folder.iterdir():
        assert file.name in card or file.name == CARD_FILE, file
    torch.export.load(folder / "model.pt2").module()(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
