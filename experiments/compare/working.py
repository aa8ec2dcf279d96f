"""The comparison: what is missing is done, and all is reported."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.compare.images import prepare_images
from experiments.compare.judging import Judge
from experiments.compare.kept import Rows
from experiments.compare.methods import Method, methods_of
from experiments.compare.options import CompareOptions
from experiments.compare.picture import draw, draw_costs
from experiments.compare.pieces import Piece, carry_out, pieces_of, runner
from experiments.compare.report import (
    collect,
    collect_rankings,
    markdown,
    rich_table,
    summarise,
    summarise_rankings,
    titles,
)
from experiments.compare.settings import FIXED_SETTINGS
from experiments.compare.truth import load_truth
from experiments.parts.command_line import data_folder, images_folder, num_processes, threads_of_each
from experiments.parts.processes import fresh_processes
from experiments.parts.settings import keep_command, keep_settings
from multinas_ray.storage import write_atomic


def compare(options: CompareOptions, methods: dict[str, Method], rows: Rows, console: Console) -> None:
    """Do what is not done and whose rows are not known."""
    settings, out, seeds = options.comparison, options.folder, options.all_seeds
    jobs, budget = num_processes(options.jobs), settings.budget
    console.print(
        f"Budget of each method: {budget.weight_steps:,} weight steps of one subnet, {budget.evaluations:,} evaluations"
    )
    prepare_images(images_folder(options.images_folder, options.data), settings, out)
    pieces, known = pieces_of(methods, seeds), methods_of(settings.num_targets)
    num_threads = threads_of_each(jobs)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    os.environ["OMP_NUM_THREADS"] = str(num_threads)  # for the processes to come
    with Progress(*columns, console=console) as progress, fresh_processes(jobs) as pool:
        bar = progress.add_task("", total=len(pieces))

        def show(num_done: int, running: Sequence[Piece]) -> None:
            text = ", ".join(map(str, running)) or "done"
            progress.update(bar, completed=num_done, description=text)
            if not console.is_terminal:
                console.print(f"{num_done} of {len(pieces)} pieces are done; running: {text}")

        carry_out(pieces, out, runner(settings, out, num_threads), pool, jobs, show, rows.pieces(known))


def report(asked: Rows, methods: dict[str, Method], judge: Judge, out: Path, console: Console) -> None:
    """Write and print the tables and the picture of some rows."""
    networks_table, rankings_table = summarise(asked.networks, methods, judge), summarise_rankings(asked.rankings)
    title, networks_caption, rankings_caption = titles(judge.settings, judge)
    console.print(rich_table(networks_table, title, networks_caption))
    console.print(rich_table(rankings_table, "Rankings", rankings_caption))
    write_atomic(out / "compare.csv", networks_table.to_csv(index=False).encode())
    text = (
        markdown(networks_table, title, networks_caption)
        + "\n"
        + markdown(rankings_table, "Rankings", rankings_caption)
    )
    write_atomic(out / "compare.md", text.encode())
    draw(asked.networks, asked.rankings, methods, judge, out / "compare.png")
    console.print(f"rows, tables and picture: {out}/compare.*", highlight=False)


def run(options: CompareOptions, console: Console) -> None:
    """Compare, and report what is done.

    Raises:
        ConfigError: No folder with the table is named, or the results' folder holds those of other settings.
        DataError: The table or the images are missing or damaged.
    """
    settings, out, seeds = options.comparison, options.folder, options.all_seeds
    known = methods_of(settings.num_targets)
    methods = {name: known[name] for name in dict.fromkeys(options.methods)}
    judge = Judge(load_truth(data_folder(options.data)), settings)
    keep_settings({**asdict(settings), **FIXED_SETTINGS}, out)
    keep_command(options, out)
    rows = Rows.load(out)
    if not options.report_only:
        compare(options, methods, rows, console)
    rows = rows.joined(Rows(collect(known, seeds, judge, out), collect_rankings(known, seeds, judge, out)))
    rows.save(out)
    asked = rows.of(methods, seeds)
    if asked.networks.empty:
        console.print("No method has found its networks yet.")
        return
    report(asked, methods, judge, out, console)
    others = [Rows.load(Path(each)).of(methods, seeds).networks for each in options.beside]
    draw_costs(pd.concat([asked.networks, *others]), methods, out / "costs.png")
