"""Measuring how long the blocks of a space take on this machine, and whether their sum predicts whole networks.

A block is timed in its place: within the forward pass of a whole network, between its neighbours [ours]. A block that
is timed alone, again and again, finds its input and weights in the cache, and then the sum is too small: on
NAS-Bench-Macro's space (one image, one core) Kendall's tau was .98 with blocks timed within networks and .89 alone.

Notation: D positions, C_d choices of position d, N networks, B distinct blocks, P passes.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from multinas_ray.errors import ConfigError
from multinas_ray.latency.config import ProfileSettings
from multinas_ray.latency.table import BlockLatency, LatencyConditions, LatencyTable, blocks_of, describe_block
from multinas_ray.latency.timing import (
    LapTimer,
    OnPass,
    check_device,
    device_name,
    in_force,
    place,
    random_images,
    repeat_until_steady,
    robust_spread,
    runtime_name,
    timer_of,
)
from multinas_ray.latency.validation import LatencyValidation
from multinas_ray.settings import PositiveInt, checked_arguments
from multinas_ray.spaces import BlockDescription, FloatArray, IntArray, NetworkSpace, Shape, Space
from multinas_ray.supernets import build_block, build_subnet

NUM_VALIDATION_NETWORKS = 30
TIMED_RUNS = 2
"""Timed forward passes of a network, one after the other; an untimed one before them is the warm-up."""

_MS = 1000.0


@checked_arguments
def profile_space(
    network_space: NetworkSpace,
    settings: ProfileSettings,
    *,
    timer: LapTimer | None = None,
    on_pass: OnPass = lambda passes, error: None,
) -> LatencyTable:
    """Measure every distinct pair of a block and its input's shape in a space, including the stem and the head.

    A pass runs networks that together hold every choice of every position at least once, combined anew at random for
    each pass. So a machine that slows down for a while slows all blocks alike, and a block is timed after many
    different neighbours. A block that occurs at several places has one row.

    Args:
        network_space: the space.
        settings: device, batch and number of passes.
        timer: for tests; by default the one that the settings ask for.
        on_pass: called after each pass.

    Returns:
        The table, with medians over all passes.

    Raises:
        ConfigError: An argument breaks its rule, or there is no such device.
    """
    settings = settings.sized_for(network_space)
    check_device(settings)
    bench = _Bench(network_space, settings)
    timer = timer or timer_of(settings)
    rng = np.random.default_rng(settings.seed)
    with in_force(settings):
        bench.run(covering_architectures(network_space, rng), timer)  # warm-up: memory, and the choice of kernels
        times_PB = repeat_until_steady(
            lambda: bench.run(covering_architectures(network_space, rng), timer), settings, on_pass
        )
    return LatencyTable(bench.rows(times_PB), conditions_of(network_space, settings))


@checked_arguments
def validate_table(
    table: LatencyTable,
    network_space: NetworkSpace,
    settings: ProfileSettings,
    *,
    num_networks: PositiveInt = NUM_VALIDATION_NETWORKS,
    timer: LapTimer | None = None,
    on_pass: OnPass = lambda passes, error: None,
) -> LatencyValidation:
    """Measure whole random networks, and compare them with the predictions of a table.

    The networks are drawn uniformly without repetition. Each is built alone; they are timed in turn, in a new order
    for each pass.

    Args:
        table: the latency table, measured with the same settings.
        network_space: the space; the table must have all its blocks.
        settings: device, batch and number of passes.
        num_networks: N; fewer if the space has fewer.
        timer: for tests; by default the one that the settings ask for.
        on_pass: called after each pass.

    Raises:
        ConfigError: The table lacks a block, or was measured for another batch or precision.
    """
    settings = settings.sized_for(network_space)
    _check_conditions(table.conditions, settings)
    check_device(settings)
    rng = np.random.default_rng([settings.seed, 1])
    architectures_ND = distinct_architectures(network_space, num_networks, rng)
    predicted_N = table.cost(network_space)(architectures_ND)
    networks = [
        place(build_subnet(network_space, architecture), settings, network_space.input_shape)
        for architecture in architectures_ND
    ]
    images = random_images(settings, network_space.input_shape)
    times_PN = _MS * _measure_whole(networks, images, settings, rng, timer or timer_of(settings), on_pass)
    half = len(times_PN) // 2
    return LatencyValidation(
        architectures=architectures_ND,
        readable=tuple(network_space.search_space.describe(architecture) for architecture in architectures_ND),
        predicted_ms=predicted_N,
        measured_ms=np.median(times_PN, axis=0),
        spread_ms=robust_spread(times_PN),
        first_half_ms=np.median(times_PN[:half], axis=0),
        second_half_ms=np.median(times_PN[half:], axis=0),
    )


def _measure_whole(
    networks: Sequence[nn.Module],
    images: Tensor,
    settings: ProfileSettings,
    rng: np.random.Generator,
    timer: LapTimer,
    on_pass: OnPass,
) -> FloatArray:
    """(P, N) seconds of each network in each pass."""

    def measure() -> FloatArray:
        seconds_N = np.empty(len(networks))
        for index in rng.permutation(len(networks)):
            timer([networks[index]], images)
            (seconds_N[index],) = timer([networks[index]], images)
        return seconds_N

    with in_force(settings):
        return repeat_until_steady(measure, settings, on_pass)


def covering_architectures(network_space: NetworkSpace, rng: np.random.Generator) -> IntArray:
    """(max C, D) random architectures that together hold every choice of every position at least once."""
    counts = network_space.search_space.num_categories
    columns = [rng.permutation(np.arange(max(counts)) % count) for count in counts]
    return np.stack(columns, axis=1).astype(np.int64)


def distinct_architectures(network_space: Space, count: int, rng: np.random.Generator) -> IntArray:
    """(N, D) uniformly drawn distinct architectures; the whole space where it has no more than `count`."""
    space = network_space.search_space
    if space.num_architectures <= count:
        return space.enumerate()
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < count:
        drawn.setdefault(tuple(space.random(1, rng)[0].tolist()))
    return np.array(list(drawn), dtype=np.int64)


class _Bench:
    """Every block of a space as a module of its own, with the times of each distinct block, in seconds."""

    def __init__(self, network_space: NetworkSpace, settings: ProfileSettings) -> None:
        self._space, self._settings = network_space, settings
        self._images = random_images(settings, network_space.input_shape)
        *shapes, head_shape = network_space.input_shapes
        self._stem = self._step(network_space.stem, network_space.input_shape)
        self._steps = [
            [self._step(block, shape) for block in position.blocks]
            for position, shape in zip(network_space.positions, shapes, strict=True)
        ]
        self._head = self._step(network_space.head, head_shape)
        self._named = {(describe_block(block), shape): block.name for _, block, shape in blocks_of(network_space)}

    def _step(self, block: BlockDescription, shape: Shape) -> tuple[tuple[str, Shape], nn.Module]:
        return (describe_block(block), shape), place(build_block(block, nn.BatchNorm2d), self._settings, shape)

    def run(self, architectures_ND: IntArray, timer: LapTimer) -> FloatArray:
        """(B,) seconds of each distinct block: the median over all its places in the given networks."""
        samples: defaultdict[tuple[str, Shape], list[float]] = defaultdict(list)
        for architecture in architectures_ND.tolist():
            chosen = [choices[choice] for choices, choice in zip(self._steps, architecture, strict=True)]
            keys, modules = zip(self._stem, *chosen, self._head, strict=True)
            timer(modules, self._images)
            for _ in range(TIMED_RUNS):
                for key, seconds in zip(keys, timer(modules, self._images), strict=True):
                    samples[key].append(seconds)
        return np.array([np.median(samples[key]) for key in self._named])

    def rows(self, times_PB: FloatArray) -> tuple[BlockLatency, ...]:
        """The rows of the table, in the order of the network, from the times of all passes."""
        times = _MS * times_PB
        figures = zip(np.median(times, axis=0), times.mean(axis=0), robust_spread(times), strict=True)
        return tuple(
            BlockLatency(
                block=name,
                description=description,
                input_shape=shape,
                median_ms=float(median),
                mean_ms=float(mean),
                spread_ms=float(spread),
                repeats=len(times),
            )
            for ((description, shape), name), (median, mean, spread) in zip(self._named.items(), figures, strict=True)
        )


def conditions_of(network_space: Space, settings: ProfileSettings) -> LatencyConditions:
    """Where and how a space is measured now."""
    return LatencyConditions(
        device=device_name(settings),
        batch_size=settings.images,
        precision=settings.precision,
        threads=settings.threads,
        clock=settings.clock,
        runtime=runtime_name(settings),
        measured_on=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        space_name=network_space.name,
        space_fingerprint=network_space.fingerprint,
    )


def _check_conditions(conditions: LatencyConditions, settings: ProfileSettings) -> None:
    table = (conditions.batch_size, conditions.precision)
    if table != (settings.images, settings.precision):
        raise ConfigError(
            "a table must be validated with the batch size and precision of its measurement, "
            f"{table[0]} and {table[1]}, got {settings.images} and {settings.precision}: "
            f"set batch_size={table[0]}, precision={table[1]!r}"
        )
