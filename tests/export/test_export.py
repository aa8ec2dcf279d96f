"""The networks of a run as files: complete, checked, told truly, and loadable where this package is not."""

import dataclasses
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from multinas_ray.data import (
    DataSplits,
    ImageSet,
    StreamedImages,
    evaluation_transform,
    load_splits,
    read_square,
)
from multinas_ray.export import ExportConfig, description, export_networks
from multinas_ray.export.card import model_card
from multinas_ray.export.formats import TOLERANCE, FileParity
from multinas_ray.export.images import check_images
from multinas_ray.spaces import space_from_dict
from multinas_ray.supernets import build_subnet
from tests.export.small_run import ARCHITECTURES, DATA, EVERY_FILE, SPACE, folder_of, network_of, write_run
from tests.support.narrow import pixels_of

pytestmark = pytest.mark.slow

PREAMBLE = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "multinas_ray":
            raise ImportError(name)
sys.meta_path.insert(0, Block())
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    run_path = write_run(folder)
    printed = io.StringIO()
    config = ExportConfig(quantise=True, calibration_images=64)
    networks = export_networks(run_path, config, console=Console(file=printed, width=200))
    return run_path, networks, printed.getvalue()


def test_every_network_has_every_file_within_tolerance(exported):
    run_path, networks, _ = exported
    for number, network in enumerate(networks):
        assert network.network == number
        files = sorted(file.name for file in folder_of(run_path, number).iterdir())
        assert files == sorted([*EVERY_FILE, "model_int8.onnx"])
        assert [parity.file for parity in network.parities] == ["model.pt2", "model.onnx", "model_int8.onnx"]
        assert all(parity.max_abs_difference <= TOLERANCE for parity in network.parities[:2])
    assert not list(folder_of(run_path, 0).parent.glob(".export*"))


def test_retrained_weights_are_taken_where_there_are_any_and_it_is_told(exported):
    run_path, networks, printed = exported
    pixels, images = check_images(load_splits(DATA))
    assert [network.weights for network in networks] == ["retrained", "supernet"]
    for number, kind in enumerate(["retrained", "supernet"]):
        with torch.no_grad():
            expected = network_of(run_path, number, kind)(images)
            actual = torch.export.load(folder_of(run_path, number) / "model.pt2").module()(pixels)
        torch.testing.assert_close(actual, expected, atol=TOLERANCE, rtol=0)
    assert "Some networks have the supernet's weights: retrain them" in printed
    assert "retrained" in printed
    assert "supernet's" not in (folder_of(run_path, 0) / "README.md").read_text().partition("## Figures")[0]
    assert "**Its weights are the supernet's.**" in (folder_of(run_path, 1) / "README.md").read_text()


def test_the_cards_own_code_runs_without_this_package_and_gives_the_networks_logits(exported):
    run_path, _, _ = exported
    folder = folder_of(run_path, 0)
    card = (folder / "README.md").read_text()
    without_package, _, _ = card.partition("Or with multinas-ray:")
    read, pt2, onnx, rebuild = re.findall(r"```python\n(.*?)```", without_package, re.DOTALL)
    splits = load_splits(DATA)
    Image.fromarray(pixels_of(splits.validation)[3, ..., 0]).save(folder / "photo.png")
    told = "import json\nprint(json.dumps(logits.tolist()))\n"
    script = PREAMBLE + "\n".join([read, pt2, told, onnx, told, rebuild, told])
    script += "assert not [name for name in sys.modules if name.startswith('multinas_ray')]\n"
    answer = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    (folder / "photo.png").unlink()
    assert answer.returncode == 0, answer.stderr
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (splits.mean, splits.std))
    image = torch.from_numpy(pixels_of(splits.validation)[3]).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = network_of(run_path, 0, "retrained")((image / 255 - mean) / std)
    for line in answer.stdout.splitlines():
        torch.testing.assert_close(torch.tensor(json.loads(line)), expected, atol=TOLERANCE, rtol=0)
    assert len(answer.stdout.splitlines()) == 3


