"""`profile`: measuring the latency of the blocks of a space, or the modules of a model, on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from multinas_ray.commands.common import RUN_HELP, Subparsers, add_imports
from multinas_ray.errors import ConfigError, raised_by

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from multinas_ray.latency import (
        LatencyConditions,
        LatencyTable,
        LatencyValidation,
        ModelLatencyTable,
        OnPass,
        ProfileSettings,
    )
    from multinas_ray.spaces import ModelSpace, NetworkSpace
    from multinas_ray.storage import Location

SHIPPED_SPACES = ("digits", "cifar10_mobile", "nas_bench_macro", "imagenet_mobile")
EXIT_STATUS = {"good": 0, "poor": 1, "noisy": 3}


def add_parser(commands: Subparsers) -> None:
    """Describe the verb."""
    commands.add_parser(
        "profile",
        fill=_add_flags,
        command=run,
        help="measure the blocks of a space on this machine and write a latency table for searches",
        description="Measure each block of a search space, or each module of a model with choices, within whole "
        "networks on this machine, and write a latency table that a search can use as its complexity (--complexity "
        "latency --latency-table FILE). Then measure 30 random networks as a whole and compare them with the "
        "predictions of the table. FILE_validation.parquet and FILE_validation.png are written beside FILE.parquet. "
        "The exit status is 0 if the table predicts networks well (Kendall's tau of 0.9 or more), 1 if it predicts "
        "them poorly, 2 if nothing could be measured, and 3 if the machine is too noisy to say, since even two "
        "measurements of the same networks disagree.",
    )


def _add_flags(parser: argparse.ArgumentParser) -> None:
    from multinas_ray.commands.flags import add_settings
    from multinas_ray.latency import ProfileSettings

    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--space",
        help=f"{', '.join(SHIPPED_SPACES)}, or a function of your own that returns a NetworkSpace or a "
        "ModelSpace, as MODULE:FUNCTION or FILE.py:FUNCTION",
    )
    source.add_argument("--run", metavar="RUN", help=f"use the space of a run and write into its folder; {RUN_HELP}")
    add_imports(parser)
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="file of the table (default: latency.parquet, with --run in the folder of the run)",
    )
    parser.add_argument(
        "--make-kit",
        metavar="DIR",
        help="measure nothing here, but write a folder of ONNX blocks with the script measure.py, which needs "
        "onnxruntime and numpy alone: run it on the device, and give its latency.json to --latency-table",
    )
    add_settings(parser, {"how it is measured": ProfileSettings})


def run(arguments: argparse.Namespace) -> int:
    """Measure, write and compare; returns the exit status."""
    from multinas_ray.cluster import standard_console
    from multinas_ray.commands.flags import read_settings
    from multinas_ray.latency import ProfileSettings, validation_file
    from multinas_ray.report import plot_latency
    from multinas_ray.storage import make_folder

    if arguments.make_kit is not None:
        return _make_kit(arguments)
    space, output = _space(arguments), _output(arguments)
    settings = read_settings(arguments, ProfileSettings).sized_for(space)
    make_folder(output.parent)  # so that a missing right is reported before minutes of measuring
    console = standard_console()
    with _progress(console, settings) as stage:
        validation, view = _measure(space, settings, output, stage)
    comparison = validation_file(output)
    picture = comparison.parent.join(f"{comparison.name.removesuffix('.parquet')}.png")
    validation.write(comparison)
    plot_latency(validation.to_arrow().to_pandas(), picture)
    console.print(view)
    console.print(validation.summary(), highlight=False, markup=False)
    for what, where in (("Table", output), ("Comparison", comparison), ("Picture", picture)):
        console.print(f"{what}: {where}", soft_wrap=True, highlight=False, markup=False)
    return EXIT_STATUS[validation.verdict]


def _measure(
    space: NetworkSpace | ModelSpace, settings: ProfileSettings, output: Location, stage: Callable[[str], OnPass]
) -> tuple[LatencyValidation, Table]:
    """Measure and write the table; returns what whole networks say to it, and a view of it."""
    from multinas_ray.latency import profile_model, profile_space, validate_table
    from multinas_ray.spaces import ModelSpace

    if isinstance(space, ModelSpace):
        found = profile_model(
            space, settings, on_pass=stage("Modules"), on_whole_pass=_begun_later(stage, "Whole networks")
        )
        found.table.write(output)
        return found.validation, _view_of_model(found.table)
    table = profile_space(space, settings, on_pass=stage("Blocks"))
    table.write(output)
    return validate_table(table, space, settings, on_pass=stage("Whole networks")), _view(table, space)


def _make_kit(arguments: argparse.Namespace) -> int:
    """Write the folder that is measured elsewhere."""
    from multinas_ray.cluster import counted_progress, standard_console
    from multinas_ray.commands.flags import read_settings
    from multinas_ray.latency import ProfileSettings, make_kit
    from multinas_ray.spaces import NetworkSpace
    from multinas_ray.storage import resolve

    if arguments.output is not None:
        raise ConfigError("--output must be left out with --make-kit: measure.py --output names the table")
    console, folder, space = standard_console(), resolve(arguments.make_kit), _space(arguments)
    if not isinstance(space, NetworkSpace):
        raise ConfigError(
            f"--make-kit must have a space of blocks, {space.name!r} has none: run multinas-ray profile on the device"
        )
    with counted_progress(console) as progress:
        task = progress.add_task("writing ONNX models", total=None)
        make_kit(
            space,
            read_settings(arguments, ProfileSettings),
            str(folder),
            on_model=lambda done, of: progress.update(task, completed=done, total=of),
        )
    told = f"Copy {folder} to the device, and run there: pip install onnxruntime numpy; python measure.py"
    console.print(told, soft_wrap=True, highlight=False, markup=False)
    return 0


def _space(arguments: argparse.Namespace) -> NetworkSpace | ModelSpace:
    from multinas_ray import spaces
    from multinas_ray.cluster import load_object
    from multinas_ray.selection import open_run

    if arguments.run is not None:
        found = open_run(arguments.run, imports=arguments.imports).space
        return _measurable(found, f"the run {arguments.run}")
    if arguments.imports:
        raise ConfigError("--import needs --run: with --space, name the function as FILE.py:FUNCTION")
    if arguments.space in SHIPPED_SPACES:
        make = getattr(spaces, f"{arguments.space}_space")
    elif ":" in arguments.space:
        make = load_object(arguments.space)
    else:
        raise ConfigError(
            f"--space must be one of {', '.join(SHIPPED_SPACES)}, MODULE:FUNCTION or FILE.py:FUNCTION, "
            f"got {arguments.space!r}"
        )
    with raised_by(f"the function {arguments.space}"):
        space = make() if callable(make) else make
    return _measurable(space, arguments.space)


def _measurable(space: Any, whose: str) -> NetworkSpace | ModelSpace:
    """The space, if it is one of blocks or of a model.

    Raises:
        ConfigError: it is something else.
    """
    from multinas_ray.spaces import ModelSpace, NetworkSpace

    if not isinstance(space, (NetworkSpace, ModelSpace)):
        raise ConfigError(f"{whose} must give a NetworkSpace or a ModelSpace, got {type(space).__name__}")
    return space


def _output(arguments: argparse.Namespace) -> Location:
    from multinas_ray.latency import TABLE_FILE
    from multinas_ray.storage import resolve

    if arguments.output is None:
        return resolve(TABLE_FILE) if arguments.run is None else resolve(arguments.run).join(TABLE_FILE)
    output = resolve(arguments.output)
    if not output.name.endswith(".parquet"):
        raise ConfigError(f"--output must end in .parquet, got {arguments.output!r}")
    return output


@contextmanager
def _progress(console: Console, settings: ProfileSettings) -> Iterator[Callable[[str], OnPass]]:
    """The progress bars of the two stages. A stage ends early if its measurements are steady early."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("passes"))
    with Progress(*columns, TextColumn("{task.fields[error]}"), TimeElapsedColumn(), console=console) as progress:

        def end_stages() -> None:
            for task in progress.tasks:
                progress.update(task.id, total=task.completed)

        def stage(name: str) -> OnPass:
            end_stages()
            number = progress.add_task(f"{name:15}", total=settings.most_passes, error="")
            return lambda passes, error: progress.update(number, completed=passes, error=f"± {error:.1%}")

        yield stage
        end_stages()


