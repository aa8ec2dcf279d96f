"""Measures the time of a weight step on two processes for several ways of averaging gradients over gloo.

The two processes run on this machine with one thread each. For spaces of the package, the ways take turns:

  none         no averaging: gradients alone
  buckets      after the backward, flattened, as a search does it (multinas_ray.oneshot.rounds.average_gradients)
  parameters   after the backward, one asynchronous all-reduce for each parameter
  overlapped   the same buckets, each sent during the backward as soon as its gradients are complete

All except `none` must give the same gradients. The benchmark prints the median time of each way, and median and
quartiles of its ratio to `buckets` in the same turn.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.distributed as dist
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from multinas_ray.commands.script import Script
from multinas_ray.oneshot import average_gradients
from multinas_ray.settings import Flag, OneOf, PositiveInt, checked
from multinas_ray.spaces import (
    NetworkSpace,
    cifar10_mobile_space,
    digits_space,
    imagenet_mobile_space,
    nas_bench_macro_space,
)
from multinas_ray.supernets import BlockSupernet, accumulate_gradients

WORLD_SIZE = 2
NORM_BATCH_SIZE = 8
OVERLAP_ELEMENTS = 2**19
"""Elements of a bucket that is sent during the backward. It is smaller than one after it, so that there is overlap."""

SETTINGS: dict[str, tuple[Callable[[], NetworkSpace], int, int]] = {
    "digits": (digits_space, 64, 4),
    "macro": (lambda: nas_bench_macro_space(width_multiplier=0.5, image_size=16), 32, 4),
    "cifar10": (cifar10_mobile_space, 16, 4),
    "imagenet": (lambda: imagenet_mobile_space(image_size=64), 16, 1),
}
"""Space, images of each process, subnets of a step."""


@checked
@dataclass(frozen=True, kw_only=True)
class ReduceOptions:
    """What is timed, and how often."""

    spaces: Annotated[tuple[Annotated[str, OneOf(SETTINGS)], ...], Flag(metavar="NAME")] = tuple(SETTINGS)
    """Spaces, one after the other."""
    repeats: PositiveInt = 30
    """Turns of each space."""


def after_in_parameters(parameters: list[nn.Parameter]) -> None:
    """Average each gradient in place."""
    pending = []
    for parameter in parameters:
        pending.append(dist.all_reduce(gradient_of(parameter).mul_(1 / WORLD_SIZE), async_op=True))
    for work in pending:
        work.wait()


def gradient_of(parameter: Tensor) -> Tensor:
    """The gradient, which is there after the backward."""
    assert parameter.grad is not None
    return parameter.grad


class Overlapped:
    """Buckets of `parameters`, from the last to the first; each is sent in turn when its gradients are complete.

    A parameter's hook fires once in a backward, whatever the number of subnets that use it. So each step must have a
    single backward; with several, only the last one that uses a parameter could send it.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._buckets: list[list[Tensor]] = [[]]
        for parameter in reversed(parameters):
            if sum(each.numel() for each in self._buckets[-1]) >= OVERLAP_ELEMENTS:
                self._buckets.append([])
            self._buckets[-1].append(parameter)
        self._place = {parameter: place for place, bucket in enumerate(self._buckets) for parameter in bucket}
        self._missing = [len(bucket) for bucket in self._buckets]
        self._sent: list[tuple[Tensor, dist.Work]] = []
        self._hooks = [parameter.register_post_accumulate_grad_hook(self._ready) for parameter in parameters]

    def _ready(self, parameter: Tensor) -> None:
        self._missing[self._place[parameter]] -= 1
        while len(self._sent) < len(self._buckets) and self._missing[len(self._sent)] == 0:
            bucket = self._buckets[len(self._sent)]
            flat = torch.cat([gradient_of(each).reshape(-1) for each in bucket]).mul_(1 / WORLD_SIZE)
            self._sent.append((flat, dist.all_reduce(flat, async_op=True)))

    def finish(self) -> None:
        """Wait for running all-reduces and copy the averages into the gradients."""
        for hook in self._hooks:
            hook.remove()
        for bucket, (flat, work) in zip(self._buckets, self._sent, strict=True):
            work.wait()
            parts = torch.split(flat, [each.numel() for each in bucket])
            for parameter, averaged in zip(bucket, parts, strict=True):
                gradient_of(parameter).copy_(averaged.view(parameter.shape))


