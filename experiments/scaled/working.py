"""The comparison: trainings that are missing are made, and all is reported."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.parts.command_line import images_folder, num_processes, threads_of_each
from experiments.parts.processes import fresh_processes
from experiments.parts.settings import keep_command, keep_settings
from experiments.scaled.networks import networks_of
from experiments.scaled.options import METHODS, ScaledOptions
from experiments.scaled.pieces import Surroundings, carry_out, done_so_far
from experiments.scaled.report import draw, table
from multinas_ray.runs import format_count
from multinas_ray.storage import write_atomic


def report(options: ScaledOptions, console: Console) -> None:
    """Write the table and the picture of what is done, and print the table."""
    out, seeds = options.folder, options.all_seeds
    networks, trainings = networks_of(None, options.methods, out), done_so_far(out)
    lines = table(networks, trainings, seeds)
    if lines.empty:
        console.print("No network is trained yet.")
        return
    title = f"CIFAR-10, {options.recipe.epochs} epochs: accuracy on the test images"
    shown = Table(*lines.columns, title=title, title_justify="left")
    for cells in lines.itertuples(index=False):
        shown.add_row(*cells)
    console.print(shown)
    write_atomic(out / "scaled.csv", lines.to_csv(index=False).encode())
    draw(networks, trainings, seeds, title, out / "scaled.png")
    console.print(f"table and picture: {out}/scaled.*", highlight=False)


def run(options: ScaledOptions, console: Console) -> None:
    """Make the trainings that are missing, then report all."""
    out, jobs = options.folder, options.jobs or (1 if options.use_gpu else num_processes(None))
    networks = networks_of(options.run, options.methods, out)
    keep_settings(asdict(options.recipe), out)
    keep_command(options, out)

    def show(num_done: int, num_wanted: int, last: Mapping[str, Any] | None) -> None:
        told = ""
        if last is not None:
            network = f"{METHODS[last['method']]}, within {format_count(last['limit'])}, seed {last['seed']}"
            told = f": {network}: {last['accuracy']:.2%} in {last['seconds']:.0f} s"
        console.print(f"{num_done} of {num_wanted} trainings done{told}", highlight=False)

    if not options.report_only:
        num_threads = threads_of_each(jobs)
        os.environ["OMP_NUM_THREADS"] = str(num_threads)  # for the processes to come
        images = images_folder(options.images_folder, None)
        surroundings = Surroundings(out, images, options.recipe, options.use_gpu, num_threads)
        with fresh_processes(jobs) as pool:
            carry_out(networks, options.all_seeds, surroundings, pool, show)
    report(options, console)
