import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.latency import LatencyTable, ProfileSettings, make_kit, measure, profile_space, read_latency_table
from multinas_ray.latency.onnx_blocks import GraphedModule, OnnxModule, providers_of
from multinas_ray.latency.table import blocks_of, describe_block
from multinas_ray.spaces import Block, ConvLayer, Head, NetworkSpace, Position, mbconv, skip
from multinas_ray.supernets import build_subnet

KEEP = (mbconv(4, 4, 3, 2), skip())
SPACE = NetworkSpace(
    "tiny",
    (3, 8, 8),
    Block("stem", (ConvLayer(3, 4, 3),)),
    (Position("a", KEEP), Position("b", (mbconv(4, 4, 3, 2, stride=2),)), Position("c", KEEP)),
    Head(4, 3),
)
SETTINGS = ProfileSettings(batch_size=2)


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kits") / "kit"
    make_kit(SPACE, SETTINGS, folder, num_networks=3)
    return folder


@pytest.fixture(scope="module")
def result(kit):
    """What the script writes in a process that knows nothing of this repository."""
    command = [sys.executable, "-I", "measure.py", "--repeats", "3", "--warm-up", "1"]
    done = subprocess.run(command, cwd=kit, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1, 3), done.stderr
    assert "7 blocks and 3 networks" in done.stdout
    assert "pass 4 of 4" in done.stdout
    assert "Standard error of the blocks' medians" in done.stdout
    return kit / "latency.json"


def test_the_result_of_a_kit_is_a_table_of_its_space(result):
    table = read_latency_table(result)
    assert isinstance(table, LatencyTable)
    assert table.missing(SPACE) == []
    expected = {(describe_block(block), shape) for _, block, shape in blocks_of(SPACE)}
    assert {(row.description, row.input_shape) for row in table.rows} == expected
    assert [row.repeats for row in table.rows] == [3] * 7
    shapes = [(3, 8, 8), (4, 8, 8), (4, 8, 8), (4, 4, 4), (4, 4, 4)]
    chosen = [SPACE.stem, KEEP[0], SPACE.positions[1].blocks[0], KEEP[1], SPACE.head]
    times = [row.median_ms for each in zip(chosen, shapes, strict=True) if (row := table.find(*each)) is not None]
    assert table.cost(SPACE)([[0, 0, 1]])[0] == pytest.approx(sum(times))
    assert len(times) == 5
    assert (table.conditions.batch_size, table.conditions.space_fingerprint) == (2, SPACE.fingerprint)
    assert str(table.conditions.runtime).startswith("onnxruntime ")


def test_another_space_is_refused(result):
    other = NetworkSpace("other", (3, 8, 8), SPACE.stem, SPACE.positions, Head(4, 7))
    with pytest.raises(ConfigError, match=r"lacks 1: 'head' at head"):
        read_latency_table(result).cost(other)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda content: content["rows"].pop(), "its rows are not those of the kit"),
        (lambda content: content["rows"][0].update(input_shape=[3, 4, 4]), "its rows are not those of the kit"),
        (lambda content: content["rows"][0].update(median_ms=-1.0), "must be finite"),
        (lambda content: content["conditions"].update(more=1), "is damaged"),
        (lambda content: content.update(form="other"), "is not what the script of a kit writes"),
    ],
)
def test_a_result_that_is_not_whole_is_refused(result, tmp_path, spoil, text):
    content = json.loads(result.read_text())
    spoil(content)
    (tmp_path / "latency.json").write_text(json.dumps(content))
    with pytest.raises(StateError, match=text):
        read_latency_table(tmp_path / "latency.json")


def test_the_script_needs_onnxruntime_and_numpy_alone():
    """Its syntax is that of Python 3.8, which JetPack 5 has."""
    tree = ast.parse(Path(measure.__file__).read_text(), feature_version=(3, 8))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {str(name).partition(".")[0] for name in names} - sys.stdlib_module_names == {"numpy", "onnxruntime"}


def test_a_pass_times_every_block_in_chains_of_the_space():
    """Each model adds a digit to what it gets, and the clock tells which models ran."""
    places, seen = [[0], [1, 2], [3, 1], [4]], []

    def block(number):
        def run(value):
            if number == 4:
                seen.append(value)
            return [*value, number]

        return run

    blocks = [block(number) for number in range(5)]
    clock = iter(np.cumsum([0.0, 1, 2, 3, 4] * 100))
    seconds = measure.pass_over_blocks(places, blocks, [], lambda: next(clock), np.random.default_rng(0))
    assert {tuple(value) for value in seen} <= {(0, a, b) for a in (1, 2) for b in (3, 1)}
    assert len(seen) == 2 * 3  # two networks cover all; one run warms up, two are timed
    assert {value[1] for value in seen} == {1, 2}
    assert {value[2] for value in seen} == {1, 3}
    assert seconds[[0, 4]].tolist() == [1, 4]  # the first and the last of each chain


@pytest.mark.parametrize(
    ("predicted", "halves", "status"),
    [
        ([1, 2, 3], ([1, 2, 3], [1, 2, 3]), 0),
        ([3, 2, 1], ([1, 2, 3], [1, 2, 3]), 1),
        ([3, 2, 1], ([1, 2, 3], [3, 2, 1]), 3),
    ],
)
def test_the_verdict_tells_noise_from_a_poor_table(predicted, halves, status, capsys):
    whole = np.array([halves[0]] * 2 + [halves[1]] * 2, float)
    networks = [{"blocks": [index]} for index in range(3)]
    assert measure.tell_verdict(np.array([predicted] * 4, float), whole, networks) == status
    assert ("too noisy" in capsys.readouterr().out) == (status == 3)


def test_onnx_runtime_computes_what_the_block_does():
    settings = ProfileSettings(batch_size=2, backend="onnxruntime", least_passes=2, most_passes=2)
    network, images = build_subnet(SPACE, (0, 0, 1)).eval(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(OnnxModule(network, (3, 8, 8), settings)(images), network(images))
    table = profile_space(SPACE, settings)
    assert table.missing(SPACE) == []
    assert str(table.conditions.runtime).endswith(", CPUExecutionProvider")


def test_a_runtime_that_is_not_there_is_told():
    with pytest.raises(ConfigError, match="must have ONNX Runtime's TensorrtExecutionProvider, found "):
        providers_of(ProfileSettings(backend="tensorrt", device="cuda"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"backend": "cuda_graphs"}, "backend='cuda_graphs' must have a GPU, got device='cpu'"),
        ({"backend": "onnxruntime", "precision": "bfloat16"}, "must have precision='float32'"),
    ],
)
def test_backends_say_what_they_need(change, text):
    with pytest.raises(ConfigError, match=text):
        ProfileSettings(**change)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_graph_replays_the_module():
    images = torch.randn(2, 3, 8, 8, device="cuda")
    network = build_subnet(SPACE, (0, 0, 1)).cuda().eval()
    torch.testing.assert_close(GraphedModule(network, images)(images), network(images))


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files: name a new one"):
        make_kit(SPACE, SETTINGS, tmp_path)
    assert (tmp_path / "mine.txt").exists()


def test_whole_networks_tell_their_blocks(kit):
    content = json.loads((kit / "kit.json").read_text())
    for network in content["networks"]:
        names = [content["rows"][number]["block"] for number in network["blocks"]]
        chosen = [
            each.blocks[choice].name for each, choice in zip(SPACE.positions, network["architecture"], strict=True)
        ]
        assert names == ["stem", *chosen, "head"]
