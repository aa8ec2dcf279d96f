"""A whole run, made by the real optimiser on a task whose answer is known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from multinas_ray.core import DistributionSettings, make_optimizer
from multinas_ray.runs import (
    Results,
    RunRecord,
    RunSession,
    architectures_schema,
    candidates_schema,
    write_config,
    write_finished,
)
from multinas_ray.storage import make_table, resolve, write_parquet

NUM_CATEGORIES = [3, 4, 2, 4, 3, 4]
COEFFICIENTS = [0.0, 0.1, 0.3, 1.0]
SAMPLES = 8


@dataclass
class SyntheticRun:
    """Writes what a search would write, round by round."""

    path: Path
    num_rounds: int = 40
    rounds_per_part: int = 13
    memory: int = 2
    with_accuracy: bool = True

    def __post_init__(self):
        rng = np.random.default_rng(7)
        self.params = np.where(
            np.arange(4) < np.array(NUM_CATEGORIES)[:, None], np.sort(rng.uniform(0.02, 1, (6, 4)), axis=1), 0
        )
        self.params *= 2e6 * np.logspace(-1.5, 0, 6)[:, None]
        self.scale = self.params.max(axis=1).sum()
        settings = DistributionSettings(
            num_categories=tuple(NUM_CATEGORIES),
            coefficients=tuple(COEFFICIENTS),
            samples_per_update=SAMPLES,
            memory=self.memory,
            margin_scale=0.5,
            cost_table=self.params / self.scale,
        )
        self.settings = settings.to_dict()
        self.optimizer = make_optimizer(settings, seed=3)
        self.noise = np.random.default_rng(11)

    def start(self):
        self.config = {
            "kind": "oneshot",
            "seed": 3,
            "costs": ["params", "flops"],
            "labels": [[str(choice) for choice in range(count)] for count in NUM_CATEGORIES],
            "optimizer": self.settings,
            "num_evaluations": self.num_rounds * SAMPLES,
            "complexity": {"name": "params", "scale": self.scale},
        }
        write_config(self.path, self.config)
        self.session = RunSession.begin(str(self.path))
        self.record = RunRecord(self.session, self.config)
        return self

    def step(self, round_number):
        """Write a round; every few rounds further files of the tables are begun, as a resumed search does."""
        if round_number and round_number % self.rounds_per_part == 0:
            self.record.flush()
            before, self.record = self.record, RunRecord(self.session, self.config)
            self.record.go_on(
                num_ordered=self.optimizer.num_told,
                last_update=self.optimizer.num_updates,
                elapsed_seconds=before.elapsed_seconds,
            )
        samples = self.optimizer.ask(SAMPLES)
        params = self.params[np.arange(6), samples.architectures].sum(axis=1)
        losses = 0.3 + 0.9 * (params / self.scale + 0.02) ** -0.3 - 0.9 + self.noise.normal(0, 0.05, SAMPLES)
        if round_number == 5:
            losses[2] = np.inf
        results = Results(
            ids=samples.ids.tolist(),
            architectures=samples.architectures.tolist(),
            draws=samples,
            trial_id=f"trial_{round_number // 16}",
            losses=losses.tolist(),
            complexities=(params / self.scale).tolist(),
            costs={"params": params.tolist(), "flops": (params * 30).tolist()},
            accuracies=np.exp(-np.clip(losses, 0.02, None)).tolist() if self.with_accuracy else None,
            round=round_number,
            block=round_number // 16,
        )
        self.record.append(results)
        figures = {"round": round_number, "block": results.block, "trial_id": results.trial_id, "train_loss": None}
        figures |= {"num_evaluations": SAMPLES, "compute_seconds": 0.02, "reduced_bytes": 0, "saved_bytes": 0}
        self.record.append_round(figures)
        self.optimizer.tell(samples, losses, params / self.scale)
        self.record.note_update(self.optimizer, round_number)
        return results

    def finish(self, **totals):
        self.record.flush()
        modes = self.optimizer.modes()[::-1]
        params = self.params[np.arange(6), modes].sum(axis=1)
        loss = 0.3 + 0.9 * (params / self.scale + 0.02) ** -0.3 - 0.9
        count = len(modes)
        columns = {
            "network": np.arange(count),
            "origin": ["mode"] * count,
            "distribution": np.arange(count)[::-1],
            "coefficient": np.array(COEFFICIENTS[::-1]),
            "target": [None] * count,
            "limits": [None] * count,
            "architecture": modes,
            "architecture_readable": [" ".join(map(str, mode)) for mode in modes],
            "params": params,
            "flops": params * 30,
            "complexity": params / self.scale,
            "mode_probability": self.optimizer.diagnostics()["mode_probability"][::-1],
            "evaluation_id": [None] * count,
            "supernet_loss": loss,
            "supernet_accuracy": np.exp(-loss),
            "supernet_test_accuracy": np.exp(-loss) - 0.01,
            "retrained_loss": loss * 0.7,
            "retrained_accuracy": np.exp(-loss * 0.7),
            "weights_path": [None] * count,
            "retrained_epochs": [None] * count,
            "retrained_path": [None] * count,
        }
        table = make_table(architectures_schema(["params", "flops"]), columns)
        write_parquet(resolve(self.path).join("architectures.parquet"), table)
        self._write_candidates(columns)
        total = self.num_rounds * SAMPLES
        write_finished(self.path, {"num_evaluations": total, "num_restarts": 0, **totals})

    def _write_candidates(self, columns):
        """Each network as its only candidate."""
        count = len(columns["network"])
        shared = ("network", "origin", "architecture", "architecture_readable", "params", "flops", "complexity")
        candidates = {
            **{name: columns[name] for name in (*shared, "evaluation_id")},
            "recorded_loss": [None] * count,
            "rung": [1] * count,
            "images": [500] * count,
            "loss": columns["supernet_loss"],
            "accuracy": columns["supernet_accuracy"],
            "objective": columns["supernet_loss"],
            "combined_rank": [1.0] * count,
            "within_budget": [True] * count,
            "chosen": [True] * count,
            "reason": ["chosen: the only one"] * count,
        }
        table = make_table(candidates_schema(["params", "flops"]), candidates)
        write_parquet(resolve(self.path).join("candidates.parquet"), table)

    def write(self):
        self.start()
        for round_number in range(self.num_rounds):
            self.step(round_number)
        self.finish()
        return self


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """A finished run; tests that change one copy it first."""
    return SyntheticRun(tmp_path_factory.mktemp("runs") / "finished").write().path


@pytest.fixture
def make_run():
    return SyntheticRun
