"""One's own images, blocks, space and cost."""

from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from experiments.custom import CUSTOM, batch_settings, default_targets, main, mobile_space
from multinas_ray.cluster import load_module
from multinas_ray.data import DataFacts
from multinas_ray.errors import ConfigError
from multinas_ray.runs import load_run
from multinas_ray.selection import open_run
from multinas_ray.spaces import space_from_dict
from multinas_ray.supernets import WeightTraining, build_subnet
from tests.support.image_trees import write_tree

OWN_BLOCKS = str(Path(__file__).parents[2] / "experiments" / "own_blocks.py")
own_blocks = load_module(OWN_BLOCKS)  # as the flags do


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """20 training images, 10 validation images and 10 test images of each of two classes, 16x16."""
    counts = {"train/cats": 30, "train/dogs": 30, "val/cats": 10, "val/dogs": 10}
    return write_tree(tmp_path_factory.mktemp("pets"), counts, size=(16, 20))


def configured(tree, *flags):
    return CUSTOM.config(CUSTOM.parser().parse_args(["--data", str(tree), *flags]))


@pytest.mark.parametrize("make_space", [own_blocks.separable_space, mobile_space])
@pytest.mark.parametrize("image_shape", [(3, 32, 32), (1, 9, 9), (3, 40, 40)])
def test_costs_are_those_of_the_built_network(make_space, image_shape):
    space = make_space(image_shape, 5)
    rows = [space.costs["flops"].argmin(), *space.search_space.random(3, np.random.default_rng(0))]
    for row in rows:
        subnet = build_subnet(space, row).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            assert subnet(torch.zeros(2, *image_shape)).shape == (2, 5)
        assert space.costs["flops"]([row])[0] == counter.get_total_flops() / 4  # two images, multiply and add
        assert space.costs["params"]([row])[0] == sum(parameter.numel() for parameter in subnet.parameters())


def test_activations_of_the_own_block_are_what_autograd_keeps():
    block, batch_size = own_blocks.Separable("k3", 8, 16, kernel_size=3, stride=2), 4
    module = block.build(torch.nn.BatchNorm2d)
    images = torch.randn(batch_size, 8, 10, 10, requires_grad=True)
    not_counted = {parameter.data_ptr() for parameter in module.parameters()} | {images.data_ptr()}
    kept = {}

    def pack(tensor):
        if tensor.data_ptr() not in not_counted and tensor.dim() > 1:  # vectors are BN statistics
            kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(images)
    assert sum(kept.values()) == batch_size * block.activations((8, 10, 10))


def test_a_space_of_own_blocks_is_read_back_from_its_record():
    space = own_blocks.separable_space((3, 32, 32), 5)
    assert space_from_dict(space.to_dict()).fingerprint == space.fingerprint


def test_own_cost_is_the_bytes_of_every_block_that_is_there():
    space = own_blocks.separable_space((3, 32, 32), 5)
    cost = own_blocks.memory_traffic(space)
    row = (0, 0, 0, 3, 0, 3)  # two skips
    subnet = build_subnet(space, row).eval()
    moved = 0

    def count(module, inputs, output):
        nonlocal moved
        moved += sum(tensor.numel() for tensor in (inputs[0], output, *module.parameters()))

    for module in subnet.modules():
        is_chain = isinstance(module, torch.nn.Sequential)
        if is_chain and any(isinstance(each, torch.nn.Hardswish) for each in module.children()):
            module.register_forward_hook(count)
    with torch.no_grad():
        subnet(torch.zeros(1, 3, 32, 32))
    ends = [(space.stem, space.input_shape), (space.head, space.input_shapes[-1])]
    moved += sum(block.params + prod(shape) + prod(block.output_shape(shape)) for block, shape in ends)
    assert cost([row])[0] == 4 * moved


@pytest.mark.parametrize(("size", "last"), [(8, 4), (16, 4), (28, 4), (32, 4), (48, 3), (64, 4), (128, 4), (224, 7)])
def test_the_mobile_space_ends_with_a_map_of_about_four(size, last):
    assert mobile_space((3, size, size), 10).input_shapes[-1] == (160, last, last)


def test_what_the_images_tell_is_in_the_configuration(tree):
    config = configured(tree)
    assert config.space.input_shape == (3, 16, 16)
    assert config.space.num_classes == 2
    assert config.data.image_size == 16  # recorded, so that other images of the folder do not change it
    assert (config.complexity, config.coefficients) == ("flops", None)
    least, most = config.cost.minimum, config.cost.maximum
    assert len(config.targets) == 4
    np.testing.assert_allclose(config.targets, np.geomspace(least, most, 5)[1:], rtol=0.05)
    assert (config.training.batch_size, config.training.validation_batch_size) == (12, 12)
    assert (config.warmup_rounds, config.search_rounds) == (300, 150)


def test_one_flag_each_for_images_space_and_cost(tree):
    flags = ("--space", f"{OWN_BLOCKS}:separable_space", "--cost", f"{OWN_BLOCKS}:memory_traffic", "--image-size", "32")
    config = configured(tree, *flags, "--coefficients", "0", "1", "--warmup-rounds", "7", "--search-rounds", "9")
    assert config.space.name == "separable"
    assert config.space.input_shape == (3, 32, 32)
    assert config.complexity == "traffic_bytes"
    assert config.complexity_scale == own_blocks.memory_traffic(config.space).maximum
    assert (config.coefficients, config.warmup_rounds, config.search_rounds) == ((0.0, 1.0), 7, 9)
    assert configured(tree, *flags, "--complexity", "params").complexity == "params"


