"""Trains every network of a small mobile space to the end: a table of true errors, against which choices are judged.

The space has three stages of three blocks (24, 40 and 96 channels, scaled by --width) on CIFAR-10 at 16x16. A stage
begins with MB6_K3; each of its other two blocks is a skip, MB3_K3 or MB6_K5. That makes 729 architectures, which are
343 networks, since it does not matter where in a stage a skip stands. Every network is trained --repeats times by one
recipe with seeds of its own and tested once, on all 10,000 test images.

Each training is kept as it ends, and the order is drawn at random: the same command resumes after any end, and what is
done so far is an unbiased sample. The file --table is written at the end of every command, and what it has is not
trained again. It has a row for each network: `arch` (six digits, one for each block that is chosen: 0 skip, 1 MB3_K3,
2 MB6_K5, the skips last in their stage), `params`, `flops` and `error_0`, `error_1`, ... in percent, empty where a
training is still to come.
Run it from the repository's folder, as python -m experiments.truth.
"""

import functools
import json
import os
import time
from collections.abc import Mapping
from concurrent.futures import Future, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments.parts.alone import accuracy_alone
from experiments.parts.command_line import images_folder, num_processes, threads_of_each
from experiments.parts.networks import networks_of
from experiments.parts.processes import fresh_processes
from experiments.parts.settings import keep_command, keep_settings
from multinas_ray.commands.script import Script
from multinas_ray.errors import ConfigError
from multinas_ray.settings import Flag, PositiveFloat, PositiveInt, checked
from multinas_ray.spaces import (
    Block,
    ConvLayer,
    Head,
    IntArray,
    NetworkSpace,
    Position,
    mbconv,
    scale_width,
    skip,
)
from multinas_ray.storage import GivenPath, make_folder, read_parquet, read_plain, write_parquet, write_plain

if TYPE_CHECKING:
    from multinas_ray.data import DataConfig, DataSplits

STAGES = ((24, 1), (40, 2), (96, 2))
"""Channels and stride of each stage."""
CHOSEN_BLOCKS = 2
"""Blocks of a stage that are chosen, after its first."""
IMAGE_SIZE = 16
TABLE = "experiments/tables/mobile16.parquet"


@checked
@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the errors."""

    width: PositiveFloat = 0.35
    """Multiplier of every width."""
    images: PositiveInt = 12_800
    """Training images."""
    epochs: PositiveInt = 5
    """Passes over them."""
    batch_size: PositiveInt = 128
    """Images of a step."""
    learning_rate: PositiveFloat = 0.2
    """Peak of the learning rate for this batch."""

    @property
    def space(self) -> NetworkSpace:
        """The space of the table."""
        channels, positions = scale_width(16, self.width), []
        stem_width = scale_width(32, self.width)
        first = mbconv(stem_width, channels, kernel_size=3, expansion=1)
        stem = Block("stem", (ConvLayer(3, stem_width, 3, activation="relu6"), *first.layers))
        for stage, (width, stride) in enumerate(STAGES, start=1):
            out = scale_width(width, self.width)
            positions.append(Position(f"stage{stage}_1", (mbconv(channels, out, 3, 6, stride),)))
            blocks = (
                skip(),
                mbconv(out, out, kernel_size=3, expansion=3),
                mbconv(out, out, kernel_size=5, expansion=6),
            )
            positions += [Position(f"stage{stage}_{index + 2}", blocks) for index in range(CHOSEN_BLOCKS)]
            channels = out
        features = Block("features", (ConvLayer(channels, scale_width(640, self.width), activation="relu6"),))
        head = Head(features.layers[-1].out_channels, 10, features)
        return NetworkSpace("truth", (3, IMAGE_SIZE, IMAGE_SIZE), stem, tuple(positions), head)


@checked
@dataclass(frozen=True, kw_only=True)
class TruthOptions:
    """What is trained, and where."""

    images_folder: Annotated[GivenPath | None, Flag(metavar="DIR")] = None
    """Folder of CIFAR-10, torchvision's or train.parquet and test.parquet; None: cifar10 in $MULTINAS_DATA."""
    out: Annotated[GivenPath, Flag(metavar="DIR")] = "runs/truth"
    """Folder of the trainings."""
    table: Annotated[GivenPath, Flag(metavar="FILE")] = TABLE
    """File of the table."""
    repeats: PositiveInt = 2
    """Trainings of each network."""
    jobs: PositiveInt | None = None
    """Trainings at a time; None: as many as there are cores."""
    table_only: bool = False
    """Write the table of what is done, and train no more."""
    training: Settings = field(default_factory=Settings)
    """What decides the errors."""


class Training(NamedTuple):
    """One training of one network."""

    arch: str
    repeat: int

    def file(self, out: Path) -> Path:
        """What is there when it is done."""
        return out / "trainings" / f"{self.arch}-{self.repeat}.json"

    @property
    def architecture(self) -> tuple[int, ...]:
        """Indices of the blocks at all positions; a stage's first block has no choice."""
        chosen = iter(map(int, self.arch))
        return tuple(0 if index == 0 else next(chosen) for _ in STAGES for index in range(1 + CHOSEN_BLOCKS))

    @property
    def seed(self) -> int:
        """Seed of its first weights, the order and the variation of its images."""
        return int(np.random.SeedSequence((int(self.arch, 3), self.repeat)).generate_state(1)[0])


