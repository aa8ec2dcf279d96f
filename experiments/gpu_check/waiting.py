"""Where the host waits for the device: in rounds, and when gradients are averaged."""

from __future__ import annotations

import time

import torch
import torch.distributed as dist

from experiments.gpu_check.bench import SMALL_GROUP, Bench, round_of
from experiments.gpu_check.findings import Finding
from experiments.gpu_check.measuring import host_waits, milliseconds
from multinas_ray.oneshot import Outbox, average_gradients
from multinas_ray.supernets import accumulate_gradients

ROUNDS_IN_EPOCH = 3
WARM_ROUNDS = 3
"""Rounds before host waits are listed, in which the device gets its memory and momenta are made."""
PLACES_TOLD = 5


def rounds(bench: Bench) -> Finding:
    """Rounds in memory over the border of an epoch, and the way of their results to the host."""
    space, found, size = bench.small_space(), Finding(), 4 * SMALL_GROUP
    worker = bench.worker(space, size, precision="bfloat16", images=ROUNDS_IN_EPOCH * size)
    rows_ND, outbox = bench.architectures(space, 4), Outbox()
    work = [round_of(number, rows_ND[:1], rows_ND) for number in range(WARM_ROUNDS + 2 * ROUNDS_IN_EPOCH)]
    for each in work[:WARM_ROUNDS]:
        worker.run(each)
    bench.wait()
    arrived = 0
    with host_waits(bench.device) as places:
        for each in work[WARM_ROUNDS:]:
            outbox.add(each, worker.run(each), time.perf_counter(), worker.traffic)
            arrived += len(outbox.ready())
    arrived += len(outbox.drain())
    found.figures = {"rounds": len(work) - WARM_ROUNDS, "host waits": len(places), "places": places[:PLACES_TOLD]}
    found.check(arrived == len(work) - WARM_ROUNDS, f"only the results of {arrived} rounds arrived")
    found.check(not places, f"the host waits {len(places)} times in rounds")
    return found


def averaging(bench: Bench) -> Finding:
    """What it costs to gather gradients into buckets and to write them back, in a group of one rank."""
    space, found = bench.space, Finding()
    net, rows_ND = bench.supernet(space, bench.sizes.group), bench.architectures(space, 1)
    accumulate_gradients(net, *bench.batch(space, bench.sizes.group), rows_ND, autocast_dtype=torch.bfloat16)
    touched = net.touched_parameters(rows_ND)
    backend, device = ("nccl", torch.device("cuda", torch.cuda.current_device())) if bench.has_gpu else ("gloo", None)
    store = (bench.folder / "process_group").as_uri()
    dist.init_process_group(backend, init_method=store, rank=0, world_size=1, device_id=device)
    try:
        found.figures = {**milliseconds(bench, lambda: average_gradients(touched, 1.0)), "tensors": len(touched)}
        with host_waits(bench.device) as places:
            average_gradients(touched, 1.0)
    finally:
        dist.destroy_process_group()
    found.figures |= {"host waits": len(places), "places": places[:PLACES_TOLD]}
    found.check(not places, f"the host waits {len(places)} times when gradients are averaged")
    return found
