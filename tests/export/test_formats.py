"""Exported files compute what the network does, elsewhere too; files that do not are refused."""

import json
import subprocess
import sys

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from multinas_ray.errors import ConfigError, DataError, ExportError, MissingPackageError
from multinas_ray.export import formats as export_module
from multinas_ray.export.formats import TOLERANCE, export_network
from multinas_ray.spaces import Block, ConvLayer, Head, NetworkSpace, Position, SqueezeExcitation, mbconv, skip
from multinas_ray.supernets import build_subnet, recalibrate_batch_norm

pytestmark = pytest.mark.slow

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
METADATA = {"classes": json.dumps(["cat", "dog"])}

# Everything a network of ours is made of: strides, groups, shortcut, squeeze-excitation, ReLU6, skip, features.
SPACE = NetworkSpace(
    name="all_kinds",
    input_shape=(3, 6, 6),
    stem=Block("stem", (ConvLayer(3, 8, 3, activation="relu6"),)),
    positions=(
        Position("first", (mbconv(8, 8, 3, 2, stride=2, activation="relu"),)),
        Position("second", (Block("squeeze", (ConvLayer(8, 8, 5, groups=8), SqueezeExcitation(8, 4)), residual=True),)),
        Position("third", (skip(),)),
    ),
    head=Head(12, 5, Block("features", (ConvLayer(8, 12),))),
)

ELSEWHERE = """
import json, sys
from importlib.abc import MetaPathFinder

class Block(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("multinas_ray", "ray"):
            raise ImportError(name)

sys.meta_path.insert(0, Block())
import numpy, onnxruntime, torch
from safetensors.torch import load_file
folder = sys.argv[1]
pixels = torch.arange(3 * 3 * 6 * 6, dtype=torch.uint8).reshape(3, 3, 6, 6)
extra = {"metadata.json": ""}
module = torch.export.load(f"{folder}/model.pt2", extra_files=extra).module()
session = onnxruntime.InferenceSession(f"{folder}/model.onnx")
weights = load_file(f"{folder}/weights.safetensors")
with torch.no_grad():
    pt2 = module(pixels)
print(json.dumps({
    "pt2": pt2.tolist(),
    "onnx": session.run(None, {"pixels": pixels.numpy()})[0].tolist(),
    "weights": {name: tensor.double().sum().item() for name, tensor in weights.items()},
    "metadata": json.loads(extra["metadata.json"]),
    "foreign": [name for name in sys.modules if name.startswith("multinas_ray")],
}))
"""


def normalise(pixels):
    mean, std = torch.tensor(MEAN).view(-1, 1, 1), torch.tensor(STD).view(-1, 1, 1)
    return (pixels / 255 - mean) / std


