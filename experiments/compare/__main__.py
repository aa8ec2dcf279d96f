"""Compares ways to find K networks with one budget: NAS-Bench-Macro's space, CIFAR-10 at a reduced size.

  deepest     nothing is trained: the network of most blocks in the last tenth of each target's FLOPs (its slice)
  prior       nothing is trained: the network of the slice that the prior of untrained networks ranks first
  random      a supernet trained on uniform subnets (strictly fair, as all warm-ups), and random networks of the slices
  spos        the same supernet, then evolution for each target (Guo et al., ECCV 2020)
  ours        one search of K targets in FLOPs; the last 40 % of the weight steps draw from its distributions
  ours-first  the same on the uniform supernet, whose weights are trained first
  separate    K separate searches of one target each, each with a K-th of the budget
  full        K separate searches, each with the whole budget: K times the cost (only where it is named)

All but the first two come with the prior beside the losses too, such as random-prior. The budget is a number of
training steps of one subnet and of evaluations of one subnet on one batch of validation images, the same for all;
random needs no evaluations before the last choice and has so many more networks in its pool. The last choice is that of
the package for every method: successive halving of a pool of about 300 networks for each target.

Two measures, by the table's full trainings: how well all networks of a slice are ranked (Kendall's tau, and the regret
of the ten ranked first), and the hypervolume of the K networks' true errors and FLOPs, as a share of what the truly
best within the targets have.

Writes to --out: compare.parquet (a row for each method and seed), rankings.parquet, compare.md, compare.csv,
compare.png, and costs.png: the hypervolume against the training, also of the folders named by --beside. Each piece of
work is kept when it is done, and searches resume where they were: the same command resumes after any end. What
compare.parquet, rankings.parquet and settings.json tell is not done again either: a copy of these three goes on
elsewhere. Needs pip install -e ".[compare]"; run it from the repository's folder, as
python -m experiments.compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.compare.options import CompareOptions
from multinas_ray.commands.script import Script

if TYPE_CHECKING:
    from rich.console import Console

COMPARE = Script(description=str(__doc__), settings=CompareOptions, program="python -m experiments.compare")


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""

    def run(options: CompareOptions, console: Console) -> None:
        from experiments.compare.working import run  # here, since it loads what --help does not need

        run(options, console)

    return COMPARE.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
