"""Exporting the chosen networks of a run: writing their files, checking them, and describing them in a model card."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from torch import nn

from multinas_ray.cluster import PlainTable, counted_progress, standard_console
from multinas_ray.data import DataSplits, load_splits
from multinas_ray.errors import StateError
from multinas_ray.export.card import ARCHITECTURE_FILE, CARD_FILE, model_card
from multinas_ray.export.config import ExportConfig
from multinas_ray.export.description import describe_network, embedded_texts
from multinas_ray.export.formats import (
    ONNX_FILE,
    PT2_FILE,
    SAFETENSORS_FILE,
    FileParity,
    check_packages,
    export_network,
)
from multinas_ray.export.images import check_images
from multinas_ray.export.quantisation import INT8_FILE, Quantiser
from multinas_ray.latency import LatencyTable, ModelLatencyTable, read_latency_table
from multinas_ray.runs import (
    CHECKSUMS_FILE,
    EXPORT_FOLDER,
    Retrained,
    RetrainingRecord,
    format_count,
    list_checksums,
    load_retraining,
    network_path,
)
from multinas_ray.selection import Family, OpenedRun, load_family, open_run
from multinas_ray.settings import checked_arguments
from multinas_ray.storage import GivenCode, GivenPath, replace_folder, resolve
from multinas_ray.supernets import load_subnet


@dataclass(frozen=True)
class ExportedNetwork:
    """The files that were written for one network."""

    network: int
    """The number of the network in its family; 0 is the smallest."""
    path: str
    """The folder of the files."""
    weights: str
    """Which weights were exported: "retrained" or "supernet"."""
    sizes: dict[str, int]
    """Size of each file in bytes, by its name."""
    parities: list[FileParity]
    """The differences of model.pt2 and model.onnx from the network."""


@checked_arguments
def export_networks(
    run_path: GivenPath,
    config: ExportConfig | None = None,
    *,
    label: str | None = None,
    networks: Sequence[int] | None = None,
    data_path: GivenPath | None = None,
    imports: Sequence[GivenCode] = (),
    console: Console | None = None,
) -> list[ExportedNetwork]:
    """Write the networks of a family as .pt2, ONNX and safetensors, each with architecture.json and a model card.

    A format that cannot hold a network is left out, with a warning that says why. Each program is compared with the
    network on validation images (see `export_network`). The folder of a network is written completely or not at all,
    and replaces an existing one. Ray is not started.

    Args:
        run_path: `<storage_path>/<run>`, local or a URI.
        config: which weights are exported and where; None: the defaults.
        label: the label of the family; None for the run's own.
        networks: the numbers of the networks to export; None for all.
        data_path: where the images are now; None: where they were during the search.
        imports: modules or .py files that define your own blocks.
        console: where progress and the table are printed; None: the standard output.

    Returns:
        The exported networks, in the order of their numbers.

    Raises:
        ConfigError, DataError: an argument or the images break a rule.
        StateError: there is no such family, or its weights are missing or damaged.
        ExportError: the outputs of a file differ from its network.
        MissingPackageError: a package of the extra "export" is missing.
    """
    config = config or ExportConfig()
    check_packages(onnx=config.onnx)
    console = console or standard_console()
    opened = open_run(run_path, data_path=data_path, imports=imports)
    family = load_family(run_path, label)
    rows = _chosen_rows(family, networks)
    kinds = [_weights_of(row, config.weights, run_path) for row in rows]
    table = None if config.latency_table is None else read_latency_table(config.latency_table)
    exporter = _Exporter(opened, family, load_splits(opened.data), label, config, table)
    exported = []
    with counted_progress(console) as progress:
        for row, kind in progress.track(list(zip(rows, kinds, strict=True)), description="exporting networks"):
            exported.append(exporter.export(row, kind))
    _print(console, exported, rows)
    return exported


def load_weights(
    opened: OpenedRun, family: Family, row: Mapping[str, Any], kind: Literal["retrained", "supernet"]
) -> nn.Module:
    """Build a network of a family with its weights, on the CPU and in mode `eval`.

    Args:
        opened: the run of the family.
        family: the family.
        row: the row of the network in `family.architectures`.
        kind: which weights are loaded.

    Raises:
        StateError: the file is missing, damaged, or holds the weights of another network.
    """
    place = resolve(family.path).join(str(row["retrained_path" if kind == "retrained" else "weights_path"]))
    remedy = "choose it again with `multinas-ray select`, or train it again with `multinas-ray retrain`"
    return load_subnet(opened.space, row["architecture"], place, remedy).eval()


class _Exporter:
    """Exports one network after the other and checks all of them on the same images."""

    def __init__(
        self,
        opened: OpenedRun,
        family: Family,
        splits: DataSplits,
        label: str | None,
        config: ExportConfig,
        latency_table: LatencyTable | ModelLatencyTable | None,
    ) -> None:
        self.opened, self.family, self.splits = opened, family, splits
        self.label, self.output, self.onnx, self.latency_table = label, config.output, config.onnx, latency_table
        self.pixels, self.images = check_images(splits)
        self.quantiser = Quantiser(splits, config.calibration_images) if config.quantise else None

    def export(self, row: Mapping[str, Any], kind: Literal["retrained", "supernet"]) -> ExportedNetwork:
        """Write the folder of a network."""
        number = int(row["network"])
        place = resolve(self.family.path).join(network_path(number))
        retraining = load_retraining(place)  # read before the weights, to notice a change
        network = load_weights(self.opened, self.family, row, kind)
        description = describe_network(
            self.opened,
            row,
            self.splits,
            label=self.label,
            weights=kind,
            recipe=None if retraining is None or kind != "retrained" else retraining.recipe,
            latency_table=self.latency_table,
        )
        target = place.join(EXPORT_FOLDER) if self.output is None else resolve(self.output).join(str(number))
        with replace_folder(target, last=CHECKSUMS_FILE) as folder:
            parities = export_network(
                network,
                folder,
                pixels=self.pixels,
                images=self.images,
                mean=self.splits.mean,
                std=self.splits.std,
                metadata=embedded_texts(description),
                onnx=self.onnx,
            )
            if self.quantiser is not None and (folder / ONNX_FILE).exists():
                parities = self.quantiser.add(network, folder, parities, self.images)
            (folder / ARCHITECTURE_FILE).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
            sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
            (folder / CARD_FILE).write_text(model_card(description, sizes, parities), encoding="utf-8")
            contents = {file.name: file.read_bytes() for file in folder.iterdir()}
            (folder / CHECKSUMS_FILE).write_bytes(list_checksums(contents))
            if _result(load_retraining(place)) != _result(retraining):
                raise StateError(f"the weights of network {number} changed while it was exported: export it again")
        return ExportedNetwork(number, str(target), kind, sizes, parities)


def _result(record: RetrainingRecord | None) -> Retrained | None:
    return None if record is None else record.result


def _chosen_rows(family: Family, networks: Collection[int] | None) -> list[dict[str, Any]]:
    numbers = family.numbers(networks)
    columns = family.architectures.sort_values("network")
    rows = [dict(zip(map(str, columns), values, strict=True)) for values in columns.itertuples(index=False)]
    return [row for row in rows if row["network"] in numbers]


def _weights_of(row: Mapping[str, Any], wanted: str, run_path: str) -> Literal["retrained", "supernet"]:
    retrained = isinstance(row["retrained_path"], str)
    if wanted == "retrained" and not retrained:
        raise StateError(
            f"network {row['network']} has not been retrained: run `multinas-ray retrain {run_path}`, or export the "
            'weights of the supernet with weights="supernet" (--weights supernet)'
        )
    return "retrained" if retrained and wanted != "supernet" else "supernet"


def _told_difference(parity: FileParity) -> str:
    """The difference of a file from the network, and its accuracy where it is known."""
    accuracy = "" if parity.test_accuracy is None else f", {parity.test_accuracy:.2%} right"
    return f" ±{parity.max_abs_difference:.1g}{accuracy}"


def _print(console: Console, exported: Sequence[ExportedNetwork], rows: Sequence[Mapping[str, Any]]) -> None:
    title = "exported networks: size of each file, ± largest difference of an output from the network"
    table = PlainTable(title=title, title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("weights")
    table.add_column("params", justify="right")
    names = [PT2_FILE, ONNX_FILE, SAFETENSORS_FILE]
    if any(INT8_FILE in each.sizes for each in exported):
        names.insert(2, INT8_FILE)
    for name in names:
        head = "int8 .onnx" if name == INT8_FILE else Path(name).suffix
        table.add_column(head, justify="right", no_wrap=True)
    for each, row in zip(exported, rows, strict=True):
        differences = {parity.file: _told_difference(parity) for parity in each.parities}
        told = [
            f"{format_count(each.sizes[name])}B{differences.get(name, '')}" if name in each.sizes else "left out"
            for name in names
        ]
        table.add_row(str(each.network), each.weights, format_count(row["params"]), *told)
    console.print(table)
    if any(each.weights == "supernet" for each in exported):
        console.print("Some networks have the supernet's weights: retrain them before you use them.", style="yellow")
    for each in exported:
        console.print(each.path, soft_wrap=True, highlight=False, markup=False)