def test_flags_about_the_images_reach_their_configuration(tree):
    flags = ("--no-horizontal-flip", "--strict", "--validation-fraction", "0.5", "--no-in-memory")
    data = configured(tree, *flags).data
    assert (data.horizontal_flip, data.strict, data.validation_fraction) == (False, True, 0.5)
    assert (data.in_memory, data.image_size) == (False, 224)


@pytest.mark.parametrize(
    ("num_train", "num_validation", "num_workers", "batch", "norm"),
    [(1000, 200, 1, 128, 32), (1000, 100, 2, 64, 32), (40, 10, 1, 10, 10), (40, 11, 2, 10, 5), (1000, 200, 3, 96, 32)],
)
def test_batches_fit_the_smaller_split_in_whole_groups(num_train, num_validation, num_workers, batch, norm):
    facts = DataFacts((3, 8, 8), ("a", "b"), num_train, num_validation, 10)
    settings = batch_settings(facts, num_workers, None)
    assert (settings["batch_size"], settings["norm_batch_size"]) == (batch, norm)
    assert batch % (norm * num_workers) == 0
    assert settings["validation_batch_size"] <= num_validation


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("batch_size", [2, 30, 32, 37 * 2, 96])
@pytest.mark.parametrize(("num_train", "num_validation"), [(115, 29), (96, 24), (1078, 360)])
def test_a_given_batch_size_fits_by_itself(num_train, num_validation, batch_size, num_workers):
    """29 validation images gave norm_batch_size=29, of which no batch size that anybody gives is a multiple."""
    facts = DataFacts((3, 8, 8), ("a", "b"), num_train, num_validation, 10)
    settings = batch_settings(facts, num_workers, batch_size)
    assert settings["batch_size"] == batch_size
    assert settings["validation_batch_size"] <= num_validation
    WeightTraining(**settings).check_num_workers(num_workers)


def test_given_sizes_of_groups_are_kept():
    facts = DataFacts((3, 8, 8), ("a", "b"), 400, 100, 10)
    expected = {"batch_size": 48, "validation_batch_size": 96, "norm_batch_size": 16}
    assert batch_settings(facts, 1, 48, 16) == expected
    assert batch_settings(facts, 1, None, 16)["batch_size"] == 96


def test_narrow_spaces_reach_down_to_microcontrollers():
    least = {width: mobile_space((3, 32, 32), 10, width).costs["flops"].minimum for width in (1, 0.25, 0.05)}
    assert least[0.05] < 0.1e6 < least[0.25] < least[1]


@pytest.mark.parametrize("width", [0.05, 0.25, 2.0])
def test_targets_lie_within_the_space_in_rising_order(tree, width):
    config = configured(tree, "--width", str(width), "--complexity", "params")
    assert config.space.name == "mobile"
    assert all(config.cost.minimum <= target <= config.cost.maximum for target in config.targets)
    assert list(config.targets) == sorted(set(config.targets))


def test_targets_of_a_cost_that_may_be_nothing_are_in_equal_steps():
    space = own_blocks.separable_space((3, 32, 32), 5)
    cost = space.additive_cost("skips", lambda block, shape: 1.0 if block.name == "k7" else 0.0)
    assert cost.minimum == 0
    assert default_targets(cost) == (1.5, 3.0, 4.5, 6.0)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--space", f"{OWN_BLOCKS}:memory_traffic_of_nothing"), "defines no 'memory_traffic_of_nothing'"),
        (("--space", "nowhere.py:space"), "there is no file .*/nowhere.py: give"),
    ],
)
def test_own_code_that_is_not_there_is_named(tree, flags, text):
    with pytest.raises(ConfigError, match=text):
        configured(tree, *flags)


def test_own_code_that_returns_something_else_is_named(tree, tmp_path):
    file = tmp_path / "code_that_returns_something_else.py"
    file.write_text("def cost(space): return 3\ndef space(image_shape, num_classes): return 3\n")
    with pytest.raises(ConfigError, match=r"else.py:cost must return a Cost, got int"):
        configured(tree, "--cost", f"{file}:cost")
    with pytest.raises(ConfigError, match=r"else.py:space must return a Space, got int"):
        configured(tree, "--space", f"{file}:space")


def test_a_wrong_folder_is_an_error_in_a_line(tmp_path, capsys):
    assert main(["--data", str(tmp_path / "nowhere"), "--storage", str(tmp_path)]) == 2
    assert "nowhere is not a folder" in capsys.readouterr().err


@pytest.mark.cluster
def test_a_search_with_own_images_blocks_and_cost(tree, tmp_path):
    own = ["--space", f"{OWN_BLOCKS}:separable_space", "--cost", f"{OWN_BLOCKS}:memory_traffic"]
    size = ["--warmup-rounds", "4", "--search-rounds", "4", "--threads-per-worker", "1", "--coefficients", "0", "1"]
    assert main(["--data", str(tree), *own, *size, "--storage", str(tmp_path), "--name", "own"]) == 0
    run = load_run(tmp_path / "own")
    opened = open_run(tmp_path / "own")
    rows = np.stack(run.evaluations["architecture"].tolist())
    np.testing.assert_array_equal(run.evaluations["traffic_bytes"], own_blocks.memory_traffic(opened.space)(rows))
    assert run.is_finished
