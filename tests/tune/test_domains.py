from typing import Any

import numpy as np
import pytest
from ray import tune

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import Choice, ConfigSpace
from multinas_ray.tune.domains import config_space

LISTED = [
    (lambda: tune.choice(["a", None, 3]), ["a", None, 3]),
    (lambda: tune.choice([1, 2, 1, 1]), [1, 2]),
    (lambda: tune.grid_search([1, 2]), [1, 2]),
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
    (lambda: tune.uniform(3, 3), [3.0]),
]
NUMBERS = [
    lambda: tune.uniform(-3, 7),
    lambda: tune.loguniform(1e-4, 1e-1),
    lambda: tune.uniform(1 / 3, 2 / 3),
    lambda: tune.loguniform(1 / 3e4, 2 / 3),
    lambda: tune.randn(10, 2),
    lambda: tune.quniform(0, 20, 0.5),
    lambda: tune.qloguniform(0.5, 200, 0.5),
    lambda: tune.qrandn(10, 2, 0.5),
    lambda: tune.randint(-10, 90),
    lambda: tune.lograndint(3, 500),
    lambda: tune.qrandint(3, 100, 4),
    lambda: tune.qlograndint(8, 400, 8),
]


@pytest.mark.parametrize(("domain", "values"), LISTED)
def test_few_values_are_choices_with_the_probabilities_that_ray_gives_them(domain, values):
    """20,000 draws of Ray's; each share within 5 standard deviations."""
    (variable,) = config_space({"x": domain()}).variables
    assert isinstance(variable, Choice)
    assert list(variable.choices) == values
    sampled = getattr(domain(), "sample", lambda **_: [1] * 10_000 + [2] * 10_000)
    drawn = sampled(size=20_000, random_state=np.random.default_rng(0))
    weights = np.array(variable.weights or [1.0] * len(values))
    for value, share in zip(values, weights / weights.sum(), strict=True):
        found = sum(each == value for each in drawn)
        assert abs(found - 20_000 * share) <= 5 * np.sqrt(20_000 * share * (1 - share))


@pytest.mark.parametrize("domain", NUMBERS)
def test_numbers_are_drawn_as_ray_draws_them_and_come_back(domain):
    """The steps, all equally likely, and 20,000 draws of Ray's: Kolmogorov-Smirnov at level 0.001, seed 0."""
    space = config_space({"x": domain()})
    (number,) = space.variables
    places = space.random(20_000, np.random.default_rng(0))[:, 0].tolist()
    ours = np.sort([number.value(place) for place in places])
    rays = np.sort(domain().sample(size=20_000, random_state=np.random.default_rng(1)))
    grid = np.union1d(ours, rays)
    distance = np.abs(ours.searchsorted(grid, side="right") - rays.searchsorted(grid, side="right")).max() / 20_000
    assert distance < 1.95 * np.sqrt(2 / 20_000)
    assert type(number.value(places[0])) is type(domain().sample())
    for place in places[:200]:
        again = number.place(number.value(place))
        assert number.value(again) == number.value(place)
        assert space.key((again,)) == space.key((place,))
    first, last = number.value(0), number.value(number.num_values - 1)
    assert domain().is_valid(first)
    assert domain().is_valid(last)


@pytest.mark.parametrize(("domain", "given"), [(tune.uniform(0, 1), 0.1), (tune.loguniform(1e-6, 1), 3e-4)])
def test_a_number_that_a_user_gives_comes_back_as_it_is(domain, given):
    space = config_space({"x": domain})
    assert space.decode(space.encode({"x": given})) == {"x": given}


@pytest.mark.parametrize(
    ("domain", "given", "problem"),
    [
        (tune.uniform(0, 1), 1.5, "1.5 is not a value of the variable 'x': use a number from 0.0 to 1.0"),
        (tune.uniform(0, 1), "a", "'a' is no number for the variable 'x'"),
        (tune.randint(0, 90), 90, "90 is not a value .* use a whole number from 0 to 89"),
        (tune.randint(0, 90), 3.5, "3.5 is not a value"),
        (tune.lograndint(3, 90), 2, "2 is not a value"),
        (tune.quniform(0, 20, 0.5), 0.7, "0.7 is not a value .* that is a multiple of 0.5"),
        (tune.loguniform(1e-3, 1), -1, "-1 is not a value"),
    ],
)
def test_a_number_that_is_none_of_the_range_is_refused(domain, given, problem):
    with pytest.raises(ConfigError, match=problem):
        config_space({"x": domain}).encode({"x": given})