@contextmanager
def averaged(way: str, parameters: list[nn.Parameter]) -> Iterator[None]:
    """Context around the backward; the gradients are averaged at its end."""
    overlapped = Overlapped(parameters) if way == "overlapped" else None
    yield
    if overlapped:
        overlapped.finish()
    elif way == "buckets":
        average_gradients(parameters, 1 / WORLD_SIZE)
    elif way == "parameters":
        after_in_parameters(parameters)


WAYS = ("none", "buckets", "parameters", "overlapped")


def measure(name: str, rank: int, repeats: int) -> dict[str, list[float]]:
    """Seconds of each way in each turn.

    Raises:
        RuntimeError: two ways gave different gradients.
    """
    make_space, num_images, num_subnets = SETTINGS[name]
    space = make_space()
    supernet = BlockSupernet(space, norm_batch_size=NORM_BATCH_SIZE, seed=0).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(rank)
    images = torch.randn(num_images, *space.input_shape, generator=generator).to(memory_format=torch.channels_last)
    labels = torch.randint(space.num_classes, (num_images,), generator=generator)
    rng = np.random.default_rng(0)  # the same subnets in both processes
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(repeats + 1):
        architectures = space.search_space.random(num_subnets, rng)
        touched = supernet.touched_parameters(architectures)
        found = {}
        for way in rng.permutation(WAYS):
            supernet.zero_grad(set_to_none=True)
            dist.barrier()
            start = time.perf_counter()
            with averaged(way, touched):
                accumulate_gradients(supernet, images, labels, architectures)
            seconds[way].append(time.perf_counter() - start)
            found[way] = torch.cat([each.grad.flatten() for each in touched if each.grad is not None])
        for way in ("parameters", "overlapped"):
            if not torch.allclose(found[way], found["buckets"], rtol=1e-5, atol=1e-7):
                raise RuntimeError(f"{name}, turn {turn}: {way} and buckets gave different gradients")
    return {way: values[1:] for way, values in seconds.items()}  # the first turn is the warm-up


def run_rank(rank: int, name: str, repeats: int, folder: str) -> None:
    """The work of one of the two processes; the first one saves its times."""
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    timeout = timedelta(seconds=120)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=WORLD_SIZE, timeout=timeout)
    seconds = measure(name, rank, repeats)
    if rank == 0:
        torch.save(seconds, Path(folder) / "times.pt")
    dist.destroy_process_group()


def times_table(name: str, seconds: dict[str, list[float]]) -> Table:
    """Median times, and their ratio to `buckets`."""
    space = SETTINGS[name][0]()
    megabytes = 4 * space.costs["params"](space.search_space.random(100, np.random.default_rng(0))).mean() / 1e6
    table = Table(title=f"{name}: {megabytes:.1f} MB in an average subnet", title_justify="left")
    for column in ("gradients averaged", "median ms", "/ buckets", "quartiles"):
        table.add_column(column, justify="right")
    for way in WAYS:
        ratios = np.array(seconds[way]) / np.array(seconds["buckets"])
        low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        table.add_row(way, f"{1000 * np.median(seconds[way]):.1f}", f"{median:.2f}", f"{low:.2f} to {high:.2f}")
    return table


def run(options: ReduceOptions, console: Console) -> None:
    """Time each space, and print its table."""
    for name in options.spaces:
        with tempfile.TemporaryDirectory() as folder:
            given = (name, options.repeats, folder)
            spawn(run_rank, args=given, nprocs=WORLD_SIZE)
            console.print(times_table(name, torch.load(Path(folder) / "times.pt")))


BENCHMARK = Script(description=str(__doc__), settings=ReduceOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    return BENCHMARK.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
