from typing import Any

import numpy as np
import pytest
from ray import tune

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import ConfigSpace
from multinas_ray.tune.domains import config_space

DOMAINS = [
    (lambda: tune.choice(["a", None, 3]), ["a", None, 3]),
    (lambda: tune.randint(2, 6), [2, 3, 4, 5]),
    (lambda: tune.randint(-3, 0), [-3, -2, -1]),
    (lambda: tune.lograndint(1, 5), [1, 2, 3, 4]),
    (lambda: tune.qrandint(2, 11, 3), [3, 6, 9]),
    (lambda: tune.qrandint(3, 12, 3), [3, 6, 9, 12]),
    (lambda: tune.qrandint(1, 4, 1), [1, 2, 3]),
    (lambda: tune.qlograndint(4, 16, 4), [4, 8, 12, 16]),
    (lambda: tune.quniform(0.1, 0.5, 0.1), [0.1, 0.2, 0.30000000000000004, 0.4, 0.5]),
    (lambda: tune.quniform(-1, 1, 0.5), [-1.0, -0.5, 0.0, 0.5, 1.0]),
    (lambda: tune.qloguniform(0.02, 0.08, 0.02), [0.02, 0.04, 0.06, 0.08]),
]


@pytest.mark.parametrize(("domain", "values"), DOMAINS)
def test_the_choices_are_what_ray_would_sample(domain, values):
    (variable,) = config_space({"x": domain()}).search_space.variables
    assert list(variable.choices) == values
    drawn = domain().sample(size=2000, random_state=np.random.default_rng(0))
    assert set(drawn) == set(variable.choices)


REFUSED = [
    (lambda: tune.uniform(0, 1), "x/y must have a list of values, it is continuous between 0 and 1: .*tune.quniform"),
    (lambda: tune.loguniform(1e-4, 1), "x/y must have a list of values, it is continuous .*tune.qloguniform"),
    (lambda: tune.randn(0, 1), "x/y must have a list of values, it is continuous"),
    (lambda: tune.qrandn(0, 1, 0.1), "x/y must have bounds"),
    (lambda: tune.grid_search([1, 2]), "x/y must be a domain .*not a grid_search.*tune.choice"),
    (lambda: {"eval": "spec.config.x"}, "x/y must be a domain .*not a grid_search, a sample_from"),
    (lambda: tune.sample_from(lambda _: 1), "x/y must be a domain .*not a grid_search, a sample_from"),
    (lambda: tune.choice([1, tune.uniform(0, 1)]), "x/y must not have a domain inside a choice: .*a key of its own"),
    (lambda: tune.choice([1, {"z": tune.randint(0, 3)}]), "x/y must not have a domain inside a choice"),
    (lambda: tune.randint(0, 65), "x/y must have at most 64 values, it has 65"),
    (lambda: tune.choice(list(range(65))), "x/y must have at most 64 values, it has 65"),
    (lambda: tune.quniform(0, 1, 0.01), "x/y must have at most 64 values, it has 101"),
    (lambda: tune.qrandint(4, 5, 3), "x/y has no value between its bounds"),
    (lambda: tune.choice([]), "x/y has no value"),
    (lambda: tune.choice([1, 1]), "choices of a variable must differ"),
]


@pytest.mark.parametrize(("domain", "problem"), REFUSED)
def test_what_cannot_be_searched_is_refused_by_name(domain, problem):
    with pytest.raises(ConfigError, match=problem):
        config_space({"x": {"y": domain()}})


def test_64_values_are_allowed():
    assert config_space({"x": tune.randint(0, 64)}).search_space.num_categories == (64,)


@pytest.mark.parametrize("space", [{}, {"a": 1, "b": {"c": [2]}}])
def test_a_space_without_domains_is_refused(space):
    with pytest.raises(ConfigError, match="a domain to search"):
        config_space(space)


NESTED = {
    "lr": tune.quniform(0.1, 0.3, 0.1),
    "net": {"layers": [{"width": tune.choice([8, 16])}, {"width": tune.choice([8, 16, 32])}], "act": "relu"},
    "pair": (tune.randint(0, 2), "fixed"),
    "shape": (3, 32),
}


def test_a_nested_space_is_decoded_with_its_constants():
    space = config_space(NESTED)
    assert [variable.name for variable in space.search_space.variables] == [
        "lr",
        "net/layers/0/width",
        "net/layers/1/width",
        "pair/0",
    ]
    config = space.decode((1, 0, 2, 1))
    assert config == {
        "lr": 0.2,
        "net": {"layers": [{"width": 8}, {"width": 32}], "act": "relu"},
        "pair": (1, "fixed"),
        "shape": (3, 32),
    }
    config["net"]["layers"].append("mine")
    assert len(space.decode((0, 0, 0, 0))["net"]["layers"]) == 2


def test_a_point_is_encoded_nested_or_flat_and_with_rounded_floats():
    space = config_space(NESTED)
    assert space.encode(space.decode((2, 1, 0, 1))) == (2, 1, 0, 1)
    flat = {"lr": 0.3, "net/layers/0/width": 8, "net/layers/1/width": 32, "pair/0": 1}
    assert space.encode(flat) == (2, 0, 2, 1)


@pytest.mark.parametrize(
    ("point", "problem"),
    [
        ({"lr": 0.1}, "'net/layers/0/width' is missing"),
        ({"lr": 0.15}, "0.15 is not a choice of the variable 'lr'"),
        ({"lr": 0.1, "speed": 1}, r"\['speed'\] are unknown"),
    ],
)
def test_a_point_that_does_not_fit_is_refused(point, problem):
    with pytest.raises(ConfigError, match=problem):
        config_space(NESTED).encode(point)


def test_two_paths_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="a/b"):
        config_space({"a/b": tune.choice([1, 2]), "a": {"b": tune.choice([1, 2])}})


def test_a_space_comes_back_from_plain_data():
    keyed: dict[Any, Any] = {7: tune.choice([(1, 2), [3], {"k": None}, True])}
    space = config_space({**NESTED, **keyed})
    again = ConfigSpace.from_plain(space.to_plain())
    assert again.is_whole
    architecture = (1, 1, 2, 0, 0)
    assert again.decode(architecture) == space.decode(architecture)
    assert again.paths == space.paths
    assert again.search_space == space.search_space


@pytest.mark.parametrize(
    ("part", "damaged"),
    [("template", {}), ("template", []), ("template", {"dict": [1]}), ("variables", [[]]), ("variables", None)],
)
def test_a_damaged_description_is_one_error(part: str, damaged: Any):
    plain = {**config_space(NESTED).to_plain(), part: damaged}
    with pytest.raises(StateError, match=r"the recorded space is damaged .*restore a copy of config.json"):
        ConfigSpace.from_plain(plain)


def test_what_is_no_plain_data_comes_back_as_its_text():
    space = config_space({"x": tune.choice([1, 2]), "net": np.float64})
    again = ConfigSpace.from_plain(space.to_plain())
    assert space.is_whole
    assert not again.is_whole
    assert repr(again.decode((0,))["net"]) == "<class 'numpy.float64'>"
