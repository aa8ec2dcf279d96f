"""The optimiser's changing state, and its strict reading from plain data.

Notation: K distributions, D variables, C categories (padded), N samples, H kept probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from multinas_ray.core.arrays import FloatArray
from multinas_ray.core.asng import ASNGSettings, ASNGState, initial_state
from multinas_ray.core.checks import are_complexities
from multinas_ray.core.distributions import uniform_probs
from multinas_ray.core.layout import CategoryLayout
from multinas_ray.core.ledger import Ledger
from multinas_ray.core.outstanding import Outstanding
from multinas_ray.core.proposals import Evaluations, Proposals
from multinas_ray.core.reader import StateReader
from multinas_ray.core.reuse import LATENESS, SampleMemory
from multinas_ray.core.seeds import plain_generator, read_generator
from multinas_ray.core.settings import OptimizerSettings
from multinas_ray.core.start import start_near, start_near_targets
from multinas_ray.errors import ConfigError, StateError

VERSION = 6
COUNTERS = ("num_updates", "num_told")
MOST_MAGNITUDE = 1e100
"""Numbers of a step are smaller; the squares of larger ones would overflow."""


@dataclass(frozen=True, eq=False)
class LastUpdate:
    """Figures of the last update for reports; NaN before the first update."""

    effective_sample_size_K: FloatArray
    mean_loss_K: FloatArray
    mean_complexity_K: FloatArray


@dataclass(eq=False)
class OptimizerState:
    """Everything that changes. Arrays are replaced as a whole and never written in place."""

    asng: ASNGState
    layout: CategoryLayout
    """The categories of `asng`; cells are split by updates."""
    rng: np.random.Generator
    memory: SampleMemory
    outstanding: Outstanding
    queue: Proposals
    """Drawn but not asked for yet; they get their ids when they are asked for."""
    batch: Evaluations
    """Results that were told and wait for their update; fewer than samples_per_update."""
    last_update: LastUpdate
    num_updates: int = 0
    num_told: int = 0


def start_state(constants: ASNGSettings, settings: OptimizerSettings, rng: np.random.Generator) -> OptimizerState:
    """Returns the state before anything was asked or told."""
    num_variables = len(settings.num_categories)
    asng = initial_state(constants, _start_probs(constants, settings))
    unknown_K = np.full(settings.size, np.nan)
    return OptimizerState(
        asng=asng,
        layout=constants.layout,
        rng=rng,
        memory=SampleMemory.start(settings.memory, asng.probs_KDC),
        outstanding=Outstanding(Proposals.empty(num_variables)),
        queue=Proposals.empty(num_variables),
        batch=Evaluations.empty(num_variables),
        last_update=LastUpdate(unknown_K, unknown_K, unknown_K),
    )


def _start_probs(constants: ASNGSettings, settings: OptimizerSettings) -> FloatArray:
    """(K, D, C) probabilities before any update."""
    if settings.start == "uniform":
        return uniform_probs(constants.layout, settings.size)
    if settings.start == "prior":
        return start_near(constants.layout, settings.promising, constants.floor_D)
    assert settings.targets is not None
    assert settings.costs_DC is not None
    return start_near_targets(
        constants.layout, settings.targets, settings.costs_DC, settings.base_cost, constants.floor_D
    )


def write_state(state: OptimizerState, settings: OptimizerSettings) -> dict[str, Any]:
    """Returns the state as nested dicts of plain values and freshly copied numpy arrays."""
    return {
        "version": VERSION,
        "settings": settings.identity(),
        **({"cells": {"starts": state.layout.starts_DC.copy()}} if state.layout.ordered else {}),
        **plain_outstanding(state.outstanding, {name: getattr(state, name) for name in COUNTERS}),
        "distributions": {
            "probs": state.asng.probs_KDC.copy(),
            "path": state.asng.path_KDC.copy(),
            "path_weight": state.asng.path_weight_K.copy(),
            "step_divisor": state.asng.step_divisor_K.copy(),
        },
        "rng": plain_generator(state.rng),
        "queue": plain_proposals(state.queue),
        "batch": _plain_evaluations(state.batch),
        "memory": {**_plain_evaluations(state.memory.evaluations), "probs": state.memory.probs_HKDC.copy()},
        "last_update": {
            "effective_sample_size": state.last_update.effective_sample_size_K.copy(),
            "mean_loss": state.last_update.mean_loss_K.copy(),
            "mean_complexity": state.last_update.mean_complexity_K.copy(),
        },
    }


def read_state(data: object, settings: OptimizerSettings, constants: ASNGSettings) -> OptimizerState:
    """Builds the state from what `write_state` returned.

    Raises:
        StateError: Something is missing, unknown, of another version or other settings, or damaged; names the
            path.
    """
    root = StateReader(data, "state")
    root.expect("version", VERSION)
    layout = constants.layout
    if layout.ordered:
        layout = _read_cells(root.section("cells"), layout)
        constants = replace(constants, layout=layout)
    settings_reader = root.section("settings")
    for name, value in settings.identity().items():
        settings_reader.expect(name, value)
    settings_reader.finish()
    outstanding, counts = read_outstanding(root, layout, COUNTERS)
    state = OptimizerState(
        layout=layout,
        asng=_read_distributions(root.section("distributions"), settings.size, constants),
        rng=read_generator(root.section("rng")),
        memory=_read_memory(root.section("memory"), settings, layout, counts["num_updates"]),
        outstanding=outstanding,
        queue=read_proposals(root.section("queue"), layout),
        batch=_read_evaluations(root.section("batch"), layout),
        last_update=_read_last_update(root.section("last_update"), settings.size),
        **counts,
    )
    root.finish()
    _check_together(state, settings.update_size)
    return state


def _read_cells(reader: StateReader, layout: CategoryLayout) -> CategoryLayout:
    starts_DC = reader.integers("starts", (len(layout.num_values), None))
    reader.finish()
    return layout.with_starts(starts_DC, f"{reader.path}.starts")


def _check_together(state: OptimizerState, samples_per_update: int) -> None:
    """Checks that the parts agree with each other."""
    num_batch = state.num_told - state.num_updates * samples_per_update
    if len(state.batch) != num_batch or not 0 <= num_batch < samples_per_update:
        raise StateError(
            f"state.batch: expected {num_batch} rows, those told after update {state.num_updates} and fewer "
            f"than {samples_per_update}, found {len(state.batch)}"
        )


def plain_proposals(proposals: Proposals) -> dict[str, Any]:
    """Returns proposals as plain data."""
    return {field.name: getattr(proposals, field.name).copy() for field in fields(proposals)}


def plain_outstanding(outstanding: Outstanding, counts: dict[str, int]) -> dict[str, Any]:
    """Returns the sections counters (with `counts`), settled and pending as plain data."""
    ledger = outstanding.ledger
    return {
        "counters": {"next_id": outstanding.next_id, "num_ignored": outstanding.num_ignored, **counts},
        "settled": {
            "watermark": ledger.watermark,
            "above": ledger.settled_above.copy(),
            "open": ledger.open_below.copy(),
        },
        "pending": plain_proposals(outstanding.pending),
    }


def _plain_evaluations(evaluations: Evaluations) -> dict[str, Any]:
    return {
        **plain_proposals(evaluations.proposals),
        "losses": evaluations.losses.copy(),
        "complexities": evaluations.complexities.copy(),
    }


def _read_probs(reader: StateReader, shape: tuple[int | None, ...], layout: CategoryLayout) -> FloatArray:
    probs = reader.floats("probs", shape)
    sums_to_one = np.allclose(probs.sum(axis=-1), 1.0, rtol=0.0, atol=1e-9)
    if not sums_to_one or (probs[..., layout.valid_DC] <= 0.0).any() or probs[..., ~layout.valid_DC].any():
        raise StateError(
            f"{reader.path}.probs: expected positive probabilities that sum to 1 over each variable's "
            "categories and zeros in the padding, found other values"
        )
    return probs


def _read_distributions(reader: StateReader, num_distributions: int, constants: ASNGSettings) -> ASNGState:
    layout = constants.layout
    shape_KDC = (num_distributions, *layout.valid_DC.shape)
    state = ASNGState(
        probs_KDC=_read_probs(reader, shape_KDC, layout),
        path_KDC=reader.floats("path", shape_KDC),
        path_weight_K=reader.floats("path_weight", (num_distributions,)),
        step_divisor_K=reader.floats("step_divisor", (num_distributions,)),
    )
    for name, values in (("path", state.path_KDC), ("step_divisor", state.step_divisor_K)):
        if (np.abs(values) > MOST_MAGNITUDE).any():
            raise StateError(
                f"{reader.path}.{name}: expected numbers up to {MOST_MAGNITUDE:g}, found {np.abs(values).max():g}"
            )
    if (state.path_weight_K < 0.0).any() or (state.path_weight_K > 1.0 + 1e-9).any():
        raise StateError(f"{reader.path}.path_weight: expected numbers from 0 to 1, found other values")
    if (state.step_divisor_K < constants.least_divisor).any():
        raise StateError(
            f"{reader.path}.step_divisor: expected at least {constants.least_divisor}, "
            f"found {state.step_divisor_K.min()}"
        )
    reader.finish()
    return state


def read_outstanding(
    root: StateReader, layout: CategoryLayout, counters: Sequence[str]
) -> tuple[Outstanding, dict[str, int]]:
    """Reads what `plain_outstanding` gave, and the further `counters`; StateError if it is damaged."""
    reader = root.section("counters")
    counts = {name: reader.integer(name) for name in counters}
    next_id, num_ignored = reader.integer("next_id"), reader.integer("num_ignored")
    reader.finish()
    pending, ledger = read_proposals(root.section("pending"), layout), _read_ledger(root.section("settled"))
    if not ledger.is_new(pending.ids).all():
        raise StateError(
            f"{root.path}.pending.ids: expected distinct ids that {root.path}.settled does not hold, found other values"
        )
    if not np.isin(ledger.open_below, pending.ids).all():
        raise StateError(f"{root.path}.settled.open: expected ids of {root.path}.pending, found other values")
    used = [ledger.watermark, *(ledger.settled_above + 1), *(pending.ids + 1)]
    if next_id < max(used):
        raise StateError(f"{root.path}.counters.next_id: expected at least {max(used)}, found {next_id}")
    return Outstanding(pending, ledger, next_id, num_ignored), counts


def _read_ledger(reader: StateReader) -> Ledger:
    ledger = Ledger(reader.integer("watermark"), *(reader.integers(name, (None,)) for name in ("above", "open")))
    above = ledger.settled_above
    if len(above) and (above[0] <= ledger.watermark or (np.diff(above) <= 0).any()):
        raise StateError(f"{reader.path}.above: expected increasing ids above {ledger.watermark}, found other values")
    kept = ledger.open_below
    if len(kept) and (kept[0] < 0 or kept[-1] >= ledger.watermark or (np.diff(kept) <= 0).any()):
        raise StateError(f"{reader.path}.open: expected increasing ids below {ledger.watermark}, found other values")
    reader.finish()
    return ledger


def read_proposals(reader: StateReader, layout: CategoryLayout, finish: bool = True) -> Proposals:
    """Reads proposals of this space; StateError if they are damaged."""
    architectures = reader.integers("architectures", (None, len(layout.num_categories)))
    shape_N = (len(architectures),)
    if layout.outside(architectures).any():
        raise StateError(
            f"{reader.path}.architectures: expected categories below {layout.num_values}, found other values"
        )
    columns = {name: reader.integers(name, shape_N) for name in ("sources", "ids", "drawn_at")}
    log_q = reader.floats("log_q", shape_N)
    if finish:
        reader.finish()
    try:
        return Proposals(architectures=architectures, log_q=log_q, **columns)
    except ConfigError as error:
        raise StateError(f"{reader.path}: {error}") from error


def _read_evaluations(reader: StateReader, layout: CategoryLayout, finish: bool = True) -> Evaluations:
    proposals = read_proposals(reader, layout, finish=False)
    columns = {name: reader.floats(name, (len(proposals),), finite=False) for name in ("losses", "complexities")}
    if (np.isfinite(columns["losses"]) & ~are_complexities(columns["complexities"])).any():
        raise StateError(
            f"{reader.path}.complexities: expected at least 0 where the loss is finite, found other values"
        )
    if finish:
        reader.finish()
    return Evaluations(proposals=proposals, **columns)


def _read_last_update(reader: StateReader, num_distributions: int) -> LastUpdate:
    names = ("effective_sample_size", "mean_loss", "mean_complexity")
    last_update = LastUpdate(*(reader.floats(name, (num_distributions,), finite=False) for name in names))
    reader.finish()
    return last_update


def _read_memory(
    reader: StateReader, settings: OptimizerSettings, layout: CategoryLayout, num_updates: int
) -> SampleMemory:
    evaluations = _read_evaluations(reader, layout, finish=False)
    num_rows = min(settings.memory, num_updates) * settings.update_size
    if len(evaluations) != num_rows:
        raise StateError(f"{reader.path}: expected {num_rows} remembered samples, found {len(evaluations)}")
    num_kept = min(num_updates, settings.memory + LATENESS) + 1 if settings.memory else 0
    probs = _read_probs(reader, (num_kept, settings.size, *layout.valid_DC.shape), layout)
    reader.finish()
    return SampleMemory(settings.memory, evaluations, probs)
