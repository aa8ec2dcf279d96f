"""Streamed JPEGs: how many arrive a second, whether the host waits, and how fast the GPU's own decoder is."""

from __future__ import annotations

import time

import torch

from experiments.gpu_check.bench import Bench
from experiments.gpu_check.findings import Finding
from experiments.gpu_check.measuring import host_waits
from experiments.gpu_check.waiting import PLACES_TOLD
from multinas_ray.data import Batches, DataConfig, load_splits, open_stream, standard_augmentation, usable_cores

DECODED_AT_ONCE = 64


def input(bench: Bench) -> Finding:
    """Batches of photos that other processes decode."""
    found, warm = Finding(), 2 if bench.tiny else 40  # so many may have been decoded ahead
    stream, processes = _stream(bench)
    started_seconds = time.perf_counter()
    images, _ = stream.batch(0)
    found.figures["first_batch_seconds"] = time.perf_counter() - started_seconds
    with host_waits(bench.device) as places:
        for step in range(1, warm):
            stream.batch(step)
    rate = _rate(bench, stream, warm)
    found.figures |= {"images_per_second": rate, "a process": rate / max(1, processes), "processes": processes}
    found.figures |= {"host waits": len(places), "places": places[:PLACES_TOLD]}
    found.check(not places, f"the host waits {len(places)} times in {warm - 1} batches")
    in_order = images.is_contiguous(memory_format=torch.channels_last) and images.device.type == bench.device.type
    found.check(in_order, "images are not on the device in channels_last")
    if bench.has_gpu:
        found.figures["decoded by the GPU"] = _decoded_by_gpu(bench)
    return found


def _stream(bench: Bench) -> tuple[Batches, int]:
    """Varied training batches, and the number of processes that decode; tiny ones are decoded here."""
    size, processes = bench.space.input_shape[1], 0 if bench.tiny else usable_cores()
    config = DataConfig(
        source="folder", path=str(bench.photos), image_size=size, in_memory=False, decode_processes=processes
    )
    splits = load_splits(config)
    stream = open_stream(
        splits.train,
        batch_size=bench.sizes.batch,
        seed=0,
        shuffle=True,
        augment=standard_augmentation(config, size),
        mean=splits.mean,
        std=splits.std,
        device=bench.device,
        norm_batch_size=bench.sizes.group,
    )
    return stream, processes


def _rate(bench: Bench, stream: Batches, step: int) -> float:
    """Images a second, from a step on."""
    count, started_seconds = 0, time.perf_counter()
    while not count or time.perf_counter() - started_seconds < bench.sizes.input_seconds:
        stream.batch(step)
        step, count = step + 1, count + stream.shard_size
    bench.wait()
    return count / (time.perf_counter() - started_seconds)


def _decoded_by_gpu(bench: Bench) -> dict[str, float | str]:
    """Images a second of torchvision's decoder on the GPU, without any resizing; or why there is none."""
    from torchvision.io import decode_jpeg, read_file

    files = [read_file(str(file)) for file in sorted(bench.photos.rglob("*.jpg"))]
    parts = [files[start : start + DECODED_AT_ONCE] for start in range(0, len(files), DECODED_AT_ONCE)]
    try:
        decode_jpeg(parts[0], device=bench.device)
        bench.wait()
        started_seconds = time.perf_counter()
        for part in parts:
            decode_jpeg(part, device=bench.device)
        bench.wait()
    except RuntimeError as error:  # this torchvision was built without it
        return {"error": str(error)}
    return {"images_per_second": len(files) / (time.perf_counter() - started_seconds)}
