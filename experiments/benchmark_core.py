"""Times one update of the core against the one matrix product that it cannot do without.

Alternates, in one process: the bare product of (K, N) weights with (N, D * C) one-hot samples, a whole
`tell` that makes one update, and an `ask` of N. Prints median and quartiles of each, and of the ratio.
"""

import argparse
import time

import numpy as np

from multinas_ray import MultiDistributionOptimizer
from multinas_ray.core import one_hot


def measure(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Returns the times of every repeat, in seconds: `product`, `update` and `ask`, each (repeats,)."""
    rng = np.random.default_rng(args.seed)
    optimizer = MultiDistributionOptimizer(
        num_categories=[args.categories] * args.variables,
        coefficients=np.linspace(0.0, 1.0, args.distributions),
        samples_per_update=args.samples,
        seed=args.seed,
        memory=args.memory,
    )
    weights = rng.random((args.distributions, args.samples))
    costs = rng.random((args.variables, args.categories))
    times: dict[str, list[float]] = {"product": [], "update": [], "ask": []}
    for repeat in range(args.warmup + args.repeats):
        start = time.perf_counter()
        proposals = optimizer.ask()
        ask_seconds = time.perf_counter() - start
        samples = one_hot(proposals.architectures, args.categories)
        complexities = costs[np.arange(args.variables), proposals.architectures].mean(axis=1)
        losses = rng.random(args.samples) - complexities
        start = time.perf_counter()
        optimizer.tell(proposals, losses, complexities)
        update_seconds = time.perf_counter() - start
        start = time.perf_counter()
        np.matmul(weights, samples)
        product_seconds = time.perf_counter() - start
        if repeat >= args.warmup:
            times["product"].append(product_seconds)
            times["update"].append(update_seconds)
            times["ask"].append(ask_seconds)
    return {name: np.array(values) for name, values in times.items()}


def spread(values: np.ndarray, unit: str) -> str:
    """Returns median and quartiles in words."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"median {median:.2f} {unit}, quartiles {low:.2f} to {high:.2f}"


def main() -> None:
    """Parses the sizes, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--distributions", type=int, default=64, help="K")
    parser.add_argument("--samples", type=int, default=1024, help="N, a multiple of K")
    parser.add_argument("--variables", type=int, default=100, help="D")
    parser.add_argument("--categories", type=int, default=10, help="C")
    parser.add_argument("--memory", type=int, default=0, help="earlier updates whose samples are used again")
    parser.add_argument("--repeats", type=int, default=30, help="timed rounds")
    parser.add_argument("--warmup", type=int, default=3, help="untimed rounds before them")
    parser.add_argument("--seed", type=int, default=0, help="of losses and draws")
    args = parser.parse_args()
    times = measure(args)
    print(f"K={args.distributions} N={args.samples} D={args.variables} C={args.categories} memory={args.memory}")
    for name, values in times.items():
        print(f"{name:>16}: {spread(1e3 * values, 'ms')}")
    print(f"{'update / product':>16}: {spread(times['update'] / times['product'], 'times')}")


if __name__ == "__main__":
    main()