def draw_pixels(number, seed=0):
    return torch.randint(0, 256, (number, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def make_network():
    network = build_subnet(SPACE, [0, 0, 0])
    weight = network.get_parameter("head.classifier.weight")
    nn.init.normal_(weight, generator=torch.Generator().manual_seed(1))  # logits of some size
    recalibrate_batch_norm(network, [normalise(draw_pixels(64, seed)) for seed in range(3)])
    return network


def export_to(folder, network=None, pixels=None, **changes):
    pixels = draw_pixels(20) if pixels is None else pixels
    network = make_network() if network is None else network
    arguments = {"pixels": pixels, "images": normalise(pixels), "mean": MEAN, "std": STD, "metadata": METADATA}
    return export_network(network, folder, **{**arguments, **changes})


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    return folder, export_to(folder)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 33])
def test_programs_give_the_networks_logits_for_batches_of_any_size(exported, batch_size):
    folder, _ = exported
    pixels = draw_pixels(batch_size, seed=7)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = make_network()(normalise(pixels))
        pt2 = torch.export.load(folder / "model.pt2").module()(pixels)
    onnx_logits = torch.from_numpy(session.run(["logits"], {"pixels": pixels.numpy()})[0])

    assert expected.abs().max() > 0.5  # so that the tolerance means something
    torch.testing.assert_close(pt2, expected, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(onnx_logits, expected, atol=TOLERANCE, rtol=0)


def test_every_file_loads_where_this_package_is_not(exported):
    folder, _ = exported
    answer = subprocess.run(
        [sys.executable, "-I", "-c", ELSEWHERE, str(folder)], capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    network = make_network()
    with torch.no_grad():
        pixels = torch.arange(3 * 3 * 6 * 6, dtype=torch.uint8).reshape(3, 3, 6, 6)
        expected = network(normalise(pixels))

    assert told["foreign"] == []
    torch.testing.assert_close(torch.tensor(told["pt2"]), expected, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(torch.tensor(told["onnx"]), expected, atol=TOLERANCE, rtol=0)
    assert told["weights"] == {name: tensor.double().sum().item() for name, tensor in network.state_dict().items()}
    assert told["metadata"] == METADATA


def test_the_parity_is_recorded_as_returned(exported):
    folder, parities = exported
    recorded = json.loads((folder / "parity.json").read_text())

    assert [parity.file for parity in parities] == ["model.pt2", "model.onnx"]
    for parity in parities:
        entry = recorded["files"][parity.file]
        assert entry["max_abs_difference"] == parity.max_abs_difference <= recorded["tolerance"] == TOLERANCE
        assert entry["top1_agreement"] == parity.top1_agreement == 1.0
        assert set(entry["difference_by_batch_size"]) == {"1", "7", "64"}
        assert entry["size_bytes"] == (folder / parity.file).stat().st_size
    assert recorded["num_images"] == 20


def test_files_tell_nothing_of_the_machine_they_were_made_on(exported):
    folder, _ = exported
    for name in ("model.pt2", "model.onnx", "weights.safetensors"):
        content = (folder / name).read_bytes()
        assert b".py" not in content
        assert str(folder).encode() not in content
    assert b"multinas_ray" not in (folder / "model.onnx").read_bytes()


def test_onnx_names_its_input_output_and_free_axis(exported):
    folder, _ = exported
    model = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input, *model.graph.output]
    }
    assert shapes == {"pixels": ["batch", 3, 6, 6], "logits": ["batch", 5]}
    assert {entry.key: entry.value for entry in model.metadata_props} == METADATA
    assert [opset.version for opset in model.opset_import if opset.domain == ""] == [export_module.OPSET]


def test_normalised_images_are_refused_as_pixels(exported):
    folder, _ = exported
    images = normalise(draw_pixels(2))
    with pytest.raises(RuntimeError, match="dtype mismatch"):
        torch.export.load(folder / "model.pt2").module()(images)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    with pytest.raises(Exception, match="Unexpected input data type"):
        session.run(None, {"pixels": images.numpy()})


def test_the_network_itself_stays_as_it_was(tmp_path):
    network = make_network().train().to(memory_format=torch.channels_last)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    export_to(tmp_path, network, onnx=False)

    assert network.training
    assert network.stem[0].conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not (tmp_path / "model.onnx").exists()


def test_another_normalisation_than_the_pipelines_is_refused_with_its_figure(tmp_path):
    with pytest.raises(ExportError, match=r"of model\.pt2 may differ .* by 0\.0001 at most, it differs by \d"):
        export_to(tmp_path, std=(0.2, 0.25, 0.31), onnx=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", [0.01, float("nan")])
def test_a_broken_onnx_file_is_refused_and_nothing_is_left(tmp_path, monkeypatch, broken):
    write = export_module._write_pt2

    def write_both(program, file, texts, pixels):
        write(program, file, texts, pixels)
        (tmp_path / "model.onnx").write_bytes(b"something")

    def predict_wrongly(file):
        module = export_module._load_pt2(tmp_path / "model.pt2")
        return lambda pixels: module(pixels) + (broken if len(pixels) == 64 else 0) * (torch.arange(5) == 2)

    monkeypatch.setattr(export_module, "_write_pt2", write_both)
    monkeypatch.setattr(export_module, "_write_onnx", lambda *arguments: None)
    monkeypatch.setattr(export_module, "load_onnx", predict_wrongly)
    with pytest.raises(ExportError, match=rf"an output of model\.onnx may differ .* it differs by {broken:.3g} \("):
        export_to(tmp_path)
    assert list(tmp_path.iterdir()) == []


class BranchOnValues(nn.Module):
    def forward(self, images):
        return images if images.mean() > 0 else -images


def test_of_a_network_that_cannot_be_traced_the_weights_are_kept(tmp_path, caplog):
    network = nn.Sequential(BranchOnValues(), make_network())
    assert export_to(tmp_path, network) == []
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]
    (told,) = [record.message for record in caplog.records if record.name.startswith("multinas_ray")]
    assert told.startswith("model.pt2 and model.onnx cannot be written: torch.export cannot trace this network (")
    assert "branches on values" in told


def test_a_network_that_torch_cannot_save_has_the_other_files(tmp_path, caplog, monkeypatch):
    def fail(*arguments, **settings):
        raise AttributeError("no serialiser for Mine")

    monkeypatch.setattr(torch.export, "save", fail)
    (parity,) = export_to(tmp_path)
    assert parity.file == "model.onnx"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx", "parity.json", "weights.safetensors"]
    assert "model.pt2 cannot be written: torch.export cannot save this network (no serialiser for Mine)" in caplog.text


def test_weights_used_twice_are_written(tmp_path):
    network = make_network()
    network.stem[0].norm.bias = network.stem[0].norm.weight
    export_to(tmp_path, network, onnx=False)
    assert (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": torch.zeros(2, 3, 6, 6)}, "pixels must be uint8"),
        ({"pixels": torch.zeros(0, 3, 6, 6, dtype=torch.uint8)}, "n >= 1"),
        ({"images": torch.zeros(3, 3, 6, 6)}, "images must be the normalised pixels"),
    ],
)
def test_images_that_do_not_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        export_network(
            make_network(),
            tmp_path,
            **{"pixels": draw_pixels(2), "images": normalise(draw_pixels(2)), "mean": MEAN, "std": STD, **changes},
        )


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="create it first"):
        export_to(tmp_path / "missing")


def test_a_missing_package_is_one_line_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingPackageError, match=r'--no-onnx.*pip install "multinas-ray\[export\]"'):
        export_to(tmp_path)
    assert export_to(tmp_path, onnx=False)[0].file == "model.pt2"
