"""Columns of the record of a search, and helpers that fill them."""

# K distributions, N samples, D variables, C categories (padded)

import datetime
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from multinas_ray.errors import ConfigError, StateError

SCHEMA_VERSION = 2
"""Version of the files of a run; readers refuse another."""

VERSION_KEY = "multinas_ray.schema_version"
TABLE_KEY = "multinas_ray.table"
CONFIG_KEY = "multinas_ray.config"

_ARCHITECTURE = pa.list_(pa.int16())


class DrawnSamples(Protocol):
    """The part of the core's `Proposals` that is recorded."""

    @property
    def architectures(self) -> npt.NDArray[np.int64]:
        """(N, D) category of each variable."""

    @property
    def log_q(self) -> npt.NDArray[np.float64]:
        """(N,) log density of the draw."""

    @property
    def sources(self) -> npt.NDArray[np.int64]:
        """(N,) distribution drawn from."""

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        """(N,) number of each sample, from 0."""

    @property
    def drawn_at(self) -> npt.NDArray[np.int64]:
        """(N,) updates done at the draw."""


def evaluations_schema(cost_names: Sequence[str]) -> pa.Schema:
    """One row per evaluated subnet.

    Args:
        cost_names: A column each for the raw costs, such as `params` (count) or `flops` (multiply-adds).

    Returns:
        The schema. `source` is the distribution a sample was drawn from; `complexity` the cost that the search
        weighs, normalised; `drawn_at_update` the updates done at its draw; `tell_order` its place in the order of
        results, from 0; `update` the update that consumed it, from 1; `wall_time_seconds` counts from the
        start of the search. A failed evaluation has the loss inf and may have a NaN complexity.

    Raises:
        ConfigError: A cost name is not a fresh identifier.
    """
    before = [
        _column("id", pa.int64()),
        _column("round", pa.int64()),
        _column("block", pa.int64()),
        _column("trial_id", pa.string()),
        _column("source", pa.int32()),
        _column("architecture", _ARCHITECTURE),
        _column("architecture_readable", pa.string()),
        _column("loss", pa.float64()),
        pa.field("accuracy", pa.float64()),
    ]
    after = [
        _column("complexity", pa.float64()),
        _column("log_q", pa.float64()),
        _column("drawn_at_update", pa.int64()),
        _column("tell_order", pa.int64()),
        _column("update", pa.int64()),
        _column("wall_time_seconds", pa.float64()),
        _column("timestamp", pa.timestamp("us", tz="UTC")),
    ]
    return _schema("evaluations", before, cost_names, after)


def tune_evaluations_schema(cost_names: Sequence[str]) -> pa.Schema:
    """One row per result of a search in a Tune pipeline, where a trial is an evaluation; see `evaluations_schema`.

    Two columns differ. `complexity` is empty in rows recorded before its scale was known: it is the raw cost over
    the scale. `reused_id` is the evaluation whose result a row repeats, empty for one that was run. `round` is
    `update` - 1 and `block` is -1. Evaluations without a known density (points given by the user, unseen ones taken
    when all draws are known) have negative ids, `source`, `round`, `drawn_at_update`, `tell_order` and `update` of
    -1, and a `log_q` of 0: no update uses them.

    Args:
        cost_names: As for `evaluations_schema`.

    Raises:
        ConfigError: A cost name is not a fresh identifier.
    """
    schema = evaluations_schema([*cost_names, "reused_id"])
    schema = schema.set(schema.get_field_index("reused_id"), pa.field("reused_id", pa.int64()))
    return schema.set(schema.get_field_index("complexity"), pa.field("complexity", pa.float64()))


def distributions_schema() -> pa.Schema:
    """One row per update and distribution, written after the update.

    `update` counts from 1 (0, the start, may be recorded too); `round` is the newest round told. `probs` is
    ragged: one list of C_d float64 per variable, exact. Of `coefficient` and `target` (normalised) one is null: the
    search had the other.
    """
    columns = [
        _column("update", pa.int64()),
        _column("round", pa.int64()),
        _column("distribution", pa.int32()),
        pa.field("coefficient", pa.float64()),
        pa.field("target", pa.float64()),
        _column("expected_complexity", pa.float64()),
        _column("expected_loss", pa.float64()),
        _column("entropy", pa.float64()),
        _column("step_size", pa.float64()),
        _column("effective_sample_size", pa.float64()),
        _column("mode", _ARCHITECTURE),
        _column("mode_readable", pa.string()),
        _column("mode_probability", pa.float64()),
        _column("probs", pa.list_(pa.list_(pa.float64()))),
    ]
    return _schema("distributions", columns, (), [])


