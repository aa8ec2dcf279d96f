"""Search on a large space with a fixed evaluator: the mobile space for CIFAR-10, 1e13 architectures.

K = 4 networks are wanted, each within a target: the 2, 20, 50 and 85 % quantiles of the FLOPs of uniformly drawn
architectures. Every method may evaluate 4,000 networks in all, those with a target at a time a quarter for each; a
network that was evaluated before is free. The answer for a target is the best evaluated network within it. Measured is
how far the answers' losses lie above the best there are, as a mean over the targets.

The evaluator "made-up" has losses exp(-gain), a gain being a sum over blocks and over pairs of neighbours that grows
less and less with the FLOPs; its best networks are known exactly, by dynamic programming. Each seed has other gains.
The evaluator "supernet" has the losses of subnets on 256 validation images of CIFAR-10 at 16x16, by a supernet of a
quarter of the width that is trained once for each seed, uniformly, with 1,560 steps; the best is there the best that
any method found.

Each method is also made with the same prior of untrained networks (docs/METHOD.md), which decides what is proposed
first and costs no evaluation: random networks come in its order, the best of ten times as many; the first generation of
evolution is chosen so; ours starts its distributions from it. On the made-up evaluator it is the depth alone.

Writes to a folder of the evaluator in --out: large_space.csv (a row for each method, seed and number of evaluations),
large_space.md (medians over the seeds with 95 % bootstrap intervals, and paired differences from evolution) and
large_space.png. Each piece of work is kept when it is done: the same command goes on after any end.
Needs pip install -e ".[compare]"; run it from the repository's folder, as python -m experiments.large_space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.large_space.options import LargeSpaceOptions
from multinas_ray.commands.script import Script

if TYPE_CHECKING:
    from rich.console import Console

LARGE_SPACE = Script(description=str(__doc__), settings=LargeSpaceOptions, program="python -m experiments.large_space")


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""

    def run(options: LargeSpaceOptions, console: Console) -> None:
        from experiments.large_space.working import run  # here, since it loads what --help does not need

        run(options, console)

    return LARGE_SPACE.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
