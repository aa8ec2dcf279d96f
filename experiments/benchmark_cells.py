"""Measures how near a search over numbers comes to the best, on a function whose minima are known.

The loss is a quadratic of numbers in [0, 1]; the first is the complexity, and where the others are best depends on it.
For each coefficient the best evaluation's loss + coefficient * complexity is compared with its minimum. Printed are
medians over the seeds of the mean over the K coefficients, of random search and of the distributions with each number
of cells at the start, split or not.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from multinas_ray.commands.script import Script
from multinas_ray.core import MultiDistributionOptimizer, splitting
from multinas_ray.settings import NonNegativeInt, PositiveInt, checked
from multinas_ray.spaces import FloatArray

STEPS = 2**52
SMALLEST, LARGEST = 0.1, 2.0
"""The coefficients."""


@checked
@dataclass(frozen=True, kw_only=True)
class CellOptions:
    """The sizes of the comparison."""

    distributions: PositiveInt = 4
    """K."""
    variables: PositiveInt = 5
    """D."""
    after: tuple[PositiveInt, ...] = (100, 300, 1000)
    """Evaluations after which the answers are compared."""
    cells: tuple[PositiveInt, ...] = (4, 8, 16)
    """Cells of each number at the start."""
    memory: NonNegativeInt = 0
    """Earlier updates whose samples are used again; with any, an update has 4 K samples in place of 2 K."""
    seeds: PositiveInt = 7
    """Searches of each kind."""


def losses_of(values_ND: FloatArray) -> FloatArray:
    """The loss of each row; its complexity is the first number."""
    first_N1, others_NV = values_ND[:, :1], values_ND[:, 1:]
    losses_N: FloatArray = (1 - first_N1[:, 0]) ** 2 + 4 * ((others_NV - 0.3 - 0.2 * first_N1) ** 2).mean(axis=1)
    return losses_N


def excesses(values_ND: FloatArray, options: CellOptions) -> list[float]:
    """How far the best of the first evaluations are above the minimum."""
    coefficients_K = np.geomspace(SMALLEST, LARGEST, options.distributions)
    best_K = np.maximum(1 - coefficients_K / 2, 0.0)
    least_K = (1 - best_K) ** 2 + coefficients_K * best_K
    scores_KN = losses_of(values_ND) + coefficients_K[:, None] * values_ND[:, 0]
    return [float((scores_KN[:, :count].min(axis=1) - least_K).mean()) for count in options.after]


def searched(options: CellOptions, seed: int, cells: int) -> FloatArray:
    """The numbers that a search evaluates."""
    optimizer = MultiDistributionOptimizer(
        num_categories=[cells] * options.variables,
        num_values=[STEPS] * options.variables,
        coefficients=np.geomspace(SMALLEST, LARGEST, options.distributions).tolist(),
        memory=options.memory,
        samples_per_update=options.distributions * (4 if options.memory else 2),
        margin_scale=0.5,
        seed=seed,
    )
    parts: list[FloatArray] = []
    while sum(map(len, parts)) < max(options.after):
        asked = optimizer.ask()
        parts.append(asked.architectures / STEPS)
        optimizer.tell(asked, losses_of(parts[-1]), parts[-1][:, 0])
    return np.concatenate(parts)


def rows(options: CellOptions) -> Iterator[tuple[str, FloatArray]]:
    """The name of each kind of search, and its median excesses."""
    shape = max(options.after), options.variables
    drawn = [excesses(np.random.default_rng(seed).random(shape), options) for seed in range(options.seeds)]
    yield "random", np.median(drawn, axis=0)
    most = splitting.MOST_CELLS
    for cells in options.cells:
        for kind, limit in (("split", most), ("never split", cells)):
            splitting.MOST_CELLS = limit
            found = [excesses(searched(options, seed, cells), options) for seed in range(options.seeds)]
            splitting.MOST_CELLS = most
            yield f"{cells} cells, {kind}", np.median(found, axis=0)


def run(options: CellOptions, console: Console) -> None:
    """Measure and print."""
    print(f"evaluations: {', '.join(map(str, options.after))}")
    for name, excess in rows(options):
        print(f"{name:>24}: {' '.join(f'{value:.4f}' for value in excess)}", flush=True)


BENCHMARK = Script(description=str(__doc__), settings=CellOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    return BENCHMARK.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
