"""The optimiser's changing state, and its strict reading from plain data.

Notation: K distributions, D variables, C categories (padded), N samples, H kept probabilities.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from multinas_ray.core.arrays import FloatArray
from multinas_ray.core.asng import ASNGSettings, ASNGState, initial_state
from multinas_ray.core.config import OptimizerConfig
from multinas_ray.core.distributions import CategoryLayout
from multinas_ray.core.ledger import Ledger
from multinas_ray.core.outstanding import Outstanding
from multinas_ray.core.proposals import Evaluations, Proposals
from multinas_ray.core.reader import StateReader
from multinas_ray.core.reuse import LATENESS, SampleMemory
from multinas_ray.errors import ConfigError, StateError

VERSION = 3
COUNTERS = ("num_updates", "num_told")


@dataclass(frozen=True, eq=False)
class LastUpdate:
    """What the report needs of the last update's weights; NaN before there was one."""

    effective_sample_size_K: FloatArray
    mean_loss_K: FloatArray
    mean_complexity_K: FloatArray


@dataclass(eq=False)
class OptimizerState:
    """Everything that changes. Its arrays are replaced, never written."""

    asng: ASNGState
    rng: np.random.Generator
    memory: SampleMemory
    outstanding: Outstanding
    queue: Proposals
    """Drawn, not asked for yet; their ids are given at the asking."""
    batch: Evaluations
    """Told, waiting for the update they will enter; fewer than samples_per_update."""
    last_update: LastUpdate
    num_updates: int = 0
    num_told: int = 0


def start_state(settings: ASNGSettings, config: OptimizerConfig, rng: np.random.Generator) -> OptimizerState:
    """Returns the state before anything was asked or told."""
    num_variables, num_distributions = len(config.num_categories), config.num_distributions
    asng = initial_state(settings, num_distributions)
    unknown_K = np.full(num_distributions, np.nan)
    return OptimizerState(
        asng=asng,
        rng=rng,
        memory=SampleMemory.start(config.memory, asng.probs_KDC),
        outstanding=Outstanding(Proposals.empty(num_variables)),
        queue=Proposals.empty(num_variables),
        batch=Evaluations.empty(num_variables),
        last_update=LastUpdate(unknown_K, unknown_K, unknown_K),
    )


def write_state(state: OptimizerState, config: OptimizerConfig) -> dict[str, Any]:
    """Returns the state as nested dicts of plain values and freshly copied numpy arrays."""
    return {
        "version": VERSION,
        "config": _plain_config(config),
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


def read_state(data: object, config: OptimizerConfig, layout: CategoryLayout, settings: ASNGSettings) -> OptimizerState:
    """Builds the state from what `write_state` returned.

    Raises:
        StateError: Something is missing, unknown, of another version or configuration, or damaged; names the
            path.
    """
    root = StateReader(data, "state")
    root.expect("version", VERSION)
    config_reader = root.section("config")
    for name, value in _plain_config(config).items():
        config_reader.expect(name, value)
    config_reader.finish()
    outstanding, counts = read_outstanding(root, layout, COUNTERS)
    state = OptimizerState(
        asng=_read_distributions(root.section("distributions"), config, layout, settings),
        rng=read_generator(root.section("rng")),
        memory=_read_memory(root.section("memory"), config, layout, counts["num_updates"]),
        outstanding=outstanding,
        queue=read_proposals(root.section("queue"), layout),
        batch=_read_evaluations(root.section("batch"), layout),
        last_update=_read_last_update(root.section("last_update"), config.num_distributions),
        **counts,
    )
    root.finish()
    _check_together(state, config)
    return state


def _check_together(state: OptimizerState, config: OptimizerConfig) -> None:
    """Checks what holds between the parts."""
    num_batch = state.num_told - state.num_updates * config.samples_per_update
    if len(state.batch) != num_batch or not 0 <= num_batch < config.samples_per_update:
        raise StateError(
            f"state.batch: expected {num_batch} rows, those told after update {state.num_updates} and fewer "
            f"than {config.samples_per_update}, found {len(state.batch)}"
        )


def _plain_config(config: OptimizerConfig) -> dict[str, Any]:
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}
    return {**plain, "delta_max": None if np.isinf(config.delta_max) else config.delta_max}


def plain_proposals(proposals: Proposals) -> dict[str, Any]:
    """Returns proposals as plain data."""
    return {field.name: getattr(proposals, field.name).copy() for field in fields(proposals)}


def plain_outstanding(outstanding: Outstanding, counts: dict[str, int]) -> dict[str, Any]:
    """Returns the sections counters (with `counts`), settled and pending as plain data."""
    ledger = outstanding.ledger
    return {
        "counters": {"next_id": outstanding.next_id, "num_ignored": outstanding.num_ignored, **counts},
        "settled": {"watermark": ledger.watermark, "above": ledger.settled_above.copy()},
        "pending": plain_proposals(outstanding.pending),
    }


def _plain_evaluations(evaluations: Evaluations) -> dict[str, Any]:
    return {
        **plain_proposals(evaluations.proposals),
        "losses": evaluations.losses.copy(),
        "complexities": evaluations.complexities.copy(),
    }


