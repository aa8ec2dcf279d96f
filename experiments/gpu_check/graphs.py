"""What CUDA graphs would gain: the same work without a call for each kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from experiments.gpu_check.bench import Bench, placed
from experiments.gpu_check.findings import Finding, NotHereError
from experiments.gpu_check.measuring import milliseconds
from experiments.gpu_check.speed import typical
from multinas_ray.supernets import build_subnet

WARM_UP = 3
"""Calls on a side stream before a capture, as PyTorch asks for."""


def graphs(bench: Bench) -> Finding:
    """Times of forward and backward of a network, and of the forward of a subnet, called and replayed, in ms."""
    if not bench.has_gpu:
        raise NotHereError("CUDA graphs need a GPU")
    rows_ND, _ = typical(bench)
    network = placed(build_subnet(bench.space, rows_ND[0]), bench.device).train()
    supernet = bench.supernet(bench.space, bench.sizes.group)
    images, labels = bench.batch(bench.space, bench.sizes.batch)
    few = images[: bench.sizes.group].contiguous(memory_format=torch.channels_last)

    def train() -> None:
        network.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            logits = network(images)
        torch.autograd.backward(functional.cross_entropy(logits.float(), labels))

    @torch.no_grad()
    def compute() -> None:
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            supernet(few, rows_ND)

    found = Finding()
    for name, work in (("forward and backward", train), ("evaluation of a subnet", compute)):
        called, replayed = milliseconds(bench, work)["ms"], milliseconds(bench, _captured(work))["ms"]
        found.figures[name] = {"called": called, "replayed": replayed, "gain": called / replayed}
    return found


def _captured(work: Callable[[], None]) -> Callable[[], None]:
    """A function that does the same kernels again by a graph."""
    side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(graph):
        work()
    replay: Callable[[], None] = graph.replay
    return replay
