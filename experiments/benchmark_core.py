"""Compares the time of one update of the core with that of the one matrix product that it needs.

It alternates, in one process: the bare product of (K, N) weights with (N, D * C) one-hot samples, a whole
`tell` that makes one update, and an `ask` of N. It prints median and quartiles of each, and of the ratio.
"""

import time
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from multinas_ray import MultiDistributionOptimizer
from multinas_ray.commands.script import Script
from multinas_ray.core import one_hot
from multinas_ray.settings import NonNegativeInt, PositiveInt, checked


@checked
@dataclass(frozen=True, kw_only=True)
class CoreOptions:
    """The sizes, and how often they are timed."""

    distributions: PositiveInt = 64
    """K."""
    samples: PositiveInt = 1024
    """N, a multiple of K."""
    variables: PositiveInt = 100
    """D."""
    categories: PositiveInt = 10
    """C."""
    memory: NonNegativeInt = 0
    """Earlier updates whose samples are used again."""
    repeats: PositiveInt = 30
    """Timed rounds."""
    warmup: NonNegativeInt = 3
    """Untimed rounds before them."""
    seed: NonNegativeInt = 0
    """Of losses and draws."""


def measure(options: CoreOptions) -> dict[str, np.ndarray]:
    """Returns the times of every repeat, in seconds: `product`, `update` and `ask`, each (repeats,)."""
    rng = np.random.default_rng(options.seed)
    optimizer = MultiDistributionOptimizer(
        num_categories=[options.categories] * options.variables,
        coefficients=np.linspace(0.0, 1.0, options.distributions),
        samples_per_update=options.samples,
        seed=options.seed,
        memory=options.memory,
    )
    weights = rng.random((options.distributions, options.samples))
    costs = rng.random((options.variables, options.categories))
    times: dict[str, list[float]] = {"product": [], "update": [], "ask": []}
    for repeat in range(options.warmup + options.repeats):
        start = time.perf_counter()
        proposals = optimizer.ask()
        ask_seconds = time.perf_counter() - start
        samples = one_hot(proposals.architectures, options.categories)
        complexities = costs[np.arange(options.variables), proposals.architectures].mean(axis=1)
        losses = rng.random(options.samples) - complexities
        start = time.perf_counter()
        optimizer.tell(proposals, losses, complexities)
        update_seconds = time.perf_counter() - start
        start = time.perf_counter()
        np.matmul(weights, samples)
        product_seconds = time.perf_counter() - start
        if repeat >= options.warmup:
            times["product"].append(product_seconds)
            times["update"].append(update_seconds)
            times["ask"].append(ask_seconds)
    return {name: np.array(values) for name, values in times.items()}


def spread(values: np.ndarray, unit: str) -> str:
    """Returns median and quartiles as text."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"median {median:.2f} {unit}, quartiles {low:.2f} to {high:.2f}"


def run(options: CoreOptions, console: Console) -> None:
    """Measure and print."""
    times = measure(options)
    print(
        f"K={options.distributions} N={options.samples} D={options.variables} C={options.categories} "
        f"memory={options.memory}"
    )
    for name, values in times.items():
        print(f"{name:>16}: {spread(1e3 * values, 'ms')}")
    print(f"{'update / product':>16}: {spread(times['update'] / times['product'], 'times')}")


BENCHMARK = Script(description=str(__doc__), settings=CoreOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    return BENCHMARK.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
