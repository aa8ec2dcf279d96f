import json
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import ray.cloudpickle
import torch
from torch import nn

from multinas_ray.choices import Choice, ElasticLinear, MeasuredCost, WidthChoice, model_space
from multinas_ray.choices.measuring import ModelMeter
from multinas_ray.cluster import load_object
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.spaces import AdditiveCost, FactoredCost, ModelSpace, register_model, space_from_dict
from multinas_ray.supernets import build_subnet, make_supernet
from tests.choices.small_net import SmallNet, chosen_blocks


@pytest.fixture(scope="module")
def small() -> ModelSpace:
    return model_space(SmallNet, (1, 8, 8))


@pytest.fixture(scope="module")
def blocks() -> ModelSpace:
    return model_space(chosen_blocks, (1, 8, 8), arguments={"classes": 7}, name="blocks")


def test_costs_that_are_sums_are_tables_and_others_are_measured(small, blocks) -> None:
    assert {type(cost) for cost in blocks.costs.values()} == {AdditiveCost}
    assert {type(cost) for cost in small.costs.values()} == {FactoredCost}
    for space in (small, blocks):
        rows = space.search_space.enumerate()
        counted = [sum(each.numel() for each in build_subnet(space, row).parameters()) for row in rows]
        assert space.costs["params"](rows).tolist() == counted
        for cost in space.costs.values():
            assert cost.minimum == cost(rows).min() > 0
            assert cost.maximum == cost(rows).max()


class Attention(nn.Module):
    """A product of features in a module's own forward: its cost depends on the widths of layers within it."""

    def __init__(self) -> None:
        super().__init__()
        width = WidthChoice("width", [2, 4])
        self.query, self.key = ElasticLinear(8, width), ElasticLinear(8, width)

    def forward(self, images):
        tokens = images.flatten(1, 2)
        return torch.bmm(self.query(tokens), self.key(tokens).transpose(1, 2)).flatten(1)


@register_model
def attention() -> nn.Module:
    return nn.Sequential(Attention(), nn.Linear(64, 3))


@register_model
def copying() -> nn.Module:
    """A model whose making copies modules, buffers included, as those of torch and of others do."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    norm = nn.BatchNorm1d(8)
    ends = {"one": nn.Linear(64, 3), "two": nn.Sequential(nn.Linear(64, 4), nn.Linear(4, 3))}
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return nn.Sequential(nn.Flatten(1, 2), encoder, deepcopy(norm), norm, nn.Flatten(1), Choice("end", ends))


class Recurrent(nn.Module):
    """The last output of a layer that reads the rows of an image."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer = getattr(nn, kind)(8, 16, batch_first=True)
        self.end = Choice("end", {"one": nn.Linear(16, 3), "two": nn.Sequential(nn.Linear(16, 4), nn.Linear(4, 3))})

    def forward(self, images):
        return self.end(self.layer(images[:, 0])[0][:, -1])


@register_model
def recurrent(kind: str) -> nn.Module:
    return Recurrent(kind)


