"""A folder of ONNX blocks that measures itself on another device, and its result as a latency table."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.latency.config import ProfileSettings
from multinas_ray.latency.onnx_blocks import onnx_model
from multinas_ray.latency.profiling import distinct_architectures
from multinas_ray.latency.table import BlockLatency, LatencyConditions, LatencyTable, blocks_of, describe_block
from multinas_ray.settings import NonNegativeInt, checked_arguments
from multinas_ray.spaces import NetworkSpace, Shape
from multinas_ray.storage import AnyPath, exists, list_files, list_folders, read_plain, replace_folder, resolve
from multinas_ray.supernets import build_block, build_subnet

KIT_NETWORKS = 10
"""Whole networks in a kit, which show how well sums over blocks predict them."""

_FORM = "multinas_ray latency, version 1"
_KIT_FILE, _SCRIPT = "kit.json", "measure.py"


@checked_arguments
def make_kit(
    network_space: NetworkSpace,
    settings: ProfileSettings,
    folder: AnyPath,
    *,
    num_networks: NonNegativeInt = KIT_NETWORKS,
    on_model: Callable[[int, int], None] = lambda done, of: None,
) -> None:
    """Write a folder that is copied to a device and measures there what a latency table needs.

    It holds an ONNX model for each distinct pair of a block and its input's shape, a few whole networks, and the script
    measure.py, which needs onnxruntime and numpy alone. Its output is read by `read_latency_table`. The weights are
    those that the blocks are built with; they do not change the time.

    Args:
        network_space: the space.
        settings: the batch size; the number format must be float32.
        folder: a new folder, or one of an earlier kit, which is replaced.
        num_networks: whole networks, drawn at random; fewer if the space has fewer.
        on_model: called after each model with the number that is done and the number of all.

    Raises:
        ConfigError: An argument breaks its rule, or the folder holds something else.
        ExportError: ONNX lacks an operation of a block.
        StorageError: The folder cannot be written.
    """
    settings = settings.sized_for(network_space)
    if settings.precision != "float32":
        raise ConfigError(f"a kit must have precision='float32', got {settings.precision!r}: leave precision out")
    if (list_files(folder, "") or list_folders(folder)) and not exists(resolve(folder).join(_KIT_FILE)):
        raise ConfigError(f"a kit must have a folder of its own, {resolve(folder)} holds other files: name a new one")
    rows, places = _rows_of(network_space)
    networks = _networks_of(network_space, places, num_networks, np.random.default_rng(settings.seed))
    modules = _modules_of(network_space, rows, networks)
    with replace_folder(folder, last=_SCRIPT) as target:
        (target / "call.onnx").write_bytes(onnx_model(nn.Identity(), (), 1))
        for done, (file, (shape, make)) in enumerate(modules.items()):
            (target / file).write_bytes(onnx_model(make(), shape, settings.images))
            on_model(done + 1, len(modules))
        description = {
            "form": _FORM,
            "kit": _fingerprint(rows),
            "conditions": _conditions(network_space, settings),
            "input_shape": [settings.images, *network_space.input_shape],
            "places": places,
            "rows": rows,
            "networks": networks,
        }
        (target / _KIT_FILE).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        shutil.copyfile(Path(__file__).with_name(_SCRIPT), target / _SCRIPT)


def _conditions(network_space: NetworkSpace, settings: ProfileSettings) -> dict[str, Any]:
    """The conditions of the measurement that are known before it."""
    return {
        "batch_size": settings.images,
        "precision": settings.precision,
        "space_name": network_space.name,
        "space_fingerprint": network_space.fingerprint,
    }


def _modules_of(
    network_space: NetworkSpace, rows: Sequence[Mapping[str, Any]], networks: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[Shape, partial[nn.Module]]]:
    """For each file of the kit, the shape of its input and what builds its module."""
    blocks = {(describe_block(block), shape): block for _, block, shape in blocks_of(network_space)}
    modules = {
        row["file"]: (shape, partial(build_block, block, nn.BatchNorm2d))
        for row, ((_, shape), block) in zip(rows, blocks.items(), strict=True)
    }
    for network in networks:
        make = partial(build_subnet, network_space, network["architecture"])
        modules[network["file"]] = (network_space.input_shape, make)
    return modules


def read_kit_result(path: AnyPath) -> LatencyTable:
    """Read what the script of a kit wrote.

    Raises:
        StateError: There is no such file, or it is not whole.
    """
    content, where = read_plain(path), str(path)
    if not isinstance(content, dict) or content.get("form") != _FORM:
        raise StateError(f"{where} is not what the script of a kit writes: give its latency.json")
    try:
        rows, conditions = content["rows"], LatencyConditions(**content["conditions"])
        if _fingerprint(rows) != content["kit"]:
            raise ValueError("its rows are not those of the kit")
        read = tuple(BlockLatency(**{**row, "input_shape": tuple(row["input_shape"])}) for row in rows)
        return LatencyTable(read, conditions)
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{where} is damaged ({error}): copy it from the device again") from error


def _rows_of(network_space: NetworkSpace) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """One row for each distinct block and shape of its input, and the rows that each place of a network can have."""
    numbers: dict[tuple[str, Shape], int] = {}
    rows: list[dict[str, Any]] = []
    places: dict[str, list[int]] = {}
    for place, block, shape in blocks_of(network_space):
        key = (describe_block(block), shape)
        number = numbers.setdefault(key, len(numbers))
        places.setdefault(place, []).append(number)
        if number == len(rows):
            described = {"block": block.name, "description": key[0], "input_shape": list(shape)}
            rows.append({"file": f"block_{number:03}.onnx", **described})
    return rows, list(places.values())


def _networks_of(
    network_space: NetworkSpace, places: Sequence[Sequence[int]], count: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Random networks, with the row of each of their blocks."""
    architectures_ND = distinct_architectures(network_space, count, rng)[:count].tolist()
    (stem,), *positions, (head,) = places
    return [
        {
            "file": f"network_{number:02}.onnx",
            "architecture": architecture,
            "blocks": [stem, *(each[choice] for each, choice in zip(positions, architecture, strict=True)), head],
        }
        for number, architecture in enumerate(architectures_ND)
    ]


def _fingerprint(rows: Sequence[Mapping[str, Any]]) -> str:
    """A digest of the blocks and their inputs, in their order."""
    keys = [[row["block"], row["description"], list(row["input_shape"])] for row in rows]
    return hashlib.sha256(json.dumps(keys).encode()).hexdigest()