REFUSED = [
    (lambda: {"eval": "spec.config.x"}, "x/y must be a domain that Tune documents.*tune.choice.*tune.sample_from"),
    (lambda: tune.qrandint(4, 5, 3), "x/y has no value between its bounds"),
    (
        lambda: tune.randint(0, 2**60),
        "x/y must have at most 2\\*\\*52 values, got 1152921504606846976: narrow it",
    ),
    (lambda: tune.randint(5, 5), "x/y has no value between its bounds"),
    (lambda: tune.uniform(1, 0), "x/y must have a lower bound below its upper one"),
    (lambda: tune.choice([]), "x/y must be a list of at least one value"),
    (lambda: tune.grid_search([]), "x/y must be a list of at least one value"),
    (lambda: tune.choice([1, True]), "choices of a variable must differ"),
]


@pytest.mark.parametrize(("domain", "problem"), REFUSED)
def test_what_cannot_be_searched_is_refused_by_name(domain, problem):
    with pytest.raises(ConfigError, match=problem):
        config_space({"x": {"y": domain()}})


CONDITIONAL = {
    "opt": tune.choice(
        [
            {"name": "sgd", "momentum": tune.uniform(0, 1), "nesterov": tune.choice([True, False])},
            {"name": "adam", "betas": (tune.uniform(0.8, 1), 0.999)},
            {"name": "none"},
        ]
    ),
    "head": tune.grid_search([tune.randint(10, 50), "linear", [tune.choice([1, 2]), 3]]),
    "decay": tune.sample_from(lambda config: config["late"] + 1),
    "late": tune.sample_from(lambda config: np.int64(config["opt"]["name"] == "sgd")),
}


def test_conditional_spaces_to_any_depth(caplog):
    space = config_space(CONDITIONAL)
    names = ["opt", "opt[0]/momentum", "opt[0]/nesterov", "opt[1]/betas/0", "head", "head[0]", "head[2]/0"]
    assert [variable.name for variable in space.variables] == names
    assert space.conditions == (None, (0, 0), (0, 0), (0, 1), None, (4, 0), (4, 2))
    assert "grid_search is searched like a choice: head" in caplog.text
    assert "sample_from is drawn for each trial and not searched: decay, late" in caplog.text
    again = ConfigSpace.from_plain(space.to_plain())
    assert not again.is_whole, "functions are not on record"
    for architecture in space.random(300, np.random.default_rng(0)).tolist():
        config = space.decode(architecture)
        assert again.decode(architecture) == config
        assert space.key(space.encode(config)) == space.key(architecture)
        drawn = space.draw(architecture)
        is_sgd = config["opt"]["name"] == "sgd"
        assert drawn == {"late": is_sgd, "decay": is_sgd + 1}
        assert space.decode(architecture, drawn) == {**config, **drawn}
        assert set(config["opt"]) == {"sgd": {"name", "momentum", "nesterov"}, "adam": {"name", "betas"}}.get(
            config["opt"]["name"], {"name"}
        )
        assert ("- " in space.describe(architecture)) or space.describe(architecture).endswith("-")


def test_a_flat_result_names_its_part_of_a_choice():
    space = config_space({"opt": CONDITIONAL["opt"], "depth": tune.choice([1, 2])})
    flat = {"opt/name": "sgd", "opt/momentum": 0.25, "opt/nesterov": False, "depth": 2, "time": 3.0}
    assert space.decode(space.encode_flat(flat)) == {
        "opt": {"name": "sgd", "momentum": 0.25, "nesterov": False},
        "depth": 2,
    }
    assert space.decode(space.encode_flat({"opt/name": "none", "depth": 1}))["opt"] == {"name": "none"}
    adam = space.decode(space.encode_flat({"opt/name": "adam", "opt/betas": [0.9, 0.999], "depth": 1}))["opt"]
    assert adam == {"name": "adam", "betas": (0.9, 0.999)}
    with pytest.raises(ConfigError, match="the value of 'opt' must be one of its 3 choices, it fits none"):
        space.encode_flat({"opt/name": "lion", "depth": 1})


def test_a_function_that_always_raises_is_named():
    space = config_space({"x": tune.choice([1, 2]), "y": tune.sample_from(lambda config: config["z"])})
    with pytest.raises(ConfigError, match="y must be drawn by its sample_from, which raised"):
        space.draw((0,))


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
    assert [variable.name for variable in space.variables] == [
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
    assert again.variables == space.variables


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