def test_the_json_and_the_weights_give_the_network_again(exported):
    run_path, _, _ = exported
    folder = folder_of(run_path, 1)
    described = json.loads((folder / "architecture.json").read_text())
    network = build_subnet(space_from_dict(described["space"]), described["indices"])
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    _, images = check_images(load_splits(DATA))
    with torch.no_grad():
        assert torch.equal(network.eval()(images), network_of(run_path, 1, "supernet")(images))

    splits = load_splits(DATA)
    assert described["blocks"] == SPACE.search_space.decode(ARCHITECTURES[1])
    assert described["input"]["mean"] == list(splits.mean)
    assert described["input"]["std"] == list(splits.std)
    assert described["input"]["shape"] == ["batch", 1, 8, 8]
    assert described["classes"] == [str(digit) for digit in range(10)]
    assert described["costs"]["params"]["value"] == SPACE.costs["params"]([ARCHITECTURES[1]])[0]
    assert described["run"]["limits"] == '{"params": 20000.0}'
    assert described["results"]["retrained_accuracy"] is None
    assert "path" not in described["data"]


def test_the_card_tells_the_figures(exported):
    run_path, networks, _ = exported
    card = (folder_of(run_path, 0) / "README.md").read_text()
    params, flops = (int(SPACE.costs[name]([ARCHITECTURES[0]])[0]) for name in ("params", "flops"))
    splits = load_splits(DATA)
    told = [
        f"| params | {params:,} trainable parameters |",
        f"| flops | {flops:,} multiply-adds for one sample |",
        f"81.23% of {len(splits.validation)} validation images",
        f"80.00% of {len(splits.test)} test images",
        f"95.67% of {len(splits.test)} test images",
        f"{len(splits.train):,} training",
        "17 epochs",
        "ema_decay 0.5",
        "The latency on a device is not known",
    ]
    told += [f"| `{name}` | {size:,} bytes |" for name, size in networks[0].sizes.items()]
    told += [f"| {parity.max_abs_difference:.2g} | 100.00% |" for parity in networks[0].parities[:2]]
    assert [text for text in told if text not in card] == []
    assert re.search(r"\b(None|nan|null)\b", card) is None
    assert "not retrained" in (folder_of(run_path, 1) / "README.md").read_text()


def test_files_carry_what_they_take_and_give(exported):
    run_path, _, _ = exported
    extra = {"metadata.json": ""}
    torch.export.load(folder_of(run_path, 0) / "model.pt2", extra_files=extra)
    texts = json.loads(extra["metadata.json"])
    described = json.loads((folder_of(run_path, 0) / "architecture.json").read_text())
    assert json.loads(texts["input"]) == described["input"]
    assert json.loads(texts["classes"]) == described["classes"]


