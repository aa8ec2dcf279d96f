import itertools
import math

import numpy as np
import pytest
from ray import tune

from multinas_ray.core import CategoryLayout
from multinas_ray.errors import ConfigError
from multinas_ray.tune.complexity import Complexities, probe
from multinas_ray.tune.domains import config_space
from multinas_ray.tune.unseen import most_probable

SPACE = config_space({"a": tune.choice([1, 2, 3]), "b": tune.choice([10, 20]), "c": tune.choice([5, 0])})
BIG = config_space({f"v{d}": tune.randint(0, 7) for d in range(8)})


def find(function, space=SPACE):
    return probe(function, space, np.random.default_rng(0))


def test_a_sum_over_the_choices_is_found_exactly():
    found = find(lambda config: 7 + config["a"] ** 2 + config["b"] - config["c"])
    assert found.scale == 7 + 9 + 20
    assert found.cost.base + found.cost.table[0, 1] - found.cost.table[0, 0] == 7 + 1 + 10 - 5 + 3
    for architecture in itertools.product(range(3), range(2), range(2)):
        config = SPACE.decode(architecture)
        assert found.cost([architecture])[0] == 7 + config["a"] ** 2 + config["b"] - config["c"]


def test_a_product_is_no_sum_and_a_small_space_is_looked_through():
    found = find(lambda config: config["a"] * config["b"])
    assert found.cost is None
    assert found.scale == 60


def test_a_slight_interaction_is_found():
    found = find(lambda config: 1e6 + config["a"] + (0.01 if config["a"] == 3 and config["c"] == 5 else 0))
    assert found.cost is None


def test_a_big_space_that_is_no_sum_has_no_scale_beforehand():
    found = find(lambda config: math.prod(1 + value for value in config.values()), BIG)
    assert found.cost is None
    assert found.scale is None


def test_a_key_and_a_complexity_of_zero():
    assert find("params").scale is None
    assert find(lambda config: 0).scale == 1.0


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda config: config["missing"], "it raised KeyError"),
        (lambda config: -1, "finite number of at least 0, got -1"),
        (lambda config: float("nan"), "finite number of at least 0, got nan"),
        (lambda config: "many", "it raised ValueError"),
    ],
)
def test_a_bad_function_is_refused_at_the_start(function, problem):
    with pytest.raises(ConfigError, match=problem):
        find(function)


@pytest.mark.parametrize(
    ("complexity", "recorded", "columns"),
    [
        ("params", (), ["params"]),
        ("Eval/Latency ms", ["params"], ["eval_latency_ms", "params"]),
        ("loss", ["9lives"], ["raw_loss", "raw_9lives"]),
        (len, {"depth": len, "flops": "FLOPs"}, ["raw_complexity", "depth", "flops"]),
    ],
)
def test_columns_of_the_record(complexity, recorded, columns):
    assert list(Complexities.of(complexity, recorded).measures) == columns


@pytest.mark.parametrize(
    ("complexity", "recorded", "problem"),
    [
        (3, (), "a key of the result or a function"),
        ("a b", ["a_b"], "two have a_b"),
        ("a", "b", "sequence of keys or a dict"),
        ("", (), "a key of the result or a function"),
    ],
)
def test_bad_complexities_are_refused(complexity, recorded, problem):
    with pytest.raises(ConfigError, match=problem):
        Complexities.of(complexity, recorded)


def test_unseen_architectures_come_by_falling_probability_and_each_once():
    counts = (3, 1, 4, 2)
    rng = np.random.default_rng(4)
    probs = np.zeros((4, 4))
    for d, count in enumerate(counts):
        probs[d, :count] = rng.dirichlet(np.ones(count))
    seen: list[tuple[int, ...]] = []
    looked_at: list[tuple[int, ...]] = []

    def is_seen(architecture):
        looked_at.append(architecture)
        return architecture in seen

    while (found := most_probable(probs, CategoryLayout.from_num_categories(counts), is_seen)) is not None:
        assert len(looked_at) == len(seen) + 1
        seen.append(found)
        looked_at.clear()
    values = [math.prod(probs[d, c] for d, c in enumerate(architecture)) for architecture in seen]
    assert sorted(seen) == list(itertools.product(*map(range, counts)))
    assert all(high >= low - 1e-15 for high, low in itertools.pairwise(values))


CONDITIONAL = CategoryLayout.of((2, 3, 2, 4, 2), None, (None, (0, 1), None, (1, 2), (0, 0)))


@pytest.mark.parametrize("seed", range(3))
def test_the_most_probable_unseen_of_a_conditional_space_counts_only_what_is_active(seed):
    """By enumeration. Each architecture is looked at once, though inactive variables multiply the plain product."""
    counts = CONDITIONAL.num_categories
    probs = np.where(CONDITIONAL.valid_DC, np.random.default_rng(seed).random((len(counts), 4)) + 0.01, 0.0)
    probs /= probs.sum(axis=1, keepdims=True)
    rows = itertools.product(*(range(-1, count) for count in counts))
    space = [row for row in rows if not CONDITIONAL.outside(np.array([row])).any()]
    seen: list[tuple[int, ...]] = []
    num_looks = 0

    def is_seen(architecture):
        nonlocal num_looks
        num_looks += 1
        return architecture in seen

    while (found := most_probable(probs, CONDITIONAL, is_seen)) is not None:
        assert num_looks == len(seen) + 1
        seen.append(found)
        num_looks = 0
    assert num_looks == len(seen)
    assert sorted(seen) == sorted(space)
    values = [math.prod(probs[d, c] for d, c in enumerate(row) if c >= 0) for row in seen]
    assert all(high >= low - 1e-15 for high, low in itertools.pairwise(values))
