"""Columns of the tables of a run."""

# K distributions, N samples, D variables, C categories (padded)

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked_arguments

SCHEMA_VERSION = 2
"""Version of the files of a run; files of other versions cannot be read."""

VERSION_KEY = "multinas_ray.schema_version"
TABLE_KEY = "multinas_ray.table"
CONFIG_KEY = "multinas_ray.config"

_ARCHITECTURE = pa.list_(pa.int16())
_NUMBERS = pa.list_(pa.int64())
"""Architectures of a space with numbers; -1 where a variable is not active."""


def _column(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


_ROUND_COLUMNS = (_column("round", pa.int64()), _column("block", pa.int64()), _column("trial_id", pa.string()))
_ARCHITECTURE_COLUMNS = (_column("architecture", _ARCHITECTURE), _column("architecture_readable", pa.string()))
_GOAL_COLUMNS = (pa.field("coefficient", pa.float64()), pa.field("target", pa.float64()))


@checked_arguments
def evaluations_schema(cost_names: Sequence[str], *, has_numbers: bool = False) -> pa.Schema:
    """One row per evaluation.

    Args:
        cost_names: Names of the raw costs, such as `params` (count) or `flops` (multiply-adds), each a column. It is
            empty if an evaluation did not report the cost.
        has_numbers: Whether architectures are of a space with numbers, see `has_numbers`. Then there is a column
            `drawn`, the values that were drawn and not searched, as JSON.

    Returns:
        The schema. `source` is the distribution from which a sample was drawn. `complexity` is the normalised cost that
        the search weighs; it is empty in rows that were recorded before its scale was known, and is then the raw cost
        divided by the scale. `drawn_at_update` is the number of updates at the draw, `tell_order` the place in the
        order of results, from 0, `update` the update that used the result, from 1, and `reused_id` the evaluation whose
        result a row repeats, empty for one that was run. `wall_time_seconds` counts from the start of the search. A
        failed evaluation has the loss inf and may have a NaN complexity.

        In a search of the kind "tune" a trial is an evaluation: `round` is `update` - 1 and `block` is -1. Evaluations
        without a known density (points given by the user, and unseen ones that are taken when all draws are known) have
        negative ids, -1 as `source`, `round`, `drawn_at_update`, `tell_order` and `update`, and 0 as `log_q`; no update
        uses them.

    Raises:
        ConfigError: A cost name is not a fresh identifier.
    """
    before = [
        _column("id", pa.int64()),
        *_ROUND_COLUMNS,
        _column("source", pa.int32()),
        _column("architecture", _NUMBERS if has_numbers else _ARCHITECTURE),
        _column("architecture_readable", pa.string()),
        *([pa.field("drawn", pa.string())] if has_numbers else []),
        _column("loss", pa.float64()),
        pa.field("accuracy", pa.float64()),
    ]
    after = [
        pa.field("complexity", pa.float64()),
        _column("log_q", pa.float64()),
        _column("drawn_at_update", pa.int64()),
        _column("tell_order", pa.int64()),
        _column("update", pa.int64()),
        pa.field("reused_id", pa.int64()),
        _column("wall_time_seconds", pa.float64()),
        _column("timestamp", pa.timestamp("us", tz="UTC")),
    ]
    return _schema("evaluations", before, cost_names, after)


def distributions_schema(*, has_numbers: bool = False) -> pa.Schema:
    """One row per update and distribution, written after the update.

    `update` counts from 1; `round` is the newest round whose results were told. `probs` is
    ragged: one list of C_d exact float64 per variable. In a space with numbers, see `has_numbers`, `cells` has the
    first value of each of these categories, as a share of all values. One of `coefficient` and `target` (normalised)
    is null, since a search has only the other.
    """
    columns = [
        _column("update", pa.int64()),
        _column("round", pa.int64()),
        _column("distribution", pa.int32()),
        *_GOAL_COLUMNS,
        _column("expected_complexity", pa.float64()),
        _column("expected_loss", pa.float64()),
        _column("entropy", pa.float64()),
        _column("step_size", pa.float64()),
        _column("effective_sample_size", pa.float64()),
        _column("mode", _NUMBERS if has_numbers else _ARCHITECTURE),
        _column("mode_readable", pa.string()),
        _column("mode_probability", pa.float64()),
        _column("probs", pa.list_(pa.list_(pa.float64()))),
        *([_column("cells", pa.list_(pa.list_(pa.float64())))] if has_numbers else []),
    ]
    return _schema("distributions", columns, (), [])


def rounds_schema() -> pa.Schema:
    """One row per round of a one-shot search, including the warm-up: its duration, traffic and training loss.

    `train_loss` is the loss before the round's weight step; it is empty for a round without one. `compute_seconds` is
    rank 0's time for the round. `reduced_bytes` are the bytes of gradients that each rank gave to the round's
    all-reduces, and `saved_bytes` those of all other parameters, which no subnet of the round touched; both are 0 with
    one worker. Rows that were rebuilt from the evaluations in place of damaged or missing ones have none of these
    figures.
    """
    columns = [
        *_ROUND_COLUMNS,
        pa.field("train_loss", pa.float64()),
        _column("num_evaluations", pa.int32()),
        pa.field("compute_seconds", pa.float64()),
        pa.field("reduced_bytes", pa.int64()),
        pa.field("saved_bytes", pa.int64()),
        _column("wall_time_seconds", pa.float64()),
    ]
    return _schema("rounds", columns, (), [])


@checked_arguments
def architectures_schema(cost_names: Sequence[str]) -> pa.Schema:
    """One row per chosen network.

    `network` is its place from small to large, from 0. `origin` says where it came from (`mode`: the mode of a
    distribution; `evaluated`: an evaluation of the search; `drawn`: a draw from a distribution; `mutated`: another
    candidate with one or two blocks changed; `slice`: drawn uniformly from the last part of the budget; `cheapest`: the
    space's cheapest, where nothing else kept the budgets). `limits` are the budgets it had to keep, as JSON:
    {"params": 2e6}. `evaluation_id` points into evaluations, where there is one; the evaluated architecture may be
    another encoding of the same network.
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
        *_GOAL_COLUMNS,
        pa.field("limits", pa.string()),
        *_ARCHITECTURE_COLUMNS,
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


@checked_arguments
def candidates_schema(cost_names: Sequence[str]) -> pa.Schema:
    """One row for each candidate of each network: the figures on which the choice was based, and its reason.

    `network` is the number of the network for which the candidate was considered, `origin` says where the candidate
    came from (see `architectures_schema`), and `recorded_loss` is its loss during the search. `loss` and `accuracy` are
    measured with the supernet's weights in the last rung of successive halving that the candidate reached: `rung`,
    from 1, in which networks are evaluated on so many validation `images`. Those of the last rung, which sees all
    images, may be chosen. `objective` is loss + coefficient * complexity, or the loss alone if there is a budget.
    `combined_rank` is the candidate's rank by objective and prior among those of its network that reached the rung, in
    (0, 1]; it is empty for one that may not be chosen. In the last rung the least is chosen (see `selection.choice`).

    Args:
        cost_names: As for `evaluations_schema`.

    Raises:
        ConfigError: A cost name is not a fresh identifier.
    """
    before = [
        _column("network", pa.int32()),
        _column("origin", pa.string()),
        *_ARCHITECTURE_COLUMNS,
    ]
    after = [
        _column("complexity", pa.float64()),
        pa.field("evaluation_id", pa.int64()),
        pa.field("recorded_loss", pa.float64()),
        _column("rung", pa.int32()),
        _column("images", pa.int64()),
        _column("loss", pa.float64()),
        _column("accuracy", pa.float64()),
        _column("objective", pa.float64()),
        pa.field("combined_rank", pa.float64()),
        _column("within_budget", pa.bool_()),
        _column("chosen", pa.bool_()),
        _column("reason", pa.string()),
    ]
    return _schema("candidates", before, cost_names, after)


def _schema(table: str, before: list[pa.Field], cost_names: Sequence[str], after: list[pa.Field]) -> pa.Schema:
    taken = {field.name for field in before + after}
    for name in cost_names:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in taken:
            raise ConfigError(
                f"the cost name {name!r} cannot be a column of {table}: use lower-case letters, digits and _, but "
                f"none of {', '.join(sorted(taken))}, and each name once"
            )
        taken.add(name)
    costs = [pa.field(name, pa.float64()) for name in cost_names]
    return pa.schema(before + costs + after, metadata={VERSION_KEY: str(SCHEMA_VERSION), TABLE_KEY: table})


def has_numbers(config: Mapping[str, Any]) -> bool:
    """Whether a run's space has more than choices that are always there: numbers, conditions, or values drawn."""
    optimizer, space = config.get("optimizer") or {}, config.get("space") or {}
    return bool(optimizer.get("num_values") or optimizer.get("conditions") or space.get("drawn"))


@checked_arguments
def config_metadata(config: Mapping[str, Any]) -> dict[str, str]:
    """Return file metadata with a run's configuration as JSON (numpy arrays as lists)."""
    text = json.dumps(config, default=lambda value: np.asarray(value).tolist())
    return {CONFIG_KEY: text}


def journal_header(cost_names: Sequence[str]) -> dict[str, Any]:
    """First line of a journal of `evaluations_schema(cost_names)`, or of `rounds_schema()`, which has no costs."""
    return {"schema_version": SCHEMA_VERSION, "costs": list(cost_names)}
