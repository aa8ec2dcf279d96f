"""A family that one search found against one network that is scaled in width, on CIFAR-10 at 32x32.

For each target of the run, networks are compared that have at most its multiply-adds:

  searched   the network that the run chose
  scaled     MobileNetV2 (Sandler et al., CVPR 2018) of the greatest width that fits, with the strides of the search
  untrained  the network of the last tenth of the target that figures of untrained networks rank first: what costs
             nothing in the same space

All are trained from fresh weights by the same recipe on all training images, with the same seeds, and tested once.

python experiments/cifar10.py --preset laptop --data DIR
python -m experiments.scaled --run runs/cifar10 --images-folder DIR

Writes to --out: networks.parquet and space.json (what is compared), trainings.parquet (a row for each training),
scaled.csv (means over the seeds with 95 % intervals by Student's t, and paired differences) and scaled.png. Each
training is kept when it is done: the same command goes on after any end. A copy of the first three and settings.json as
--out goes on elsewhere, without the run. Needs pip install -e ".[compare]"; run it from the repository's folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.scaled.options import ScaledOptions
from multinas_ray.commands.script import Script

if TYPE_CHECKING:
    from rich.console import Console

SCALED = Script(description=str(__doc__), settings=ScaledOptions, program="python -m experiments.scaled")


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""

    def run(options: ScaledOptions, console: Console) -> None:
        from experiments.scaled.working import run  # here, since it loads what --help does not need

        run(options, console)

    return SCALED.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
