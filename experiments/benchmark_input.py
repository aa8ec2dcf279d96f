"""Measures images per second and core of the streamed input, in comparison with torchvision's reference loader.

Both read the same files and do the same work: decode, RandomResizedCrop, flip, batches of normalised float32 images.
The reference is torchvision.datasets.ImageFolder with v2 transforms in a DataLoader; `--shards` adds the same images
from Parquet files, and `--draft` a loader that decodes JPEGs no larger than is needed. The loaders take several turns
each, so that other load on the machine affects all alike; ratios are taken within a turn. With one process, processor
time counts, otherwise wall time. Without --data, photos are generated, noise over smooth shapes; of ImageNet's average
size, 500x375 pixels, unless --photo-width says otherwise.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from multinas_ray.commands.script import Script
from multinas_ray.data import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ResizedCrop,
    StreamedImages,
    open_stream,
    scan_images,
    write_image_shards,
)
from multinas_ray.settings import Flag, NonNegativeInt, PositiveFloat, PositiveInt, checked
from multinas_ray.storage import GivenPath

Loader = Iterator[tuple[torch.Tensor, torch.Tensor]]


@checked
@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """The images, and how long they are read."""

    data: Annotated[GivenPath | None, Flag(metavar="DIR")] = None
    """Folder with train/<class>/*; None: images are made."""
    photos: PositiveInt = 512
    """Images that are made."""
    photo_width: PositiveInt = 500
    """Their width in pixels; they are three quarters as high."""
    image_size: PositiveInt = 224
    """Height and width of the images of a batch, in pixels."""
    batch_size: PositiveInt = 64
    """Images of a batch."""
    processes: NonNegativeInt = 0
    """Processes that decode; 0: this one, so one core."""
    repeats: PositiveInt = 7
    """Turns of each loader."""
    seconds: PositiveFloat = 5.0
    """Time of each turn."""
    shards: bool = False
    """Read from Parquet files as well."""
    draft: bool = False
    """Decode JPEGs no larger than is needed as well."""


def write_photos(folder: Path, count: int, width: int = 500) -> None:
    """Write JPEGs of two classes, with a camera's noise over smooth shapes; 500x375 pixels take about 100 kB."""
    height = width * 3 // 4
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        noisy = smooth + rng.normal(0, 8, (height, width, 3))
        path = folder / "train" / f"class{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def reference(path: str, size: int, batch_size: int, num_processes: int) -> Loader:
    """Torchvision's loader, epoch after epoch."""
    transform = v2.Compose([
        v2.RandomResizedCrop(size, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ])  # fmt: skip
    loader = DataLoader(
        ImageFolder(path, transform),
        batch_size,
        shuffle=True,
        num_workers=num_processes,
        drop_last=True,
        persistent_workers=num_processes > 0,
        multiprocessing_context="forkserver" if num_processes else None,
    )
    while True:
        yield from loader


def ours(path: str, size: int, batch_size: int, num_processes: int, *, draft: bool = False) -> Loader:
    """The streamed input of a search."""
    images = StreamedImages(scan_images(path).train, size, num_processes=num_processes, draft_decoding=draft)
    stream = open_stream(
        images,
        batch_size=batch_size,
        seed=0,
        shuffle=True,
        augment=ResizedCrop(),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        device="cpu",
        norm_batch_size=batch_size,
    )
    step = 0
    while True:
        yield stream.batch(step)
        step += 1


def measure(
    loaders: dict[str, Loader], repeats: int, seconds: float, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Images per second of each loader in each repeat; the loaders run in turn, never at the same time."""
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for repeat in range(repeats):
        for name in loaders if repeat % 2 == 0 else reversed(loaders):
            count, started = 0, clock()
            while (elapsed := clock() - started) < seconds:
                count += len(next(loaders[name])[1])
            rates[name].append(count / elapsed)
    return rates


def rates_table(rates: dict[str, list[float]], num_cores: int) -> Table:
    """Medians and spreads, and ratios to the reference of the same repeat."""
    table = Table(title=f"Input, {num_cores} core(s), {len(rates['torchvision'])} repeats: median (smallest-largest)")
    for column in ("loader", "images/s per core", "over torchvision"):
        table.add_column(column)
    for name, values in rates.items():
        ratios = np.array(values) / np.array(rates["torchvision"])
        cells = [_spread(np.array(values) / num_cores, ".0f"), _spread(ratios, ".2f")]
        table.add_row(name, *cells)
    return table


def _spread(values: np.ndarray, form: str) -> str:
    return f"{np.median(values):{form}} ({values.min():{form}}-{values.max():{form}})"


def _warmed(make: Callable[[str, int, int, int], Loader], path: str, options: InputOptions) -> Loader:
    loader = make(path, options.image_size, options.batch_size, options.processes)
    next(loader)
    return loader


def run(options: InputOptions, console: Console) -> None:
    """Measure each loader, and print the table."""
    torch.set_num_threads(1)
    clock = time.perf_counter if options.processes else time.process_time
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.data or str(Path(scratch, "photos"))
        if options.data is None:
            write_photos(Path(folder), options.photos, options.photo_width)
        loaders = {
            "torchvision": _warmed(reference, str(Path(folder, "train")), options),
            "files": _warmed(ours, folder, options),
        }
        if options.draft:
            loaders["files, draft_decoding"] = _warmed(partial(ours, draft=True), folder, options)
        if options.shards:
            write_image_shards(folder, f"{scratch}/shards")
            loaders["shards"] = _warmed(ours, f"{scratch}/shards", options)
            side = round(options.image_size * 256 / 224)
            write_image_shards(folder, f"{scratch}/smaller", resize=side)
            loaders[f"shards, --resize {side}"] = _warmed(ours, f"{scratch}/smaller", options)
        rates = measure(loaders, options.repeats, options.seconds, clock)
    console.print(rates_table(rates, max(1, options.processes)))


BENCHMARK = Script(description=str(__doc__), settings=InputOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    return BENCHMARK.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
