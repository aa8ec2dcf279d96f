"""The description of an exported network as plain data, for ``architecture.json`` and the model card."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import pandas as pd

from multinas_ray import spaces
from multinas_ray.data import DataSplits, StreamedImages, evaluation_transform, total_by_reason
from multinas_ray.export.formats import INPUT_NAME, OUTPUT_NAME
from multinas_ray.latency import LatencyTable, ModelLatencyTable
from multinas_ray.selection import OpenedRun
from multinas_ray.spaces import ModelSpace, NetworkSpace, Space

FORMAT_VERSION = 1
UNITS = {"params": "trainable parameters", "flops": "multiply-adds for one sample"}

_RESULTS = (
    "supernet_loss",
    "supernet_accuracy",
    "supernet_test_accuracy",
    "retrained_loss",
    "retrained_accuracy",
    "retrained_epochs",
)
_ORIGIN = ("origin", "distribution", "coefficient", "target", "limits", "mode_probability")
_WHOLE = ("distribution", "retrained_epochs")


def describe_network(
    opened: OpenedRun,
    row: Mapping[str, Any],
    splits: DataSplits,
    *,
    label: str | None,
    weights: str,
    recipe: Mapping[str, Any] | None,
    latency_table: LatencyTable | ModelLatencyTable | None,
) -> dict[str, Any]:
    """Describe a network completely, for readers who do not have the run.

    Args:
        opened: the run.
        row: the row of the network in `architectures.parquet`.
        splits: the images of the run.
        label: the label of the family; None for the run's own.
        weights: "retrained" or "supernet".
        recipe: the settings of its retraining; None if it was not retrained.
        latency_table: measured blocks of a device, from which the latency of the network is predicted.

    Returns:
        Plain data with the keys and meanings of ``architecture.json``, version 1.
    """
    run_name = str(opened.run.config["name"])
    name = "-".join([run_name, *([] if label is None else [label]), str(row["network"])])
    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        "weights": weights,
        "input": _describe_input(splits),
        "output": _describe_output(opened.space, splits),
        "task": opened.task.to_dict(),
        "classes": list(splits.class_names),
        "indices": list(row["architecture"]),
        "blocks": used_choices(opened.space, row["architecture"]),
        "costs": {name: {"value": row[name], "unit": _unit(opened, name)} for name in opened.costs},
        "latency": _describe_latency(opened, row, latency_table),
        "network": _describe_layers(opened.space, row["architecture"]),
        "results": {name: _plain(row, name) for name in _RESULTS},
        "data": _describe_data(opened, splits),
        "supernet_training": dataclasses.asdict(opened.training),
        "retraining": None if recipe is None else dict(recipe),
        "run": {
            "name": run_name,
            "label": label,
            "network": int(row["network"]),
            "seed": opened.seed,
            **{name: _plain(row, name) for name in _ORIGIN},
        },
        "versions": {"search": opened.run.config["versions"], "export": _versions()},
        "space": {"fingerprint": opened.space.fingerprint, **opened.space.to_dict()},
    }


def embedded_texts(description: Mapping[str, Any]) -> dict[str, str]:
    """The part that is stored inside each file, so that a single file still describes its input and output."""
    return {key: json.dumps(description[key]) for key in ("name", "weights", "input", "output", "classes", "blocks")}


def own_block_types(description: Mapping[str, Any]) -> list[str]:
    """The types of blocks in the network that do not belong to this package, sorted."""
    network = description["network"]
    if "model" in network:
        return [network["model"]]
    found = {described["type"] for described in (network["stem"], *network["blocks"], network["head"])}
    return sorted(found.difference(spaces.__all__))


def used_choices(space: Space, architecture: Sequence[int]) -> dict[str, Any]:
    """The choices of a network by the names of the variables, without those that it does not use."""
    used = space.equivalence.used(architecture)
    chosen = space.search_space.decode(architecture)
    return {name: label for (name, label), is_used in zip(chosen.items(), used, strict=True) if is_used}


def _describe_layers(space: Space, architecture: Sequence[int]) -> dict[str, Any]:
    """The blocks of the network, from first to last; of a model's the function that makes it and what is chosen."""
    if isinstance(space, ModelSpace):
        chosen = used_choices(space, architecture)
        return {"model": space.model, "arguments": dict(space.arguments), "chosen": chosen}
    assert isinstance(space, NetworkSpace)
    blocks = [
        {"position": position.name, **position.blocks[index].to_dict()}
        for position, index in zip(space.positions, architecture, strict=True)
    ]
    return {"stem": space.stem.to_dict(), "blocks": blocks, "head": space.head.to_dict()}


def _describe_output(space: Space, splits: DataSplits) -> dict[str, Any]:
    if splits.image_shape is None:
        return {"structure": space.outputs}
    return {"name": OUTPUT_NAME, "dtype": "float32", "shape": ["batch", splits.num_classes]}


def _describe_input(splits: DataSplits) -> dict[str, Any]:
    if splits.image_shape is None:
        return {"structure": splits.inputs}
    return {
        "name": INPUT_NAME,
        "dtype": "uint8",
        "shape": ["batch", *splits.image_shape],
        "axes": "batch, channels, height, width",
        "channels": {1: "grey", 3: "red, green, blue"}.get(splits.image_shape[0], f"{splits.image_shape[0]}"),
        "range": [0, 255],
        "share_of_shorter_side": _share_kept(splits),
        "mean": list(splits.mean),
        "std": list(splits.std),
        "normalisation": "(pixels / 255 - mean) / std; part of model.pt2 and model.onnx, not of weights.safetensors",
    }


def _share_kept(splits: DataSplits) -> float:
    """The side of the central square that is cut out of an image, divided by its shorter side."""
    if not isinstance(splits.validation, StreamedImages):
        return 1.0
    size = splits.validation.image_size
    shorter_side = evaluation_transform(size).transforms[0].size[0]
    return float(size / shorter_side)


def _describe_latency(
    opened: OpenedRun, row: Mapping[str, Any], latency_table: LatencyTable | ModelLatencyTable | None
) -> dict[str, Any] | None:
    """The predicted latency, which is the sum of the measured blocks, and how they were measured."""
    if latency_table is None:
        return None
    predicted = latency_table.cost(opened.space)([row["architecture"]])[0]
    return {"predicted_ms": float(predicted), **dataclasses.asdict(latency_table.conditions)}


def _describe_data(opened: OpenedRun, splits: DataSplits) -> dict[str, Any]:
    settings = opened.data.identity()
    return {
        **{name: value for name, value in settings.items() if name != "in_memory" and value != {}},
        "num_images": {"train": len(splits.train), "validation": len(splits.validation), "test": len(splits.test)},
        "num_left_out": total_by_reason(splits.left_out),
    }


def _unit(opened: OpenedRun, name: str) -> str:
    return UNITS.get(name, opened.costs[name].unit)


def _plain(row: Mapping[str, Any], name: str) -> Any:
    """A value of a table for JSON: None if it is missing, and an int for a whole number that pandas made a float."""
    value = row[name]
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return None
    return int(value) if name in _WHOLE else value


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("multinas-ray", "torch")}
