"""The comparison: searches that are missing are made, and all is reported."""

import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.compare.images import prepare_images
from experiments.large_space.options import LargeSpaceOptions
from experiments.large_space.pieces import Piece, carry_out, pieces_of
from experiments.large_space.report import REFERENCES, collect, compare, draw, markdown, summarise
from experiments.large_space.supernet import settings_of_images
from experiments.parts.command_line import images_folder, num_processes
from experiments.parts.processes import fresh_processes
from experiments.parts.settings import keep_command
from multinas_ray.storage import make_folder, write_atomic

TITLE = "Loss of four networks above the best there are, in percent"


def report(options: LargeSpaceOptions, console: Console) -> None:
    """Write the rows, the tables and the picture of what is done, and print the tables."""
    methods, out = options.methods, Path(options.out) / options.evaluator
    rows = collect(options.evaluator, methods, options.all_seeds, Path(options.out))
    if rows.empty:
        console.print("No seed is done by all methods yet.")
        return
    tables = [summarise(rows, methods)]
    tables += [compare(rows, methods, each) for each in REFERENCES if each in methods and len(methods) > 1]
    title = f"{TITLE}: {options.evaluator} evaluator"
    for table in tables:
        shown = Table(*table.columns, title=title, title_justify="left")
        for cells in table.itertuples(index=False):
            shown.add_row(*cells)
        console.print(shown)
    make_folder(out)
    write_atomic(out / "large_space.csv", rows.to_csv(index=False).encode())
    write_atomic(out / "large_space.md", markdown(tables, title).encode())
    draw(rows, methods, title, out / "large_space.png")
    console.print(f"table and picture: {out}/large_space.*", highlight=False)


def run(options: LargeSpaceOptions, console: Console) -> None:
    """Make the searches that are missing, then report all."""
    pieces, out = pieces_of(options.evaluator, options.methods, options.all_seeds), Path(options.out)

    def show(num_done: int, last: Piece | None) -> None:
        console.print(f"{num_done} of {len(pieces)} pieces done{'' if last is None else f': {last}'}")

    keep_command(options, out)
    if not options.report_only:
        if options.evaluator == "supernet":
            prepare_images(images_folder(options.images_folder, None), settings_of_images(), out)
        os.environ["OMP_NUM_THREADS"] = "1"  # for the processes to come: one thread each
        with fresh_processes(num_processes(options.jobs)) as pool:
            carry_out(pieces, out, pool, show)
    report(options, console)
