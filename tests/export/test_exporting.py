"""When an export replaces an earlier one, and what stops it."""

import json
import sys

import pytest
import torch

from multinas_ray.__main__ import main
from multinas_ray.errors import ConfigError, ExportError, StateError
from multinas_ray.export import ExportConfig, export_networks, formats
from multinas_ray.export import exporting as export_module
from multinas_ray.export.formats import export_network
from multinas_ray.latency import BlockLatency, LatencyConditions, LatencyTable, blocks_of, describe_block
from multinas_ray.runs import Retrained, RetrainingRecord, write_retraining
from multinas_ray.supernets import build_subnet
from tests.export.small_run import ARCHITECTURES, EVERY_FILE, SPACE, folder_of, quiet


def test_a_latency_table_tells_the_device(run_path, tmp_path):
    rows = {
        (describe_block(block), shape): BlockLatency(
            block=block.name,
            description=describe_block(block),
            input_shape=shape,
            median_ms=2.0**-number,
            mean_ms=1.0,
            spread_ms=0.0,
            repeats=3,
        )
        for number, (_, block, shape) in enumerate(blocks_of(SPACE))
    }
    conditions = LatencyConditions(device="Abacus 3000", batch_size=2, precision="float32", threads=5)
    LatencyTable(tuple(rows.values()), conditions).write(tmp_path / "latency.parquet")
    export_networks(
        run_path,
        ExportConfig(onnx=False, latency_table=str(tmp_path / "latency.parquet")),
        networks=[1],
        console=quiet(),
    )
    card = (folder_of(run_path, 1) / "README.md").read_text()
    blocks = [SPACE.stem, *(p.blocks[i] for p, i in zip(SPACE.positions, ARCHITECTURES[1], strict=True)), SPACE.head]
    shape, total = SPACE.input_shape, 0.0
    for block in blocks:
        total += rows[describe_block(block), shape].median_ms
        shape = block.output_shape(shape)
    assert f"| latency, predicted | {total:.4g} ms |" in card
    assert "Abacus 3000, 5 threads, for a batch of 2" in card


def test_a_failed_export_leaves_the_earlier_one_and_nothing_else(run_path, monkeypatch):
    export_networks(run_path, ExportConfig(onnx=False), networks=[0], console=quiet())
    before = {file.name: file.read_bytes() for file in folder_of(run_path, 0).iterdir()}
    assert "model.onnx" not in before
    assert "model.onnx" not in before["README.md"].decode()

    def fail(network, folder, **arguments):
        (folder / "model.pt2").write_bytes(b"half")
        raise ExportError("model.onnx differs")

    monkeypatch.setattr(export_module, "export_network", fail)
    with pytest.raises(ExportError):
        export_networks(run_path, ExportConfig(onnx=False), console=quiet())
    assert {file.name: file.read_bytes() for file in folder_of(run_path, 0).iterdir()} == before
    assert sorted(file.name for file in folder_of(run_path, 0).parent.iterdir()) == [
        "export",
        "retrained.pt",
        "retraining.json",
        "weights.pt",
    ]


def test_an_export_replaces_an_earlier_one_whole(run_path):
    folder = folder_of(run_path, 0)
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"of an earlier export")
    (folder.parent / ".export.partial").mkdir()  # of one that was killed
    export_networks(run_path, ExportConfig(onnx=False), networks=[0], console=quiet())
    assert sorted(file.name for file in folder.iterdir()) == [name for name in EVERY_FILE if name != "model.onnx"]
    assert not list(folder.parent.glob(".export*"))


def test_a_network_that_is_trained_meanwhile_is_not_exported(run_path, monkeypatch):
    place = folder_of(run_path, 0).parent

    def train_meanwhile(*arguments, **more):
        result = Retrained(loss=0.1, accuracy=0.98, epochs=17, seconds=1.0)
        write_retraining(place, RetrainingRecord(architecture=ARCHITECTURES[0], recipe={}, result=result))
        return export_network(*arguments, **more)

    monkeypatch.setattr(export_module, "export_network", train_meanwhile)
    with pytest.raises(StateError, match="the weights of network 0 changed while it was exported: export it again"):
        export_networks(run_path, ExportConfig(onnx=False), networks=[0], console=quiet())
    assert not folder_of(run_path, 0).exists()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"weights": "retrained"},
            StateError,
            r"network 1 has not been retrained: run `multinas-ray retrain",
        ),
        ({"networks": 1}, ConfigError, "export_networks: networks must be a list or None, got 1"),
        ({"networks": [1, 5]}, ConfigError, r"has the networks \[0, 1\], not \[1, 5\]: give numbers"),
        ({"networks": []}, ConfigError, r"has the networks \[0, 1\], not \[\]: give numbers"),
        ({"label": "phones"}, StateError, "phones"),
    ],
)
def test_wrong_arguments_are_told(run_path, changes, error, message):
    weights = changes.pop("weights", "auto")
    with pytest.raises(error, match=message):
        export_networks(run_path, ExportConfig(onnx=False, weights=weights), console=quiet(), **changes)


@pytest.mark.parametrize("damage", [b"", b"no weights", None])
def test_missing_or_damaged_weights_are_told(run_path, damage):
    file = folder_of(run_path, 0).parent / "retrained.pt"
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    with pytest.raises(StateError, match=r"retrained\.pt"):
        export_networks(run_path, ExportConfig(onnx=False), console=quiet())


def test_weights_of_another_network_are_refused(run_path):
    place = folder_of(run_path, 0).parent
    torch.save(build_subnet(SPACE, ARCHITECTURES[1]).state_dict(), place / "retrained.pt")
    with pytest.raises(StateError, match="does not hold the weights of this network"):
        export_networks(run_path, ExportConfig(onnx=False), console=quiet())


def test_the_card_of_images_names_no_program_where_there_is_none(run_path, monkeypatch):
    monkeypatch.setattr(formats, "_write_programs", lambda *arguments: {})
    (exported,) = export_networks(run_path, ExportConfig(onnx=False), networks=[0], console=quiet())
    assert sorted(exported.sizes) == ["architecture.json", "weights.safetensors"]
    card = (folder_of(run_path, 0) / "README.md").read_text()
    assert "There is no program, since torch.export cannot trace the network" in card
    assert "model.pt2" not in card


def test_command_writes_where_it_is_told(run_path, tmp_path, capsys):
    output = tmp_path / "out"
    arguments = ["export", run_path, "--networks", "0", "--weights", "supernet", "--no-onnx", "--output", str(output)]
    assert main(arguments) == 0
    assert sorted(file.name for file in (output / "0").iterdir()) == [n for n in EVERY_FILE if n != "model.onnx"]
    assert "left out" in capsys.readouterr().out
    assert json.loads((output / "0" / "architecture.json").read_text())["weights"] == "supernet"


def test_command_without_onnx_is_one_line_with_its_remedy(run_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", run_path]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert 'pip install "multinas-ray[export]"' in error
    assert "--no-onnx" in error