def rounds_schema() -> pa.Schema:
    """One row per round of a supernet run, warm-up included: what it cost, and the training loss before its step.

    `train_loss` is empty for a round without a weight step. `compute_seconds` is rank 0's time for the round.
    `reduced_bytes` are those of the gradients that each rank gave to the round's all-reduces, `saved_bytes` those of
    all other parameters, which no subnet of the round touched; both are 0 with one worker. Rows come with the
    snapshots, so a killed run may lack its newest.
    """
    columns = [
        _column("round", pa.int64()),
        _column("block", pa.int64()),
        _column("trial_id", pa.string()),
        pa.field("train_loss", pa.float64()),
        _column("num_evaluations", pa.int32()),
        _column("compute_seconds", pa.float64()),
        _column("reduced_bytes", pa.int64()),
        _column("saved_bytes", pa.int64()),
        _column("wall_time_seconds", pa.float64()),
    ]
    return _schema("rounds", columns, (), [])


def architectures_schema(cost_names: Sequence[str]) -> pa.Schema:
    """One row per chosen network.

    `network` is its place from small to large, from 0. `origin` says where it came from (`mode`: the mode of its
    distribution; `evaluated`: an evaluation of the search; `drawn`: a fresh draw from its distribution; `cheapest`: the
    space's cheapest, where nothing else kept the budgets). `limits` are the budgets it had to keep, as JSON:
    {"params": 2e6}. `evaluation_id` points into evaluations, where there is one.
    `supernet_loss` and `supernet_accuracy` are measured with the supernet's weights on all validation images,
    `supernet_test_accuracy` and `retrained_*` on the test images. Paths are relative to the table's folder.

    Args:
        cost_names: As for `evaluations_schema`.

    Raises:
        ConfigError: A cost name is not a fresh identifier.
    """
    before = [
        _column("network", pa.int32()),
        _column("origin", pa.string()),
        pa.field("distribution", pa.int32()),
        pa.field("coefficient", pa.float64()),
        pa.field("target", pa.float64()),
        pa.field("limits", pa.string()),
        _column("architecture", _ARCHITECTURE),
        _column("architecture_readable", pa.string()),
    ]
    after = [
        _column("complexity", pa.float64()),
        pa.field("mode_probability", pa.float64()),
        pa.field("evaluation_id", pa.int64()),
        pa.field("supernet_loss", pa.float64()),
        pa.field("supernet_accuracy", pa.float64()),
        pa.field("supernet_test_accuracy", pa.float64()),
        pa.field("weights_path", pa.string()),
        pa.field("retrained_loss", pa.float64()),
        pa.field("retrained_accuracy", pa.float64()),
        pa.field("retrained_epochs", pa.int32()),
        pa.field("retrained_path", pa.string()),
    ]
    return _schema("architectures", before, cost_names, after)


def candidates_schema(cost_names: Sequence[str]) -> pa.Schema:
    """One row per candidate and network it stood for: what a selection weighed, and why it chose.

    `network` is the number of that network, `origin` where the candidate came from (see `architectures_schema`),
    `recorded_loss` its loss during the search; `loss` and `accuracy` are measured with the supernet's weights on all
    validation images. `objective` is loss + coefficient * complexity, or the loss alone where there is a budget: the
    least is chosen, or the largest network not told from it (see `selection.choice`).

    Args:
        cost_names: As for `evaluations_schema`.

    Raises:
        ConfigError: A cost name is not a fresh identifier.
    """
    before = [
        _column("network", pa.int32()),
        _column("origin", pa.string()),
        _column("architecture", _ARCHITECTURE),
        _column("architecture_readable", pa.string()),
    ]
    after = [
        _column("complexity", pa.float64()),
        pa.field("evaluation_id", pa.int64()),
        pa.field("recorded_loss", pa.float64()),
        _column("loss", pa.float64()),
        _column("accuracy", pa.float64()),
        _column("objective", pa.float64()),
        _column("within_budget", pa.bool_()),
        _column("chosen", pa.bool_()),
        _column("reason", pa.string()),
    ]
    return _schema("candidates", before, cost_names, after)


def config_metadata(config: Mapping[str, Any]) -> dict[str, str]:
    """Return file metadata that holds a run's configuration as JSON (numpy arrays as lists)."""
    text = json.dumps(config, default=lambda value: np.asarray(value).tolist())
    return {CONFIG_KEY: text}


def consuming_update(tell_order: npt.NDArray[np.int64], samples_per_update: int) -> npt.NDArray[np.int64]:
    """Return the number, from 1, of the update that consumes results at these places of tell order."""
    return tell_order // samples_per_update + 1


