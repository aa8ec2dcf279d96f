"""The networks of a run as files: complete, checked, told truly, and loadable where this package is not."""

import dataclasses
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from multinas_ray.__main__ import main
from multinas_ray.data import (
    DataConfig,
    DataSplits,
    ImageSet,
    StreamedImages,
    evaluation_transform,
    load_splits,
    read_square,
)
from multinas_ray.errors import ConfigError, ExportError, StateError
from multinas_ray.export import ExportConfig, description, export_networks
from multinas_ray.export import exporting as export_module
from multinas_ray.export.card import model_card
from multinas_ray.export.exporting import check_images, load_weights
from multinas_ray.export.formats import TOLERANCE, FileParity, export_network
from multinas_ray.latency import BlockLatency, LatencyConditions, LatencyTable, blocks_of, describe_block
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.runs import Retrained, RetrainingRecord, architectures_schema, write_config, write_retraining
from multinas_ray.selection import load_family, open_run
from multinas_ray.spaces import digits_space, space_from_dict
from multinas_ray.storage import make_table, write_parquet
from multinas_ray.supernets import build_subnet, recalibrate_batch_norm
from tests.support.narrow import pixels_of

SPACE = digits_space(width_multiplier=0.5)
DATA = DataConfig(source="digits", validation_fraction=0.25)
ARCHITECTURES = [(4, 0, 4, 4, 1, 4), (1, 3, 2, 4, 2, 3)]  # with skips, without
EVERY_FILE = ["README.md", "architecture.json", "model.onnx", "model.pt2", "parity.json", "weights.safetensors"]
PREAMBLE = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "multinas_ray":
            raise ImportError(name)
sys.meta_path.insert(0, Block())
"""


def write_run(folder, retrained=(0,)):
    """A finished run as a search and a retraining leave it, with random weights."""
    config = OneShotSearchConfig(
        space=SPACE,
        data=DATA,
        coefficients=(0.0, 0.3),
        storage_path=str(folder),
        name="small",
        warmup_rounds=2,
        search_rounds=12,
    )
    write_config(config.run_path, config.to_dict())
    splits = load_splits(DATA)
    _, images = check_images(splits)
    paths: dict[str, list[str | None]] = {"weights_path": [], "retrained_path": []}
    for number, architecture in enumerate(ARCHITECTURES):
        place = folder / "small" / "networks" / str(number)
        place.mkdir(parents=True)
        for seed, (column, name) in enumerate([("weights_path", "weights.pt"), ("retrained_path", "retrained.pt")]):
            is_there = column == "weights_path" or number in retrained
            paths[column].append(f"networks/{number}/{name}" if is_there else None)
            if is_there:
                network = build_subnet(SPACE, architecture, seed=10 * seed + number)
                torch.nn.init.normal_(network.get_parameter("head.classifier.weight"))
                recalibrate_batch_norm(network, [images])
                torch.save(network.state_dict(), place / name)
        if number in retrained:
            write_retraining(
                place, RetrainingRecord(architecture=architecture, recipe={"epochs": 17, "ema_decay": 0.5})
            )
    rows = np.array(ARCHITECTURES)
    columns = {
        "network": [0, 1],
        "origin": ["mode", "drawn"],
        "distribution": [1, 0],
        "coefficient": [0.3, 0.0],
        "target": [None, None],
        "limits": [None, '{"params": 20000.0}'],
        "architecture": ARCHITECTURES,
        "architecture_readable": [SPACE.search_space.describe(row) for row in ARCHITECTURES],
        **{name: cost(rows) for name, cost in SPACE.costs.items()},
        "complexity": [0.1, 0.5],
        "mode_probability": [0.5, None],
        "evaluation_id": [None, None],
        "supernet_loss": [0.5, 0.4],
        "supernet_accuracy": [0.8123, 0.9012],
        "supernet_test_accuracy": [0.8, 0.9],
        "retrained_loss": [0.2 if number in retrained else None for number in (0, 1)],
        "retrained_accuracy": [0.9567 if number in retrained else None for number in (0, 1)],
        "retrained_epochs": [17 if number in retrained else None for number in (0, 1)],
        **paths,
    }
    table = make_table(architectures_schema(list(SPACE.costs)), columns)
    write_parquet(folder / "small" / "architectures.parquet", table)
    return config.run_path


def quiet():
    return Console(quiet=True)


def network_of(run_path, number, kind):
    opened, family = open_run(run_path), load_family(run_path)
    return load_weights(opened, family, family.architectures.to_dict("records")[number], kind)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    run_path = write_run(folder)
    printed = io.StringIO()
    networks = export_networks(run_path, console=Console(file=printed, width=200))
    return run_path, networks, printed.getvalue()


@pytest.fixture
def run_path(tmp_path):
    return write_run(tmp_path)


def folder_of(run_path, number):
    return Path(run_path) / "networks" / str(number) / "export"


def test_every_network_has_every_file_within_tolerance(exported):
    run_path, networks, _ = exported
    for number, network in enumerate(networks):
        assert network.network == number
        assert sorted(file.name for file in folder_of(run_path, number).iterdir()) == EVERY_FILE
        assert [parity.file for parity in network.parities] == ["model.pt2", "model.onnx"]
        assert all(parity.max_abs_difference <= TOLERANCE for parity in network.parities)
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
        f"| flops | {flops:,} multiply-adds for one image |",
        f"81.23% of {len(splits.validation)} validation images",
        f"80.00% of {len(splits.test)} test images",
        f"95.67% of {len(splits.test)} test images",
        f"{len(splits.train):,} training",
        "17 epochs",
        "ema_decay 0.5",
        "The latency on a device is not known",
    ]
    told += [f"| `{name}` | {size:,} bytes |" for name, size in networks[0].sizes.items()]
    told += [f"| {parity.max_abs_difference:.2g} | 100.00% |" for parity in networks[0].parities]
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


@pytest.mark.parametrize("share", [1.0, 0.875])
def test_the_cards_way_to_read_an_image_is_the_pipelines(exported, tmp_path, monkeypatch, share):
    run_path, _, _ = exported
    described = json.loads((folder_of(run_path, 0) / "architecture.json").read_text())
    described["input"] |= {"shape": ["batch", 3, 56, 56], "share_of_shorter_side": share}
    card = model_card(described, {}, [FileParity("model.pt2", "torch", 10, 0.0, 1.0, {"1": 0.0})])
    waves = np.sin(np.arange(200)[:, None, None] / 30 + np.arange(300)[:, None] / 20 + np.arange(3)) * 100 + 128
    monkeypatch.chdir(tmp_path)
    photo = Image.fromarray(waves.astype(np.uint8))
    photo.save("photo.png")
    expected = read_square(OneFile(), 0, 56, 3) if share == 1.0 else np.asarray(evaluation_transform(56)(photo))
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


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"weights": "retrained"},
            StateError,
            r"network 1 has not been retrained: run `multinas-ray retrain",
        ),
        ({"networks": 1}, ConfigError, "export_networks: networks must be a list or None, got 1"),
        ({"networks": [1, 5]}, ConfigError, r"has the networks \[0, 1\], not 5: give numbers"),
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
    with pytest.raises(StateError, match="does not hold the weights of network 0"):
        export_networks(run_path, ExportConfig(onnx=False), console=quiet())


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
