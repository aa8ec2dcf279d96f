"""The latency of a PyTorch model's networks, module by module.

A module is timed in its place, within networks that together use every module at each of its widths, as multiply-adds
are counted. What it takes in itself, without the modules within it, is a term of a sum; so the latency is exact in
expectation, and whole networks show how good the sum is.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from multinas_ray.choices import Places, TimedParts
from multinas_ray.data import batch_of, call, map_tensors
from multinas_ray.errors import ConfigError
from multinas_ray.latency.config import ProfileSettings
from multinas_ray.latency.model_table import ModelLatencyTable
from multinas_ray.latency.profiling import NUM_VALIDATION_NETWORKS, conditions_of, distinct_architectures
from multinas_ray.latency.timing import (
    PRECISIONS,
    OnPass,
    check_device,
    in_force,
    repeat_until_steady,
    robust_spread,
)
from multinas_ray.latency.validation import LatencyValidation
from multinas_ray.settings import checked, checked_arguments
from multinas_ray.spaces import AdditiveCost, Cost, FactoredCost, FloatArray, IntArray, ModelSpace, sum_of_terms
from multinas_ray.supernets import build_subnet

Clock = Callable[[], float]
_MS = 1000.0


@checked
@dataclass(frozen=True)
class ModelLatency:
    """What was measured of a model's networks."""

    cost: Cost
    """The cost ``latency``, in milliseconds for a batch: for `OneShotSearchConfig.extra_costs`."""
    table: ModelLatencyTable
    """The same as a table that can be written and read again."""
    validation: LatencyValidation
    """Its predictions for whole networks, and what these took."""


@checked_arguments
def profile_model(
    space: ModelSpace,
    settings: ProfileSettings,
    *,
    clock: Clock | None = None,
    on_pass: OnPass = lambda passes, error: None,
    on_whole_pass: OnPass = lambda passes, error: None,
) -> ModelLatency:
    """Measure the modules of a model on this machine, and whole networks to compare with their sum.

    Args:
        space: the networks.
        settings: device, batch and number of passes; the backend must be "torch".
        clock: for tests; by default the one that the settings ask for.
        on_pass: called after each pass over the modules.
        on_whole_pass: called after each pass over the whole networks.

    Raises:
        ConfigError: there is no such device, the backend is another, or an argument breaks its rule.
    """
    settings = settings.sized_for(space)
    if settings.backend != "torch":
        raise ConfigError(f"backend must be 'torch' for a model with choices, got {settings.backend!r}: leave it out")
    check_device(settings)
    bench = _ModelBench(space, settings, clock or _clock_of(settings))
    with in_force(settings):
        cost = bench.measure(on_pass)
        rows_ND = distinct_architectures(space, NUM_VALIDATION_NETWORKS, np.random.default_rng([settings.seed, 1]))
        times_PN = _MS * bench.measure_whole(rows_ND, on_whole_pass)
    half = len(times_PN) // 2
    validation = LatencyValidation(
        architectures=rows_ND,
        readable=tuple(space.search_space.describe(row) for row in rows_ND),
        predicted_ms=cost(rows_ND),
        measured_ms=np.median(times_PN, axis=0),
        spread_ms=robust_spread(times_PN),
        first_half_ms=np.median(times_PN[:half], axis=0),
        second_half_ms=np.median(times_PN[half:], axis=0),
    )
    return ModelLatency(cost, ModelLatencyTable.of(cost, space, conditions_of(space, settings)), validation)


def _clock_of(settings: ProfileSettings) -> Clock:
    """Seconds; on a GPU, after all that was asked of it is done."""
    if settings.device == "cuda":

        def finished() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

        return finished
    return time.thread_time if settings.clock == "cpu" else time.perf_counter


