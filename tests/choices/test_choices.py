import itertools
import logging
from typing import Any

import pytest
import torch
from torch import nn

from multinas_ray.choices import (
    Choice,
    DepthChoice,
    Elastic,
    ElasticBatchNorm2d,
    ElasticConv2d,
    ElasticLinear,
    ModelMeter,
    Place,
    Places,
    WidthChoice,
    build_network,
    extract_network,
    parts_used,
)
from multinas_ray.errors import ConfigError
from tests.choices.every_place import INPUTS, EveryPlace, images
from tests.support.narrow import present


def wrong(value: Any) -> Any:
    """A value of another type than the one asked for."""
    return value


@pytest.fixture(scope="module")
def meter() -> ModelMeter:
    return ModelMeter(EveryPlace, INPUTS)


@pytest.fixture
def model() -> EveryPlace:
    torch.manual_seed(0)
    return EveryPlace()


def test_the_places_are_found_once_each_with_their_conditions(model) -> None:
    places = Places.of(model)
    space = places.search_space
    assert {each.name: each.choices for each in space.variables} == {
        "hidden": ("4", "8", "12"),
        "stage": ("conv3", "conv5", "inner", "skip"),
        "nested": ("a", "b"),
        "deep": ("0", "1", "4"),
    }
    always: tuple[dict[str, frozenset[int]], ...] = ({},)
    assert places.conditions == {
        "hidden": always,
        "stage": always,
        "nested": ({"stage": frozenset({2})},),
        "deep": always,
    }


def test_every_network_alone_computes_costs_and_weighs_what_it_does_in_the_model(meter, model) -> None:
    places = Places.of(model)
    space, batch = places.search_space, images()
    model.train()
    for architecture in space.enumerate()[::5].tolist():  # 15 of 72, with every option
        network = extract_network(model, EveryPlace, space, architecture)
        assert not any(isinstance(module, Place | Elastic) for module in network.modules())
        places.activate(architecture)
        torch.testing.assert_close(network.train()(batch), model(batch))
        params = sum(each.numel() for each in network.parameters())
        assert meter.measure(architecture).params == params
        fresh = build_network(EveryPlace, space, architecture)
        assert {key: each.shape for key, each in fresh.state_dict().items()} == {
            key: each.shape for key, each in network.state_dict().items()
        }
    meter.check_calls()


def test_multiply_adds_are_those_of_the_layers(meter) -> None:
    pixels, hidden = 64, 8
    stem, conv5, deep = 27 * 8, 25 * 64, 9 * 64
    widened = 8 * hidden + 9 * hidden + hidden * 8
    convolutions = pixels * (stem + 2 * conv5 + widened + deep)
    assert meter.measure([1, 1, 0, 1]).flops == convolutions + 8 * hidden + hidden * 5


def test_running_statistics_are_taken_along(model) -> None:
    places = Places.of(model)
    space, architecture = places.search_space, [0, 0, 0, 1]
    places.activate(architecture)
    for seed in range(3):
        model.train()(images(seed))
    network = extract_network(model, EveryPlace, space, architecture)
    torch.testing.assert_close(network.eval()(images(7)), model.eval()(images(7)))


def test_a_network_has_weights_of_its_own(model) -> None:
    space = Places.of(model).search_space
    before = {key: value.clone() for key, value in model.state_dict().items()}
    network = extract_network(model, EveryPlace, space, [0, 0, 0, 1])
    with torch.no_grad():
        for each in network.parameters():
            each.add_(1.0)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def test_the_parts_used_are_those_that_get_a_gradient(model) -> None:
    places = Places.of(model)
    for architecture in ([0, 0, 0, 1], [1, 2, 1, 0], [2, 2, 0, 2], [1, 3, 0, 2]):
        places.activate(architecture)
        model.zero_grad(set_to_none=True)
        model(images()).square().sum().backward()
        parts = parts_used(model)
        assert {each for each in model.parameters() if each.grad is not None} == set(parts)
        for parameter, part in parts.items():
            gradient = present(parameter.grad)
            rest = gradient.clone()
            rest[part] = 0
            assert not rest.any()
            if parameter.ndim > 1:
                assert gradient[part].any()


def test_factories_of_other_options_are_not_called() -> None:
    made: list[str] = []

    def factory(name):
        def make_option():
            made.append(name)
            return nn.Identity()

        return make_option

    def make():
        return nn.Sequential(
            Choice("a", {"x": factory("x"), "y": factory("y")}), DepthChoice("b", [factory("0"), factory("1")])
        )

    space = Places.of(make()).search_space
    assert made == ["x", "y", "0", "1"]
    made.clear()
    network = build_network(make, space, [1, 0])
    assert made == ["y", "0"]
    assert [type(each) for each in network.children()] == [nn.Identity, nn.Sequential]


def test_a_network_starts_from_the_distribution_of_its_own_width() -> None:
    def make():
        width = WidthChoice("width", [4, 4096])
        return nn.Sequential(ElasticLinear(8, width), ElasticLinear(width, 8))

    torch.manual_seed(0)
    space = Places.of(make()).search_space
    narrow = build_network(make, space, [0])
    assert narrow.get_parameter("1.weight").detach().std().item() == pytest.approx(3**-0.5 / 2, rel=0.3)


def test_the_widest_is_a_multiple_of_others_and_a_module_is_used_twice() -> None:
    shared = nn.Conv2d(2, 2, 1)

    def make():
        return nn.Sequential(Choice("a", {"x": shared, "y": shared}), shared)

    model = make()
    network = extract_network(model, make, Places.of(model).search_space, [1])
    assert sum(each.numel() for each in network.parameters()) == 6
    assert network.get_submodule("0") is network.get_submodule("1")