def name_of(architecture: IntArray) -> str:
    """The digits of the blocks that are chosen."""
    return "".join(str(choice) for place, choice in enumerate(architecture) if place % (1 + CHOSEN_BLOCKS))


@functools.cache
def _images(path: Path, number: int) -> "tuple[DataConfig, DataSplits]":
    """The images; each process decodes them once."""
    from multinas_ray.data import DataConfig, load_splits

    config = DataConfig(source="cifar10", path=str(path), image_size=IMAGE_SIZE, max_train_images=number)
    return config, load_splits(config)


def train(training: Training, settings: Settings, images: Path, num_threads: int, file: Path) -> None:
    """Train a network and write its test error in percent, and the seconds that it took."""
    import torch

    from multinas_ray.retraining import RetrainConfig

    torch.set_num_threads(num_threads)
    config, splits = _images(images, settings.images)
    started_seconds = time.perf_counter()
    recipe = RetrainConfig(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        learning_rate_scaling="none",
        weight_decay=5e-4,
        label_smoothing=0.0,
        augmentation="standard",
        ema_decay=0.0,
        train_on="all",
        seed=training.seed,
    )
    accuracy = accuracy_alone(settings.space, training.architecture, recipe, config, splits)
    write_plain(file, {"error": 100.0 * (1.0 - accuracy), "seconds": time.perf_counter() - started_seconds})


def trainings_of(settings: Settings, repeats: int) -> list[Training]:
    """Every training, each repeat in a random order of its own."""
    names = [name_of(row) for row in networks_of(settings.space)]
    orders = [np.random.default_rng((0, repeat)).permutation(len(names)) for repeat in range(repeats)]
    return [Training(names[place], repeat) for repeat, order in enumerate(orders) for place in order]


def train_all(options: TruthOptions, console: Console) -> None:
    """Do the trainings that are not done."""
    settings, out, jobs = options.training, Path(options.out), num_processes(options.jobs)
    images = images_folder(options.images_folder, None)
    make_folder(out / "trainings")
    trainings = trainings_of(settings, options.repeats)
    known = known_errors(settings, options.repeats, Path(options.table))
    waiting = [each for each in trainings if each not in known and not each.file(out).is_file()]
    num_threads = threads_of_each(jobs)
    os.environ["OMP_NUM_THREADS"] = str(num_threads)  # for the processes to come
    columns = TextColumn("trainings"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress, fresh_processes(jobs) as pool:
        bar = progress.add_task("", total=len(trainings), completed=len(trainings) - len(waiting))
        running: list[Future[None]] = [
            pool.submit(train, each, settings, images, num_threads, each.file(out)) for each in waiting
        ]
        for future in as_completed(running):
            future.result()
            progress.advance(bar)


def known_errors(settings: Settings, repeats: int, file: Path) -> dict[Training, float]:
    """The errors that a table has already, such as that of the repository.

    Raises:
        ConfigError: the table was made with other settings.
        StateError: it is damaged.
    """
    if not file.is_file():
        return {}
    table = read_parquet(file)
    made_with = json.loads((table.schema.metadata or {}).get(b"settings", b"null"))
    if made_with != asdict(settings):
        raise ConfigError(f"{file} was made with other settings ({made_with}): give the same flags, or another --table")
    return {
        Training(row["arch"], repeat): row[f"error_{repeat}"]
        for row in table.to_pylist()
        for repeat in range(repeats)
        if row.get(f"error_{repeat}") is not None
    }


def write_table(settings: Settings, repeats: int, out: Path, file: Path) -> int:
    """Write the table of what is done; returns the number of trainings in it."""
    space = settings.space
    networks_ND = networks_of(space)
    names = [name_of(row) for row in networks_ND]
    known = known_errors(settings, repeats, file)
    columns: dict[str, list[str] | list[float] | list[float | None]] = {"arch": names}
    columns |= {name: space.costs[name](networks_ND).tolist() for name in ("params", "flops")}
    for repeat in range(repeats):
        columns[f"error_{repeat}"] = [_error_of(Training(name, repeat), out, known) for name in names]
    make_folder(file.parent)
    write_parquet(file, pa.table(columns).replace_schema_metadata({"settings": json.dumps(asdict(settings))}))
    return sum(value is not None for repeat in range(repeats) for value in columns[f"error_{repeat}"])


def _error_of(training: Training, out: Path, known: Mapping[Training, float]) -> float | None:
    file = training.file(out)
    return float(read_plain(file)["error"]) if file.is_file() else known.get(training)


def run(options: TruthOptions, console: Console) -> None:
    """Train what is missing, and write the table of what is done whatever the end."""
    settings, out = options.training, Path(options.out)
    keep_settings(asdict(settings), out)
    keep_command(options, out)
    known_errors(settings, options.repeats, Path(options.table))
    try:
        if not options.table_only:
            train_all(options, console)
    finally:
        number = write_table(settings, options.repeats, out, Path(options.table))
        console.print(f"{number} trainings are in {options.table}", highlight=False)


TRUTH = Script(description=str(__doc__), settings=TruthOptions, program="python -m experiments.truth")


def main(argv: list[str] | None = None) -> int:
    """Train and write the table; returns the exit status."""
    return TRUTH.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
