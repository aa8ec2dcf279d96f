"""The networks that are compared: for each limit one by each method."""

# N networks, D positions

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from experiments.cifar10 import LAPTOP_STEM_STRIDE
from experiments.parts.rows import load_rows, rows_of, save_rows
from multinas_ray.errors import ConfigError
from multinas_ray.runs import load_config
from multinas_ray.selection import PRIOR, SLICE_SHARE, load_family, make_parts, promising_networks
from multinas_ray.spaces import NetworkSpace, cifar10_mobile_space, space_from_dict
from multinas_ray.storage import make_folder, read_plain, write_plain

NETWORKS_FILE = "networks.parquet"
"""A row for each method and limit: `limit` and `flops` in multiply-adds of an image, `params`, `method`, and what gives
the network again: `width` of MobileNetV2, empty for the others, and `architecture`, (D,) indices."""
SPACE_FILE = "space.json"
"""The space of the search."""
MADE_WITH = "scaled 1"
COST = "flops"
WIDTHS = np.arange(10, 201) / 200
"""Widths of MobileNetV2 that are tried, from a twentieth to the whole."""
FINEST_DIVISOR = 2
"""Its channels are multiples of it, so that it comes near to every limit."""


class Network(NamedTuple):
    """A network of a space."""

    space: NetworkSpace
    architecture: tuple[int, ...]

    def cost(self, name: str) -> float:
        """One of its costs, in its own unit."""
        return float(self.space.costs[name]([self.architecture])[0])


@cache
def mobilenet(width: float) -> Network:
    """MobileNetV2 for images of 32x32, with this multiplier of its widths, and the strides of the laptop's search."""
    space = cifar10_mobile_space(
        width, stem_stride=LAPTOP_STEM_STRIDE, expansions=(6,), kernel_sizes=(3,), divisor=FINEST_DIVISOR
    )
    variables = space.search_space.num_variables
    return Network(space, (0,) * variables)


def widest_mobilenet(limit: float) -> float:
    """The width of the largest MobileNetV2 of at most so many multiply-adds.

    Raises:
        ConfigError: even the narrowest has more.
    """
    within = [width for width in WIDTHS.tolist() if mobilenet(width).cost(COST) <= limit]
    if not within:
        raise ConfigError(f"MobileNetV2 must fit into {limit:.10g} multiply-adds: give a run of larger targets")
    return float(max(within, key=lambda width: mobilenet(width).cost(COST)))


def networks_of(run: str | None, methods: Sequence[str], out: Path) -> pd.DataFrame:
    """The rows of NETWORKS_FILE for these methods; kept there, so that the run is needed once.

    Raises:
        ConfigError: a method has none yet, and no run is given; or the run has no targets in multiply-adds, or others
            than those that are kept.
        StateError: the run cannot be read.
    """
    kept = load_rows(out / NETWORKS_FILE, MADE_WITH)
    rows: list[dict[str, Any]] = [] if kept is None else rows_of(kept)
    missing = [method for method in methods if all(row["method"] != method for row in rows)]
    if run is not None:
        space, limits, searched = _found(run)
        before = [row for row in rows if row["method"] == "searched"]
        if before and [row["architecture"] for row in before] != [_as_text(each) for each in searched]:
            raise ConfigError(f"{out} holds results for other networks than those of {run}: give another --out")
        for method in missing:
            rows += _compared(method, space, limits, searched)
        make_folder(out)
        write_plain(out / SPACE_FILE, space.to_dict())
        save_rows(pd.DataFrame(rows), out / NETWORKS_FILE, MADE_WITH)
    elif missing:
        raise ConfigError(f"{out} has no networks of {', '.join(missing)} yet: give a searched run by --run DIR")
    return pd.DataFrame([row for row in rows if row["method"] in methods])


def network_of(row: Mapping[str, Any], out: Path) -> Network:
    """The network of a row of NETWORKS_FILE in the same folder."""
    if row["method"] == "scaled":
        return mobilenet(row["width"])
    space = space_from_dict(read_plain(out / SPACE_FILE))
    assert isinstance(space, NetworkSpace)
    return Network(space, tuple(json.loads(row["architecture"])))


def _found(run: str) -> tuple[NetworkSpace, list[float], list[tuple[int, ...]]]:
    """The space of a run, its targets and the network that it chose for each."""
    config = load_config(run)
    if config.get("targets") is None or config["complexity"]["name"] != COST:
        raise ConfigError(f"{run} must have targets in {COST}, it has not: search with --complexity {COST} --targets")
    space = space_from_dict(config["space"])
    if not isinstance(space, NetworkSpace):
        raise ConfigError(f"{run} must be a search of a mobile space, its networks are models of another kind")
    chosen = [tuple(map(int, row)) for row in load_family(run).architectures["architecture"]]
    return space, [float(target) for target in config["targets"]], chosen


def _compared(
    method: str, space: NetworkSpace, limits: list[float], searched: list[tuple[int, ...]]
) -> list[dict[str, Any]]:
    """The networks of a method, one for each limit."""
    if method == "scaled":
        widths = [widest_mobilenet(limit) for limit in limits]
        return [_row(limit, method, mobilenet(width), width) for limit, width in zip(limits, widths, strict=True)]
    chosen = searched if method == "searched" else _by_prior(space, limits)
    return [_row(limit, method, Network(space, row), None) for limit, row in zip(limits, chosen, strict=True)]


def _by_prior(space: NetworkSpace, limits: list[float]) -> list[tuple[int, ...]]:
    """What figures of untrained networks rank first near each limit."""
    parts, rng = make_parts(PRIOR, space), np.random.default_rng(0)
    found = promising_networks(space, space.costs[COST], limits, SLICE_SHARE, parts, rng)
    return [tuple(rows[0].tolist()) for rows in found]


def _row(limit: float, method: str, network: Network, width: float | None) -> dict[str, Any]:
    costs = {name: network.cost(name) for name in ("flops", "params")}
    return {"limit": limit, "method": method, **costs, "width": width, "architecture": _as_text(network.architecture)}


def _as_text(architecture: Sequence[int]) -> str:
    return json.dumps([int(choice) for choice in architecture])
