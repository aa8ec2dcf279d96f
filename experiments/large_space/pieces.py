"""The pieces of the comparison: a method on a problem of one seed, done once and kept whole."""

# K targets, E evaluated networks

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.large_space.made_up import made_up_problem
from experiments.large_space.methods import METHODS
from experiments.large_space.options import EVALUATORS
from experiments.large_space.problem import Problem
from experiments.large_space.record import best_so_far
from experiments.large_space.supernet import supernet_problem
from experiments.parts.rows import load_rows, save_rows

BUDGETS = (250, 1_000, 4_000)
"""Evaluations in all after which methods are compared."""
CURVE_POINTS = 80
MADE_WITH = "large space 2"
"""Raised whenever a piece means something else, so that results of other versions are done again."""
PROBLEMS: dict[str, Callable[[int, Path], Problem]] = dict(
    zip(EVALUATORS, (lambda seed, out: made_up_problem(seed), supernet_problem), strict=True)
)
"""From a seed and the folder of the results to a problem."""


@dataclass(frozen=True)
class Piece:
    """One method on the problem of one seed."""

    evaluator: str
    method: str
    seed: int

    def path(self, out: Path) -> Path:
        """Where its rows lie when it is done."""
        return out / self.evaluator / f"{self.method}-seed{self.seed}.parquet"

    def rows(self, out: Path) -> pd.DataFrame | None:
        """Its rows, None if it is not done."""
        return load_rows(self.path(out), MADE_WITH)

    def __str__(self) -> str:
        return f"{self.method} seed {self.seed}"


def pieces_of(evaluator: str, methods: Sequence[str], seeds: Sequence[int]) -> list[Piece]:
    """All pieces, seed by seed, so that an early end leaves whole comparisons."""
    return [Piece(evaluator, method, seed) for seed in seeds for method in methods]


def run_piece(piece: Piece, out: Path) -> None:
    """Do one piece and keep its curve.

    Columns: `evaluations`, `target`, `loss` (least within the target so far; inf before there is one) and `best` (the
    least that there is, NaN where it is not known).
    """
    problem = PROBLEMS[piece.evaluator](piece.seed, out)
    curve_EK = best_so_far(METHODS[piece.method].search(problem, BUDGETS[-1], piece.seed), problem)
    points = np.unique(np.geomspace(10, BUDGETS[-1], CURVE_POINTS).astype(int).tolist() + list(BUDGETS))
    best_K = np.full(len(problem.targets), np.nan) if problem.best_losses is None else problem.best_losses
    frames = [
        pd.DataFrame(
            {
                "evaluations": points,
                "target": target,
                "loss": curve_EK[np.minimum(points, len(curve_EK)) - 1, k],
                "best": best_K[k],
            }
        )
        for k, target in enumerate(problem.targets)
    ]
    save_rows(pd.concat(frames, ignore_index=True), piece.path(out), MADE_WITH)


def carry_out(pieces: Sequence[Piece], out: Path, pool: Executor, show: Callable[[int, Piece | None], None]) -> None:
    """Do what is not done; `show` is told after every piece how many are done, and which was the last."""
    waiting = [piece for piece in pieces if piece.rows(out) is None]
    num_done = len(pieces) - len(waiting)
    show(num_done, None)
    futures = {pool.submit(functools.partial(run_piece, piece, out)): piece for piece in waiting}
    for future in as_completed(futures):
        future.result()
        num_done += 1
        show(num_done, futures[future])