def evaluation_columns(
    samples: DrawnSamples,
    *,
    losses: npt.NDArray[np.float64],
    complexities: npt.NDArray[np.float64],
    costs: Mapping[str, npt.NDArray[np.float64]],
    accuracies: npt.NDArray[np.float64] | None,
    readable: Sequence[str],
    round_number: int,
    block: int,
    trial_id: str,
    first_tell_order: int,
    samples_per_update: int,
    wall_time_seconds: float,
) -> dict[str, Any]:
    """Fill `evaluations_schema` for the results of one round, told together in the order of their rows.

    Args:
        samples: The round's `Proposals`.
        losses: (N,), minimised; inf for a failed evaluation.
        complexities: (N,) normalised complexities.
        costs: Raw cost name -> (N,).
        accuracies: (N,) in 0..1, or None.
        readable: (N) texts of the architectures.
        round_number: From 0.
        block: From 0.
        trial_id: Ray Tune's id of the trial.
        first_tell_order: Results told before these.
        samples_per_update: The optimiser's setting.
        wall_time_seconds: Since the start of the search.

    Returns:
        The columns, for `TableWriter.append`.
    """
    total = len(losses)
    tell_order = np.arange(first_tell_order, first_tell_order + total, dtype=np.int64)
    return {
        "id": samples.ids,
        "round": np.full(total, round_number),
        "block": np.full(total, block),
        "trial_id": [trial_id] * total,
        "source": samples.sources,
        "architecture": samples.architectures,
        "architecture_readable": list(readable),
        "loss": losses,
        "accuracy": [None] * total if accuracies is None else accuracies,
        **costs,
        "complexity": complexities,
        "log_q": samples.log_q,
        "drawn_at_update": samples.drawn_at,
        "tell_order": tell_order,
        "update": consuming_update(tell_order, samples_per_update),
        "wall_time_seconds": np.full(total, float(wall_time_seconds)),
        "timestamp": [datetime.datetime.now(datetime.timezone.utc)] * total,
    }


def distribution_columns(
    *,
    update: int,
    round_number: int,
    probs: npt.NDArray[np.float64],
    num_categories: Sequence[int],
    diagnostics: Mapping[str, npt.NDArray[Any]],
    readable: Callable[[tuple[int, ...]], str],
) -> dict[str, Any]:
    """Fill `distributions_schema` for the state after one update.

    Args:
        update: The optimiser's `num_updates`.
        round_number: The newest round told.
        probs: (K, D, C) the optimiser's `probs`.
        num_categories: (D) categories of each variable.
        diagnostics: The optimiser's `diagnostics()`, arrays with K rows.
        readable: Text of an architecture.

    Returns:
        The columns of K rows, for `TableWriter.buffer`.
    """
    total = len(probs)
    names = ["expected_complexity", "expected_loss", "entropy", "step_size"]
    names += ["effective_sample_size", "mode", "mode_probability"]
    modes = np.asarray(diagnostics["mode"])
    return {
        "update": np.full(total, update),
        "round": np.full(total, round_number),
        "distribution": np.arange(total),
        **{name: _known(diagnostics[name]) for name in ("coefficient", "target")},
        "mode_readable": [readable(tuple(int(choice) for choice in mode)) for mode in modes],
        "probs": [[row[:count] for row, count in zip(one, num_categories, strict=True)] for one in probs],
        **{name: np.asarray(diagnostics[name]) for name in names},
    }


def _known(values: npt.ArrayLike) -> list[float | None]:
    """The values as they are, None for NaN."""
    return [None if np.isnan(value) else float(value) for value in np.asarray(values, dtype=np.float64)]


def _column(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


def _schema(table: str, before: list[pa.Field], cost_names: Sequence[str], after: list[pa.Field]) -> pa.Schema:
    taken = {field.name for field in before + after}
    for name in cost_names:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in taken:
            raise ConfigError(
                f"the cost name {name!r} cannot be a column of {table}: use small letters, digits and _, and "
                f"none of {', '.join(sorted(taken))}, each name once"
            )
        taken.add(name)
    costs = [pa.field(name, pa.float64()) for name in cost_names]
    return pa.schema(before + costs + after, metadata={VERSION_KEY: str(SCHEMA_VERSION), TABLE_KEY: table})


def journal_header(cost_names: Sequence[str]) -> dict[str, Any]:
    """First line of a journal of `tune_evaluations_schema(cost_names)`."""
    return {"schema_version": SCHEMA_VERSION, "costs": list(cost_names)}


def schema_of_journal(header: Mapping[str, Any]) -> pa.Schema:
    """The schema that a journal's header stands for.

    Raises:
        StateError: the header is damaged, or another version of this package wrote it.
    """
    version, names = header.get("schema_version"), header.get("costs")
    if version != SCHEMA_VERSION:
        raise StateError(
            f"a journal has schema version {version}, this package reads {SCHEMA_VERSION}: "
            "use the version of multinas-ray that wrote it"
        )
    if not isinstance(names, list):
        raise StateError("a journal's first line does not name its costs: restore a copy of the journal")
    return tune_evaluations_schema(names)
