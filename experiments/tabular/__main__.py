"""Compares ways to search two exhaustively trained spaces, where the exact answer is known.

Each search may evaluate a number of architectures. After each evaluation it is measured by its share of the exact
front's hypervolume (reference point: the 90 % quantile of the error over the table, and the largest cost). Only
DISTINCT architectures count: for every method, asking for a known one again is free. A search that repeats itself ends
after asking for ten times its budget; Optuna's searches, which become slower with every request, end after twice
(NSGA-II), half of it (TPE) and 15 % of it (GP). A search that has ended keeps its last value.

It writes to --out: searches/ (a Parquet file per search, a row per evaluation), evaluations.parquet (all rows),
summary.parquet (medians and 90 % intervals over the seeds), comparison.png, and answers.png, which compares the K
answers with those of K separate ASNG runs. Searches that exist already are read; they are made again if the code or the
libraries on which they depend have changed. It needs pip install -e ".[compare]"; run it from the repository's folder,
as python -m experiments.tabular.

experiments/tabular/quick.yaml, given by --config, makes a comparison of a minute: 400 evaluations, 3 seeds, without
Optuna's slow TPE and GP. --tune makes one search of each kind through real Ray Tune runs instead, a trial for each
evaluation, repeats included; its results are in tune/ below --out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.tabular.options import TabularOptions
from multinas_ray.commands.script import Script

if TYPE_CHECKING:
    from rich.console import Console

TABULAR = Script(description=str(__doc__), settings=TabularOptions, program="python -m experiments.tabular")


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""

    def run(options: TabularOptions, console: Console) -> None:
        from experiments.tabular.working import run  # here, since it loads what --help does not need

        run(options, console)

    return TABULAR.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