class _ModelBench:
    """The model with a clock at each of its modules."""

    def __init__(self, space: ModelSpace, settings: ProfileSettings, clock: Clock) -> None:
        self._space, self._settings, self._clock = space, settings, clock
        self._model = self._placed(space.make())
        self._places = Places.of(self._model)
        self._timed = TimedParts.of(self._model)
        self._parts = self._timed.by_module
        generator = torch.Generator().manual_seed(settings.seed)

        def made(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
            is_float = dtype.is_floating_point
            values = torch.randn(shape, generator=generator) if is_float else torch.zeros(shape)
            return values.to(settings.device, PRECISIONS[settings.precision] if is_float else dtype)

        self._inputs = batch_of(space.inputs, settings.images, made)
        if isinstance(self._inputs, torch.Tensor) and self._inputs.ndim == 4:
            self._inputs = map_tensors(lambda each: each.contiguous(memory_format=torch.channels_last), self._inputs)

    def _placed(self, module: nn.Module) -> nn.Module:
        settings = self._settings
        module.eval().to(settings.device, PRECISIONS[settings.precision])
        return module.to(memory_format=torch.channels_last)

    def measure(self, on_pass: OnPass) -> AdditiveCost | FactoredCost:
        """The latency as a sum over the modules, in milliseconds."""
        rng, keys = np.random.default_rng(self._settings.seed), list[tuple[Any, tuple[int, ...]]]()

        def one_pass() -> FloatArray:
            samples: defaultdict[tuple[Any, tuple[int, ...]], list[float]] = defaultdict(list)
            for row in self._timed.covering_architectures(self._places, rng):
                self._places.activate(row)
                call(self._model, self._inputs)
                for module, seconds in self._own_seconds().items():
                    part = self._parts[module]
                    samples[part, part.combination].append(seconds)
            if not keys:
                keys.extend(samples)
            return np.array([np.median(samples[key]) for key in keys])

        one_pass()  # warm-up: memory, and the choice of kernels
        times_PN = repeat_until_steady(one_pass, self._settings, on_pass)
        for (part, combination), seconds in zip(keys, np.median(times_PN, axis=0), strict=True):
            part.costs[combination] = _MS * float(seconds)
        used = [part for part in self._parts.values() if part.costs]
        terms = [part.term(self._places) for part in used]
        known = [term for term in terms if term is not None]
        if len(known) < len(terms):
            raise ConfigError("a module must depend on few choices for its latency, some depend on too many")
        return replace(sum_of_terms("latency", known, self._space.search_space.num_categories, 0.0), unit="ms")

    def _own_seconds(self) -> dict[nn.Module, float]:
        """What each module of the active network takes without the modules within it."""
        own: defaultdict[nn.Module, float] = defaultdict(float)
        began: list[tuple[float, float]] = []  # when a module began, and what was within it so far

        def timed(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **kwargs: Any) -> Any:
                began.append((self._clock(), 0.0))
                output = forward(*args, **kwargs)
                start, within = began.pop()
                whole = self._clock() - start
                own[module] += whole - within
                if began:
                    began[-1] = (began[-1][0], began[-1][1] + whole)
                return output

            return run

        with ExitStack() as restored:
            for module in self._parts:  # hooks would take longer than many modules
                restored.callback(vars(module).pop, "forward")
                vars(module)["forward"] = timed(module, module.forward)
            call(self._model, self._inputs)
        return own

    def measure_whole(self, rows_ND: IntArray, on_pass: OnPass) -> FloatArray:
        """(P, N) seconds of networks of their own in each pass."""
        networks = [self._placed(build_subnet(self._space, row)) for row in rows_ND]
        rng = np.random.default_rng([self._settings.seed, 2])

        def one_pass() -> FloatArray:
            seconds_N = np.empty(len(networks))
            for index in rng.permutation(len(networks)):
                call(networks[index], self._inputs)
                start = self._clock()
                call(networks[index], self._inputs)
                seconds_N[index] = self._clock() - start
            return seconds_N

        return repeat_until_steady(one_pass, self._settings, on_pass)