def _begun_later(stage: Callable[[str], OnPass], name: str) -> OnPass:
    """A stage that begins with its first pass."""
    begun: list[OnPass] = []

    def on_pass(passes: int, error: float) -> None:
        if not begun:
            begun.append(stage(name))
        begun[0](passes, error)

    return on_pass


def _view(table: LatencyTable, space: NetworkSpace) -> Table:
    """The fastest and the slowest block of each position."""
    from multinas_ray.latency import blocks_of

    places: dict[str, list[tuple[float, str, tuple[int, ...]]]] = {}
    for place, block, shape in blocks_of(space):
        row = table.find(block, shape)
        assert row is not None
        places.setdefault(place, []).append((row.median_ms, block.name, shape))
    view = _empty_view(table.conditions, "place", "input", "blocks", "fastest", "ms", "slowest", "ms")
    for place, rows in places.items():
        (least, fastest, input_shape), (most, slowest, _) = min(rows), max(rows)
        size = "x".join(str(number) for number in input_shape)
        view.add_row(place, size, str(len(rows)), fastest, f"{least:.3f}", slowest, f"{most:.3f}")
    return view


def _view_of_model(table: ModelLatencyTable) -> Table:
    """The fastest and the slowest options of choices on whose modules they decide."""
    terms: dict[tuple[str, ...], list[tuple[float, str]]] = {}
    for row in table.rows:
        terms.setdefault(row.choices, []).append((row.milliseconds, ", ".join(row.options)))
    view = _empty_view(table.conditions, "choices", "combinations", "fastest", "ms", "slowest", "ms")
    for choices, rows in terms.items():
        (least, fastest), (most, slowest) = min(rows), max(rows)
        named = ", ".join(choices) or "in every network"
        view.add_row(named, str(len(rows)), fastest, f"{least:.3f}", slowest, f"{most:.3f}")
    return view


def _empty_view(conditions: LatencyConditions, *columns: str) -> Table:
    from multinas_ray.cluster import PlainTable

    title = f"{conditions.space_name} on {conditions.device}, batches of {conditions.batch_size}"
    view = PlainTable(title=title, title_justify="left")
    for name in columns:
        is_number = name in ("blocks", "combinations", "ms")
        view.add_column(name, justify="right" if is_number else "left", no_wrap="choices" not in columns)
    return view