def plain_generator(rng: np.random.Generator) -> dict[str, Any]:
    """Returns a PCG64 generator's state as plain data."""
    raw = rng.bit_generator.state
    return {
        "bit_generator": raw["bit_generator"],
        "state": str(raw["state"]["state"]),  # 128 bits: more than other readers of JSON hold in a number
        "inc": str(raw["state"]["inc"]),
        "has_uint32": int(raw["has_uint32"]),
        "uinteger": int(raw["uinteger"]),
    }


def read_generator(reader: StateReader) -> np.random.Generator:
    """Reads a PCG64 generator; StateError if it is damaged."""
    reader.expect("bit_generator", "PCG64")
    bit_generator = np.random.PCG64(0)
    bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": reader.digits("state", 2**128), "inc": reader.digits("inc", 2**128)},
        "has_uint32": reader.integer("has_uint32", below=2),
        "uinteger": reader.integer("uinteger", below=2**32),
    }
    reader.finish()
    return np.random.Generator(bit_generator)


def _read_probs(reader: StateReader, shape: tuple[int | None, ...], layout: CategoryLayout) -> FloatArray:
    probs = reader.floats("probs", shape)
    sums_to_one = np.allclose(probs.sum(axis=-1), 1.0, rtol=0.0, atol=1e-9)
    if not sums_to_one or (probs[..., layout.valid_DC] <= 0.0).any() or probs[..., ~layout.valid_DC].any():
        raise StateError(
            f"{reader.path}.probs: expected positive probabilities that sum to 1 over each variable's "
            "categories and zeros in the padding, found others"
        )
    return probs


def _read_distributions(
    reader: StateReader, config: OptimizerConfig, layout: CategoryLayout, settings: ASNGSettings
) -> ASNGState:
    num_distributions = config.num_distributions
    shape_KDC = (num_distributions, *layout.valid_DC.shape)
    state = ASNGState(
        probs_KDC=_read_probs(reader, shape_KDC, layout),
        path_KDC=reader.floats("path", shape_KDC),
        path_weight_K=reader.floats("path_weight", (num_distributions,)),
        step_divisor_K=reader.floats("step_divisor", (num_distributions,)),
    )
    if (state.step_divisor_K < settings.least_divisor).any():
        raise StateError(
            f"{reader.path}.step_divisor: expected at least {settings.least_divisor}, "
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
            f"{root.path}.pending.ids: expected distinct ids that {root.path}.settled does not hold, found others"
        )
    used = [ledger.watermark, *(ledger.settled_above + 1), *(pending.ids + 1)]
    if next_id < max(used):
        raise StateError(f"{root.path}.counters.next_id: expected at least {max(used)}, found {next_id}")
    return Outstanding(pending, ledger, next_id, num_ignored), counts


def _read_ledger(reader: StateReader) -> Ledger:
    ledger = Ledger(reader.integer("watermark"), reader.integers("above", (None,)))
    above = ledger.settled_above
    if len(above) and (above[0] <= ledger.watermark or (np.diff(above) <= 0).any()):
        raise StateError(f"{reader.path}.above: expected increasing ids above {ledger.watermark}, found others")
    reader.finish()
    return ledger


def read_proposals(reader: StateReader, layout: CategoryLayout, finish: bool = True) -> Proposals:
    """Reads proposals of this space; StateError if they are damaged."""
    architectures = reader.integers("architectures", (None, len(layout.num_categories)))
    shape_N = (len(architectures),)
    if (architectures < 0).any() or (architectures > layout.last_D).any():
        raise StateError(
            f"{reader.path}.architectures: expected categories below {layout.num_categories}, found others"
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
    bad = np.isfinite(columns["losses"]) & ~(np.isfinite(columns["complexities"]) & (columns["complexities"] >= 0.0))
    if bad.any():
        raise StateError(f"{reader.path}.complexities: expected at least 0 where the loss is finite, found others")
    if finish:
        reader.finish()
    return Evaluations(proposals=proposals, **columns)


def _read_last_update(reader: StateReader, num_distributions: int) -> LastUpdate:
    names = ("effective_sample_size", "mean_loss", "mean_complexity")
    last_update = LastUpdate(*(reader.floats(name, (num_distributions,), finite=False) for name in names))
    reader.finish()
    return last_update


def _read_memory(
    reader: StateReader, config: OptimizerConfig, layout: CategoryLayout, num_updates: int
) -> SampleMemory:
    evaluations = _read_evaluations(reader, layout, finish=False)
    num_rows = min(config.memory, num_updates) * config.samples_per_update
    if len(evaluations) != num_rows:
        raise StateError(f"{reader.path}: expected {num_rows} remembered samples, found {len(evaluations)}")
    num_kept = min(num_updates, config.memory + LATENESS) + 1 if config.memory else 0
    probs = _read_probs(reader, (num_kept, config.num_distributions, *layout.valid_DC.shape), layout)
    reader.finish()
    return SampleMemory(config.memory, evaluations, probs)
