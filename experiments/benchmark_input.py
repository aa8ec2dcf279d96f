"""Images per second and core of the streamed input, beside torchvision's own reference loader.

Both read the same files and do the same: decode, RandomResizedCrop, flip, batches of normalised float32 images.
The reference is torchvision.datasets.ImageFolder with v2 transforms in a DataLoader; `--shards` adds the same images
from Parquet files. The loaders take turns, several times, so that what else the machine does meets all alike; the
ratios are of the same turn. In one process it is the processor's time that counts, else the clock's. Without --data,
photos of ImageNet's average size are made: 500x375 pixels, noise over smooth shapes.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from multinas_ray.data import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageStream,
    ResizedCrop,
    StreamedImages,
    scan_images,
    write_image_shards,
)
from multinas_ray.errors import MultiNASError

Loader = Iterator[tuple[torch.Tensor, torch.Tensor]]


def write_photos(folder: Path, count: int) -> None:
    """JPEGs of 500x375 pixels and about 100 kB in two classes, as a camera's noise over smooth shapes."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC))
        noisy = smooth + rng.normal(0, 8, (375, 500, 3))
        path = folder / "train" / f"class{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def reference(path: str, size: int, batch_size: int, num_processes: int) -> Loader:
    """Torchvision's way, epoch after epoch."""
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


def ours(path: str, size: int, batch_size: int, num_processes: int) -> Loader:
    """The streamed input of a search."""
    images = StreamedImages(scan_images(path).train, size, num_processes=num_processes)
    stream = ImageStream(
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
    """Images per second of each loader in each repeat; they run by turns, never at once."""
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


def _warmed(make: Callable[[str, int, int, int], Loader], path: str, arguments: argparse.Namespace) -> Loader:
    loader = make(path, arguments.image_size, arguments.batch_size, arguments.processes)
    next(loader)
    return loader


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", metavar="DIR", type=Path, help="folder with train/<class>/*; its images, instead of made ones")
    add("--photos", metavar="N", type=int, default=512, help="images to make without --data (default: %(default)s)")
    add("--image-size", metavar="PIXELS", type=int, default=224, help="(default: %(default)s)")
    add("--batch-size", metavar="B", type=int, default=64, help="(default: %(default)s)")
    add("--processes", metavar="P", type=int, default=0, help="that decode; 0: this one, so one core (default: 0)")
    add("--repeats", metavar="R", type=int, default=7, help="turns of each loader (default: %(default)s)")
    add("--seconds", metavar="S", type=float, default=5.0, help="of each turn (default: %(default)s)")
    add("--shards", action="store_true", help="also from Parquet files")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    arguments, console = _parser().parse_args(argv), Console()
    torch.set_num_threads(1)
    clock = time.perf_counter if arguments.processes else time.process_time
    with tempfile.TemporaryDirectory() as scratch:
        try:
            folder = arguments.data or Path(scratch, "photos")
            if arguments.data is None:
                write_photos(folder, arguments.photos)
            loaders = {
                "torchvision": _warmed(reference, str(folder / "train"), arguments),
                "files": _warmed(ours, str(folder), arguments),
            }
            if arguments.shards:
                write_image_shards(str(folder), f"{scratch}/shards")
                loaders["shards"] = _warmed(ours, f"{scratch}/shards", arguments)
            rates = measure(loaders, arguments.repeats, arguments.seconds, clock)
        except MultiNASError as error:
            console.print(f"[red]error:[/red] {error}", soft_wrap=True, highlight=False)
            return 2
    console.print(rates_table(rates, max(1, arguments.processes)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
