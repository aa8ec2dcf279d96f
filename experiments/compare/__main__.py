"""Compares ways to find K networks with one budget: NAS-Bench-Macro's space, CIFAR-10 at a reduced size.

  ours           one search of K = 4 targets in FLOPs; the last 40 % of the weight steps draw from its distributions
  ours-first     the same on a supernet trained on uniform subnets first, by all weight steps
  separate       4 separate searches of one target each, each with a quarter of the budget
  spos           the same uniform supernet, then evolution for each target (Guo et al., ECCV 2020)
  random         the same supernet, then the best of random architectures of 90 to 100 % of each target's FLOPs
  separate-full  4 separate searches, each with the whole budget: 4 times the cost (only where it is named)

The budget is a number of training steps of one subnet and of evaluations of one subnet on one batch of validation
images, the same for all (where a target has fewer random architectures than evaluations, random evaluates all of
them); ours-first, spos and random share one supernet. In the end every method scores 8 candidates (those that choose
from a search's record a few more, its other modes) for each target on all validation images, with
batch-normalisation statistics of their own, and chooses as a search does at its end.

Two measures by the table's full trainings: Kendall's tau between the supernet's losses and the true errors of random
architectures (mean of the supernets where there are several), and the hypervolume of the K networks' true errors and
FLOPs (reference point: the 90 % quantile of the table's errors, the largest FLOPs), as a share of what the truly best
within the targets have.

Writes to --out: compare.parquet (a row for each method and seed), compare.md, compare.csv, compare.png. Each piece of
work is kept when it is done, and searches go on where they were: the same command goes on after any end. Needs
pip install -e ".[compare]"; run it from the repository's folder, as python -m experiments.compare.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.compare.evolution import Architecture
from experiments.compare.images import prepare_images
from experiments.compare.methods import Method, methods_of
from experiments.compare.pieces import Piece, carry_out, pieces_of, runner
from experiments.compare.report import Judge, collect, draw, markdown, rich_table, summarise
from experiments.compare.scoring import random_architectures
from experiments.compare.settings import FIXED_SETTINGS, Settings, config_of
from experiments.compare.truth import load_truth
from experiments.parts.command_line import check_positive, data_folder, exit_status
from experiments.parts.processes import fresh_processes
from experiments.parts.rows import save_rows
from experiments.parts.settings import keep_settings
from multinas_ray.storage import write_atomic

DEFAULT_METHODS = ("ours", "ours-first", "separate", "spos", "random")


def compare(arguments: argparse.Namespace, settings: Settings, methods: dict[str, Method], console: Console) -> None:
    """Do what is not done."""
    out, seeds = arguments.out, range(arguments.seeds)
    budget = settings.budget
    console.print(
        f"Budget of each method: {budget.weight_steps:,} weight steps of one subnet, {budget.evaluations:,} evaluations"
    )
    prepare_images(arguments.images_folder, settings, out)
    pieces = pieces_of({name: method.supernets for name, method in methods.items()}, seeds)
    num_threads = max(1, (os.cpu_count() or 1) // arguments.jobs)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    os.environ["OMP_NUM_THREADS"] = str(num_threads)  # for the processes to come
    with Progress(*columns, console=console) as progress, fresh_processes(arguments.jobs) as pool:
        bar = progress.add_task("", total=len(pieces))

        def show(num_done: int, running: Sequence[Piece]) -> None:
            text = ", ".join(map(str, running)) or "done"
            progress.update(bar, completed=num_done, description=text)
            if not console.is_terminal:
                console.print(f"{num_done} of {len(pieces)} pieces done; under way: {text}")

        carry_out(pieces, out, runner(settings, out, num_threads), pool, arguments.jobs, show)


def report(
    methods: dict[str, Method],
    seeds: Sequence[int],
    judge: Judge,
    ranked: Sequence[Architecture],
    out: Path,
    console: Console,
) -> None:
    """Write the rows, the table and the picture of what is done, and print the table."""
    rows = collect(methods, seeds, judge, out)
    if rows.empty:
        console.print("No method has its networks yet.")
        return
    settings, tau_of_size = judge.settings, judge.tau_of_size(ranked)
    summary = summarise(rows, methods, judge, tau_of_size)
    title = (
        f"{settings.num_targets} networks within {', '.join(f'{target / 1e6:.2f}' for target in settings.targets)} M "
        f"FLOPs; {settings.images:,} images, {settings.epochs} epochs"
    )
    caption = (
        f"Medians over the seeds (least to most). Tau: {len(ranked)} random architectures. Hypervolume: true errors "
        f"and FLOPs, reference ({judge.truth.reference[0]:.2f} %, the largest), as a share of the best "
        "within the targets."
    )
    console.print(rich_table(summary, title, caption))
    save_rows(rows, out / "compare.parquet")
    write_atomic(out / "compare.csv", summary.to_csv(index=False).encode())
    write_atomic(out / "compare.md", markdown(summary, title, caption).encode())
    draw(rows, methods, judge, tau_of_size, out / "compare.png")
    console.print(f"rows, table and picture: {out}/compare.*", highlight=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, defaults = parser.add_argument, Settings()
    names = list(methods_of(defaults.num_targets))
    add("--data", metavar="DIR", type=Path, help="folder with nasbench_macro.parquet (default: $MULTINAS_DATA)")
    text = "folder of CIFAR-10, torchvision's or train.parquet and test.parquet (default: cifar10 in --data)"
    add("--images-folder", metavar="DIR", type=Path, help=text)
    add("--out", metavar="DIR", type=Path, default=Path("runs/compare"), help="(default: %(default)s)")
    add("--seeds", metavar="N", type=int, default=3, help="repetitions (default: %(default)s)")
    add("--methods", nargs="+", choices=names, default=list(DEFAULT_METHODS), metavar="NAME", help=", ".join(names))
    add("--jobs", metavar="N", type=int, default=os.cpu_count() or 1, help="pieces at a time (default: %(default)s)")
    add("--report-only", action="store_true", help="report what is done, do no more")
    for name, text in {
        "images": "training images",
        "validation_images": "images that compare architectures",
        "epochs": "times each training image is seen in the whole budget",
        "evaluation_images": "validation images of one evaluation, a multiple of 64",
        "recalibration_images": "training images of a subnet's normalisation statistics at the end",
        "ranked": "random architectures of the ranking",
    }.items():
        flag, default = f"--{name.replace('_', '-')}", getattr(defaults, name)
        add(flag, metavar="N", type=int, default=default, help=f"{text} (default: %(default)s)")
    return parser


def _settings(arguments: argparse.Namespace) -> Settings:
    """Fills in what depends on the surroundings, and checks.

    Raises:
        ConfigError: a number is too small, or no folder with the table is named.
    """
    check_positive(arguments, ("seeds", "jobs"))
    arguments.data = data_folder(arguments.data)
    arguments.images_folder = arguments.images_folder or arguments.data / "cifar10"
    return Settings(**{name: vars(arguments)[name] for name in Settings.__dataclass_fields__})


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""
    arguments = _parser().parse_args(argv)

    def run(console: Console) -> None:
        settings = _settings(arguments)
        known = methods_of(settings.num_targets)
        methods = {name: known[name] for name in dict.fromkeys(arguments.methods)}
        judge = Judge(load_truth(arguments.data), settings)
        keep_settings({**asdict(settings), **FIXED_SETTINGS}, arguments.out)
        if not arguments.report_only:
            compare(arguments, settings, methods, console)
        ranked = random_architectures(config_of("ours", 0, settings, arguments.out, 1), settings.ranked)
        report(methods, range(arguments.seeds), judge, ranked, arguments.out, console)

    return exit_status(run)


if __name__ == "__main__":
    raise SystemExit(main())