def test_depth_within_a_place_of_depth_is_used_where_it_is_reached() -> None:
    def make():
        return DepthChoice("d", [nn.Identity(), Choice("c", {"x": nn.Identity(), "y": nn.ReLU()})], [0, 1, 2])

    assert Places.of(make()).conditions == {"d": ({},), "c": ({"d": frozenset({2})},)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice("", {"x": nn.Identity()}), "name of a choice"),
        (lambda: Choice("a\n", {"x": nn.Identity()}), "can be printed, got 'a.n'"),
        (lambda: Choice("a", {}), "choice 'a' must be one or more"),
        (lambda: Choice("a", {"x\x1b[2J": nn.Identity()}), r"that can be printed, got \['x.x1b\[2J'\]"),
        (lambda: Choice("a", {"": nn.Identity()}), "choice 'a' must be one or more"),
        (lambda: Choice("a", {"x": wrong(3)}), "option of the choice 'a' must be a module"),
        (lambda: Choice("a", {"x": lambda: wrong(3)}), "option of the choice 'a' must be a module"),
        (lambda: DepthChoice("a", [nn.Identity()], [2]), "depths of the choice 'a'"),
        (lambda: DepthChoice("a", [nn.Identity()], []), "depths of the choice 'a'"),
        (lambda: DepthChoice("a", [nn.Identity()] * 3, [2, 1]), "depths of the choice 'a'"),
        (lambda: WidthChoice("a", [0, 1]), "widths of the choice 'a'"),
        (lambda: WidthChoice("a", [2, 2]), "widths of the choice 'a'"),
        (lambda: ElasticConv2d(2, 4, 3, depthwise=True), "depthwise"),
        (lambda: ElasticConv2d(2, 4, 3, groups=2), "give no groups"),
        (lambda: Places.of(nn.Identity()), "has no choices"),
        (
            lambda: Places.of(nn.Sequential(*(Choice("a", {"x": nn.Identity()}) for _ in range(2)))),
            "two choices of the model are named 'a'",
        ),
    ],
)
def test_faulty_places_are_refused_by_name(make, message) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


class Fails(nn.Module):
    """A model whose options do not fit, which leaves a place out, or which looks at values."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.start = Choice("start", {"x": nn.Identity(), "y": nn.Identity()})
        self.a = Choice("a", {"x": nn.Conv2d(3, 4, 1), "y": nn.Conv2d(3, 5, 1)})
        self.b = Choice("b", {"x": nn.Identity()})
        self.after = nn.Conv2d(4, 2, 1)

    def forward(self, images):
        if self.fault == "values" and images.sum() > 0:
            return images
        if self.fault == "in place" and self.a.active:
            images.mul_(2)
        images = self.start(images)
        features = images[:, :4] if self.fault == "left out" else self.b(self.a(images))
        return self.after(features) if self.fault == "shapes" else features


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("shapes", "the one with the option 'y' of the choice 'a' does not"),
        ("values", "the one with start=x, a=x, b=x does not .* let no value of a tensor decide"),
        ("in place", "change its inputs in place, the one with the option 'y' of the choice 'a' does: set inplace=F"),
    ],
)
def test_a_network_that_cannot_run_is_told_by_its_options(fault, message) -> None:
    meter = ModelMeter(lambda: Fails(fault), INPUTS)
    with pytest.raises(ConfigError, match=message):
        meter.measure([1, 1, 0])


def test_only_the_error_tells_that_layers_do_not_fit(caplog: pytest.LogCaptureFixture) -> None:
    def linear() -> nn.Module:
        return nn.Sequential(nn.Flatten(), Choice("a", {"x": nn.Linear(3, 4)}), nn.Linear(5, 6))

    logger = logging.getLogger("torch")
    logger.addHandler(caplog.handler)
    try:
        meter = ModelMeter(linear, INPUTS)
        with pytest.raises(ConfigError, match="the one with a=x does not"):
            meter.measure([0])
    finally:
        logger.removeHandler(caplog.handler)
    assert not caplog.records


def test_a_place_that_is_not_called_and_a_model_that_cannot_be_made_are_told() -> None:
    meter = ModelMeter(lambda: Fails("left out"), INPUTS)
    meter.measure([0, 0, 0])
    with pytest.raises(ConfigError, match="every choice must be used when the model is called, 'a', 'b' is not"):
        meter.check_calls()
    with pytest.raises(ConfigError, match="cannot be made"):
        ModelMeter(lambda: wrong(1 / 0), INPUTS)
    with pytest.raises(ConfigError, match="must return a module"):
        ModelMeter(lambda: wrong(3), INPUTS)


def test_weights_that_the_model_lacks_are_told() -> None:
    sizes = itertools.count(2)

    def make():
        return nn.Sequential(Choice("a", {"x": nn.Identity()}), nn.Linear(2, next(sizes)))

    model = make()
    with pytest.raises(ConfigError, match=r"1\.weight, 1\.bias"):
        extract_network(model, make, Places.of(model).search_space, [0])


def test_elastic_normalisation_averages_exactly_without_momentum() -> None:
    width = WidthChoice("width", [2, 4])
    norm, plain = ElasticBatchNorm2d(width, momentum=None), nn.BatchNorm2d(2, momentum=None)
    for seed in range(3):
        batch = images(seed)[:, :2]
        norm.train()(batch)
        plain.train()(batch)
    torch.testing.assert_close(present(norm.running_mean)[:2], plain.running_mean)
    torch.testing.assert_close(norm.alone().running_var, plain.running_var)