def test_the_check_is_on_validation_images_of_many_classes_with_their_very_pixels():
    rng = np.random.default_rng(0)
    by_class = ImageSet(rng.integers(0, 256, (500, 4, 4, 3), dtype=np.uint8), np.arange(500) // 50)
    mean, std = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
    names = tuple(map(str, range(10)))
    splits = DataSplits(
        by_class.select(np.arange(5)), by_class, by_class.select(np.arange(5)), mean, std, names, (3, 4, 4)
    )
    pixels, images = check_images(splits)
    assert pixels.shape == images.shape == (72, 3, 4, 4)
    label_of = {image.tobytes(): label for image, label in zip(by_class.images, by_class.labels, strict=True)}
    assert len({label_of[image.permute(1, 2, 0).numpy().tobytes()] for image in pixels}) == 10


class OneFile:
    """The photo.png of the working directory."""

    labels = np.zeros(1, dtype=np.int64)
    groups = None

    def __len__(self):
        return 1

    def select(self, index):
        raise NotImplementedError

    def join(self, other):
        raise NotImplementedError

    def name(self, index):
        return "photo.png"

    def read(self, index):
        return Path("photo.png").read_bytes()


@pytest.mark.parametrize(("share", "upright"), [(1.0, True), (1.0, False), (0.875, False)])
def test_the_cards_way_to_read_an_image_is_the_pipelines(exported, tmp_path, monkeypatch, share, upright):
    run_path, _, _ = exported
    described = json.loads((folder_of(run_path, 0) / "architecture.json").read_text())
    described["input"] |= {"shape": ["batch", 3, 56, 56], "share_of_shorter_side": share}
    described["data"] |= {"exif_rotation": upright, "num_left_out": {"damaged": 1200, "of kind .txt": 0}}
    card = model_card(described, {}, [FileParity("model.pt2", "torch", 10, 0.0, 1.0, {"1": 0.0})])
    waves = np.sin(np.arange(200)[:, None, None] / 30 + np.arange(300)[:, None] / 20 + np.arange(3)) * 100 + 128
    monkeypatch.chdir(tmp_path)
    photo = Image.fromarray(waves.astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save("photo.png", exif=exif)
    assert "Files that were left out: 1,200 damaged. Settings" in card
    expected = (
        read_square(OneFile(), 0, 56, 3, exif_rotation=upright)
        if share == 1.0
        else np.asarray(evaluation_transform(56)(photo))
    )
    found: dict[str, np.ndarray] = {}
    exec(re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0], found)
    assert found["pixels"].shape == (1, 3, 56, 56)
    assert np.abs(found["pixels"][0].transpose(1, 2, 0).astype(int) - expected).max() <= 2


def test_the_share_of_an_image_that_a_network_sees_is_told_for_encoded_images_too():
    splits = load_splits(DATA)
    encoded = StreamedImages(OneFile(), image_size=224)
    assert description._share_kept(splits) == 1.0
    assert description._share_kept(dataclasses.replace(splits, validation=encoded)) == pytest.approx(0.875)


def test_blocks_of_ones_own_are_named_and_no_code_is_claimed_for_them(exported):
    run_path, _, _ = exported
    described = json.loads((folder_of(run_path, 0) / "architecture.json").read_text())
    described["network"]["blocks"][2] = {"type": "GatedBlock", "name": "gated"}
    parity = FileParity("model.pt2", "torch", 10, 0.0, 1.0, {"1": 0.0})
    card = model_card(described, {"model.pt2": 10}, [parity])
    assert "needs the code of the block types GatedBlock, which is not part of multinas-ray" in card
    assert "class Residual" not in card


def int8_logits(file: Path, pixels: np.ndarray, level: str) -> np.ndarray:
    """What a file gives: with all optimisations in whole numbers, without any in floats, as it is meant."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(str(file), options)
    (logits,) = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(pixels)})
    return np.asarray(logits)


def test_the_quantised_file_is_judged_beside_the_float_one(exported):
    """Accuracies are those of all test images; weights are 8-bit numbers."""
    run_path, networks, printed = exported
    splits = load_splits(DATA)
    assert isinstance(splits.test, ImageSet)
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (splits.mean, splits.std))
    images = (torch.as_tensor(splits.test.images).permute(0, 3, 1, 2) / 255 - mean) / std
    labels = torch.as_tensor(splits.test.labels)
    for number, network in enumerate(networks):
        _, whole, quantised = network.parities
        with torch.no_grad():
            logits = network_of(run_path, number, network.weights)(images)
        assert whole.test_accuracy == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
        assert quantised.test_accuracy == pytest.approx(whole.test_accuracy, abs=0.05)
        file, pixels = folder_of(run_path, number) / "model_int8.onnx", splits.test.images.transpose(0, 3, 1, 2)
        as_run, as_meant = (int8_logits(file, pixels, level) for level in ("ORT_ENABLE_ALL", "ORT_DISABLE_ALL"))
        assert np.mean(as_run.argmax(1) == logits.numpy().argmax(1)) > 0.8
        assert np.mean(as_run.argmax(1) == as_meant.argmax(1)) > 0.99, "sums of 8 bits saturate on some processors"
        assert TOLERANCE < quantised.max_abs_difference < 0.15 * float(np.ptp(logits.numpy()))
        model = onnx.load(folder_of(run_path, number) / "model_int8.onnx")
        convs = [node for node in model.graph.node if node.op_type == "Conv"]
        scales = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
        kinds = {each.name: each.data_type for each in model.graph.initializer}
        assert {kinds[scales[conv.input[1]]] for conv in convs} == {onnx.TensorProto.INT8}
        assert not any(node.op_type == "QuantizeLinear" and node.input[0] == "pixels" for node in model.graph.node)
        record = json.loads((folder_of(run_path, number) / "parity.json").read_text())["files"]
        assert record["model_int8.onnx"]["test_accuracy"] == quantised.test_accuracy
        row = f"| {quantised.top1_agreement:.2%} | {quantised.test_accuracy:.2%} |"
        card = (folder_of(run_path, number) / "README.md").read_text()
        assert row in card
        assert "except for `model_int8.onnx`" in card
        assert f", {quantised.test_accuracy:.2%} right" in printed
    assert "int8 .onnx" in printed