@register_model
def strided() -> nn.Module:
    """An option that changes the size of what comes after it."""
    choice = Choice("stride", {"one": nn.Conv2d(1, 4, 3, padding=1), "two": nn.Conv2d(1, 4, 3, 2, padding=1)})
    width = Choice("next", {"a": nn.Conv2d(4, 4, 3, padding=1), "b": nn.Conv2d(4, 4, 5, padding=2)})
    return nn.Sequential(choice, width, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


@pytest.mark.parametrize(("make", "kind"), [(attention, AdditiveCost), (strided, MeasuredCost)])
def test_products_of_features_and_changing_sizes_are_counted_right(make, kind) -> None:
    space = model_space(make, (1, 8, 8))
    cost = space.costs["flops"]
    assert isinstance(cost, kind)
    expected = {
        attention: [2 * 8 * 8 * width + 8 * 8 * width + 64 * 3 for width in (2, 4)],
        strided: [9 * 4 * pixels + kernel * 16 * pixels + 12 for pixels in (64, 16) for kernel in (9, 25)],
    }[make]
    assert cost(space.search_space.enumerate()).tolist() == expected
    again = space_from_dict(json.loads(json.dumps(space.to_dict()))).costs["flops"]
    assert again(space.search_space.enumerate()).tolist() == expected


def test_a_model_may_copy_its_modules() -> None:
    space = model_space(copying, (1, 8, 8))
    rows = space.search_space.enumerate()
    counted = [sum(each.numel() for each in build_subnet(space, row).parameters()) for row in rows]
    assert space.costs["params"](rows).tolist() == counted
    # 8 tokens of 8 features: projections to queries, keys and values, scores, their sums, projection, hidden features
    encoder = 2 * (8 * 8 * 24 + 8 * 8 * 8 + 8 * 8 * 8 + 8 * 8 * 8 + 2 * 8 * 8 * 16)
    assert space.costs["flops"](rows).tolist() == [encoder + 64 * 3, encoder + 64 * 4 + 4 * 3]
    assert make_supernet(space, norm_batch_size=2, seed=0)(torch.randn(2, 1, 8, 8), rows).shape == (2, 2, 3)


def test_copies_have_weights_and_buffers_of_their_own() -> None:
    model = ModelMeter(copying, model_space(copying, (1, 8, 8)).inputs).model
    own = [*model.parameters(), *model.buffers()]
    assert len({id(each) for each in own}) == len(own) == len(copying().state_dict())


def test_measuring_leaves_the_settings_of_torch_as_they_were() -> None:
    model_space(copying, (1, 8, 8)).costs["flops"]([(0,)])
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch._C._get_mkldnn_enabled()


@pytest.mark.parametrize(("kind", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_recurrent_layers_are_counted_whole(kind: str, gates: int) -> None:
    space = model_space(recurrent, (1, 8, 8), arguments={"kind": kind})
    layer = 8 * gates * 16 * (8 + 16)  # for each of 8 rows, of inputs and of what is remembered
    assert space.costs["flops"](space.search_space.enumerate()).tolist() == [layer + 48, layer + 64 + 12]


def test_an_expected_cost_measures_few_networks(monkeypatch) -> None:
    cost, measured = model_space(strided, (1, 8, 8)).costs["flops"], list[int]()
    exact = cost([[0, 0], [0, 1], [1, 0], [1, 1]]).mean()
    assert cost.expectation(np.full((1, 2, 2), 0.5)) == pytest.approx(exact, rel=0.1)

    def count(self: MeasuredCost, rows: np.ndarray) -> np.ndarray:
        measured.append(len(rows))
        return np.ones(len(rows))

    monkeypatch.setattr(MeasuredCost, "__call__", count)
    cost.expectation(np.full((2, 2, 2), 0.5))
    assert measured == [100, 100]


@register_model
def rarely_strided() -> nn.Module:
    """One of 729 networks has smaller feature maps; it is neither cheap nor expensive."""
    option: nn.Module = nn.Sequential(nn.Conv2d(1, 12, 3, 2, padding=1, bias=False), nn.Conv2d(12, 1, 1, bias=False))
    for name in ("a", "b", "c"):
        more = nn.Conv2d(1, 1, 5, padding=2, bias=False)
        others = {str(n): nn.Identity() for n in range(7)}
        option = nn.Sequential(Choice(name, {**others, "in": option, "more": more}))
    return nn.Sequential(option, nn.Conv2d(1, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def test_sizes_that_change_in_few_networks_are_seen() -> None:
    space = model_space(rarely_strided, (1, 8, 8))
    cost = space.costs["flops"]
    assert isinstance(cost, MeasuredCost)
    after, rare = 36 * 64 + 8, 16 * 9 * 12 + 16 * 12 + 36 * 16 + 8
    assert cost([(7, 7, 7), (7, 7, 0), (8, 0, 0)]).tolist() == [rare, after, after + 25 * 64]
    assert (cost.minimum, cost.maximum) == (after, after + 25 * 64)
    assert not isinstance(space.costs["params"], MeasuredCost)


def test_multiply_adds_are_those_of_the_layers(small) -> None:
    width, depth = 8, 1
    expected = 64 * (9 * width + depth * 9 * width**2) + 10 * width
    assert small.costs["flops"]([(1, 1, 0)]).tolist() == [expected]


def test_the_space_tells_its_facts(small, blocks) -> None:
    assert (blocks.name, blocks.num_classes, blocks.inputs) == ("blocks", 7, "float32[1, 8, 8]")
    assert [each.name for each in blocks.variables] == ["block0", "block1", "block2"]
    assert blocks.skips_DC.tolist() == [[False, False, True]] * 3
    assert small.skips_DC.tolist() == [[False] * 3, [True, False, False], [False] * 3]
    assert small.supernet_params == sum(each.numel() for each in SmallNet().parameters())


def test_a_recorded_space_is_the_same_and_has_the_same_costs(small, blocks) -> None:
    for space in (small, blocks):
        again = space_from_dict(json.loads(json.dumps(space.to_dict())))
        assert isinstance(again, ModelSpace)
        assert again.to_dict() == space.to_dict()
        assert again.fingerprint == space.fingerprint
        rows = space.search_space.random(5, np.random.default_rng(0))
        for name, cost in space.costs.items():
            np.testing.assert_array_equal(again.costs[name](rows), cost(rows))
            assert again.costs[name].maximum == cost.maximum


@pytest.mark.parametrize("field", ["variables", "costs", "ways", "model", "skips"])
def test_a_damaged_description_is_told(small, field) -> None:
    with pytest.raises((StateError, ConfigError)):
        space_from_dict({**small.to_dict(), field: 3})


def test_networks_that_differ_in_unused_variables_are_one() -> None:
    @register_model
    def nested() -> nn.Module:
        inner = nn.Sequential(Choice("inner", {"a": nn.Conv2d(1, 1, 1), "b": nn.Identity()}))
        outer = Choice("outer", {"x": inner, "y": nn.Identity(), "z": inner})
        return nn.Sequential(outer, nn.Flatten(), nn.Linear(4, 2))

    space = model_space(nested, (1, 2, 2))
    rows = space.search_space.enumerate()
    canonical = space.equivalence.canonical(rows)
    assert canonical.tolist() == [[0, 0], [0, 1], [1, 0], [1, 0], [2, 0], [2, 1]]
    assert not any(isinstance(cost, MeasuredCost) for cost in space.costs.values())
    for row, same in zip(rows, canonical, strict=True):
        assert repr(build_subnet(space, row)) == repr(build_subnet(space, same))


def unregistered() -> nn.Module:
    return chosen_blocks()


@register_model
class WithoutGradient(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = Choice("a", {"x": nn.Conv2d(1, 2, 1), "y": nn.Conv2d(1, 2, 3, padding=1)})

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        labels: torch.Tensor = self.layer(images).argmax(1)
        return labels.float()


class Doubled(nn.Module):
    """Changes what it takes."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.mul_(2)


class Cut(nn.Module):
    """Gives values that do not know where they come from."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.detach()


def with_option(option: nn.Module) -> nn.Module:
    """A model in which an option between two others is at fault."""
    first = Choice("first", {"x": nn.Conv2d(1, 2, 1), "y": nn.Conv2d(1, 2, 1)})
    return nn.Sequential(first, nn.Sigmoid(), Choice("a", {"x": nn.Identity(), "y": option, "z": nn.ReLU()}))


@register_model
def changes_in_place() -> nn.Module:
    return with_option(Doubled())


@register_model
def one_without_gradient() -> nn.Module:
    return with_option(Cut())


@register_model
def shapes_differ() -> nn.Module:
    return with_option(nn.Conv2d(2, 3, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"make": unregistered}, "write @register_model over it"),
        ({"make": chosen_blocks, "inputs": "text"}, "a shape such as"),
        ({"make": chosen_blocks, "arguments": {"classes": {1}}}, "plain JSON data"),
        ({"make": chosen_blocks, "arguments": {"colour": 3}}, "cannot be made"),
        ({"make": chosen_blocks, "inputs": {"pixels": torch.zeros(1, 8, 8)}}, "keyword.* let forward take the inputs"),
        ({"make": WithoutGradient}, r"the one with a=x do not \(they have no gradient\): leave detach, argmax"),
        ({"make": one_without_gradient}, "those of the one with the option 'y' of the choice 'a' do not .they have no"),
        ({"make": changes_in_place}, "option 'y' of the choice 'a' do not .*inplace operation.* set inplace=False"),
        (
            {"make": shapes_differ},
            "the option 'y' of the choice 'a' gives .*3, 8, 8.* in place of .*2, 8, 8.*: let the",
        ),
    ],
)
def test_what_is_no_space_is_refused(arguments, message) -> None:
    with pytest.raises(ConfigError, match=message):
        model_space(**{"inputs": (1, 8, 8), **arguments})


def test_a_model_whose_module_was_not_imported_is_told(small) -> None:
    lost = space_from_dict({**small.to_dict(), "model": "elsewhere"})
    assert isinstance(lost, ModelSpace)
    with pytest.raises(ConfigError, match="--import"):
        lost.make()


def test_a_fresh_network_is_a_function_of_its_seed(small) -> None:
    state = torch.get_rng_state()
    first, again, other = (build_subnet(small, (0, 1, 0), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [next(iter(each.parameters())) for each in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.slow
def test_a_space_takes_its_function_along_to_a_process_that_does_not_know_it(tmp_path) -> None:
    file = tmp_path / "elsewhere.py"
    file.write_text(
        "from torch import nn\n"
        "from multinas_ray.choices import Choice\n"
        "from multinas_ray.spaces import register_model\n"
        "@register_model\ndef elsewhere():\n"
        "    choice = Choice('a', {'x': nn.Identity(), 'y': nn.ReLU()})\n"
        "    return nn.Sequential(choice, nn.Flatten(), nn.Linear(4, 2))\n"
    )
    make = load_object(f"{file}:elsewhere")
    sent = tmp_path / "space"
    sent.write_bytes(ray.cloudpickle.dumps(model_space(make, (1, 2, 2))))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).make())"
    told = subprocess.run([sys.executable, "-c", code, str(sent)], capture_output=True, text=True, check=False)
    assert "Choice" in told.stdout, told.stderr
