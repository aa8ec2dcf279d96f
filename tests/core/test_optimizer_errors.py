"""What a caller can get wrong, and what the package's import loads."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import multinas_ray
from multinas_ray import ConfigError, MultiDistributionOptimizer, Proposals

GOOD: dict[str, Any] = {"num_categories": [3, 2], "coefficients": [0.0, 0.5], "seed": 35}
NAN = float("nan")
INF = float("inf")

CONSTRUCTOR = [
    ("num_categories", [], r"num_categories must have at least 1 items, got \(\)"),
    ("num_categories", [3, 0], r"num_categories\[1\] must be at least 1, got 0"),
    ("num_categories", [-2, 3], r"num_categories\[0\] must be at least 1, got -2"),
    ("num_categories", [3, 2.5], r"num_categories\[1\] must be a whole number, got 2\.5"),
    ("num_categories", [True, 2], r"num_categories\[0\] must be a whole number, got True"),
    ("num_categories", 3, "num_categories must be a list, got 3"),
    ("coefficients", 0.5, r"coefficients must be a list or None, got 0\.5"),
    ("coefficients", [], r"coefficients must have at least 1 items or None, got \(\)"),
    ("coefficients", [-0.1, 0.5], r"coefficients\[0\] must be at least 0, got -0\.1"),
    ("coefficients", [0.0, NAN], r"coefficients\[1\] must be finite, got nan"),
    ("coefficients", [0.0, INF], r"coefficients\[1\] must be finite, got inf"),
    (
        "coefficients",
        [0.5, 0.5],
        r"coefficients must be strictly increasing, got 0\.5 then 0\.5 at 1; sort them",
    ),
    ("coefficients", [0.0, 0.9, 0.5], r"coefficients must be strictly increasing, got 0\.9 then 0\.5 at 2"),
    ("coefficients", ["a", 1.0], r"coefficients\[0\] must be a number, got 'a'"),
    ("samples_per_update", 5, "positive multiple of the number of distributions, 2, got 5; use 6"),
    ("samples_per_update", 0, "positive multiple of the number of distributions, 2, got 0; use 2"),
    ("samples_per_update", -4, "positive multiple of the number of distributions, 2, got -4; use 2"),
    ("samples_per_update", 4.0, r"samples_per_update must be a whole number or None, got 4\.0"),
    ("memory", -1, "memory must be at least 0, got -1"),
    ("memory", 1.5, r"memory must be a whole number, got 1\.5"),
    ("delta_init", 0.0, r"delta_init must be positive, got 0\.0"),
    ("alpha", INF, "alpha must be finite, got inf"),
    ("margin_scale", -1.0, r"margin_scale must be positive, got -1\.0"),
    ("delta_max", 0.5, r"delta_max must be at least 1 or None, got 0\.5"),
    ("delta_max", NAN, "delta_max must be finite or None, got nan"),
    ("num_distributions", 3, "num_distributions must be the number of coefficients or targets, 2, got 3; leave it out"),
    ("alfa", 1.0, "alfa is unknown; is alpha meant?"),
    ("base_cost", NAN, "base_cost must be finite, got nan"),
    ("base_cost", "a", "base_cost must be a number, got 'a'"),
    (
        "cost_table",
        [[1.0, 2.0], [1.0, 2.0]],
        r"cost_table must have shape \(D, C\) = \(2, 3\), .* got \(2, 2\)",
    ),
    ("cost_table", [[1.0, 2.0, 3.0]], r"cost_table must have shape .* got \(1, 3\)"),
    ("cost_table", [[1.0, 2.0, 3.0], [1.0, 2.0]], "cost_table must be numbers in rows of equal length; pad"),
    ("cost_table", [[1.0, 2.0, 3.0], [NAN, 2.0, NAN]], r"cost_table\[1, 0\] must be finite, got nan"),
    ("seed", -1, "seed must be a whole number from 0, or a sequence of them, got -1"),
    ("seed", [], "seed must be a whole number from 0, or a sequence of them"),
    ("seed", [1, -1], "seed must be a whole number from 0"),
    ("seed", 1.5, r"seed must be a whole number, got 1\.5"),
    ("seed", "abc", "seed must be a whole number"),
]


@pytest.mark.parametrize(("name", "value", "message"), CONSTRUCTOR)
def test_constructor_names_the_rule_and_the_value(name, value, message):
    with pytest.raises(ConfigError, match=message):
        MultiDistributionOptimizer(**{**GOOD, name: value})


def test_arrays_and_numpy_numbers_are_welcome():
    given: dict[str, Any] = {
        "num_categories": np.array([3, 2]),
        "coefficients": np.array([0, 1]),
        "samples_per_update": np.int64(4),
        "seed": np.int32(0),
        "cost_table": np.arange(10).reshape(2, 5),
        "base_cost": np.float32(1.0),
    }
    optimizer = MultiDistributionOptimizer(**given)
    assert (optimizer.num_distributions, optimizer.samples_per_update) == (2, 4)
    assert MultiDistributionOptimizer(**GOOD).samples_per_update == 4, "the default is 2 K"


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "2"])
def test_ask_and_sample_want_a_positive_number(n):
    optimizer = MultiDistributionOptimizer(**GOOD)
    with pytest.raises(ConfigError, match="n must be a whole number of samples from 1"):
        optimizer.ask(n)
    with pytest.raises(ConfigError, match="n must be a whole number of samples from 1"):
        optimizer.sample(n)


def proposals_with(**columns):
    good = {
        "architectures": [[0, 1], [2, 0]],
        "log_q": [-1.0, -1.5],
        "sources": [0, 1],
        "ids": [0, 1],
        "drawn_at": [0, 0],
    }
    return Proposals(**{**good, **columns})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"architectures": [0, 1]}, r"architectures must have shape \(N, D\), got \(2,\)"),
        ({"architectures": [[0, 1], [2]]}, "architectures must be an array of numbers, rows of equal length"),
        ({"architectures": [[0.5, 1], [2, 0]]}, "architectures must be whole numbers, got dtype float64"),
        ({"ids": [0]}, r"ids must have shape \(2,\), one per row, got \(1,\)"),
        ({"ids": [0, -1]}, "ids must be from 0 .* got -1"),
        ({"ids": [0.0, 1.0]}, "ids must be whole numbers, got dtype float64"),
        ({"sources": ["a", "b"]}, "sources must be whole numbers"),
        ({"drawn_at": [[0, 0]]}, r"drawn_at must have shape \(2,\)"),
        ({"log_q": [NAN, -1.0]}, "log_q must be finite and at most 0"),
        ({"log_q": [0.5, -1.0]}, "log_q must be finite and at most 0"),
        ({"log_q": [-1.0]}, r"log_q must have shape \(2,\)"),
        ({"log_q": ["a", "b"]}, "log_q must be real numbers"),
    ],
)
def test_proposals_check_their_columns(columns, message):
    with pytest.raises(ConfigError, match=message):
        proposals_with(**columns)


def test_concatenate_wants_parts_that_fit():
    with pytest.raises(ConfigError, match="at least one part, got none"):
        Proposals.concatenate([])
    with pytest.raises(ConfigError, match="same number of variables"):
        Proposals.concatenate([proposals_with(), proposals_with(architectures=[[0], [1]])])


@pytest.mark.parametrize(
    ("columns", "losses", "complexities", "message"),
    [
        ({"architectures": [[0, 1], [3, 0]]}, [1, 2], [1, 1],
         r"architectures\[1, 0\] must be a category from 0 to 2, got 3"),
        ({"architectures": [[0, -1], [2, 0]]}, [1, 2], [1, 1],
         r"architectures\[0, 1\] must be a category from 0 to 1, got -1"),
        ({"architectures": [[0], [1]]}, [1, 2], [1, 1], "architectures must have 2 variables, got 1"),
        ({}, [1.0], [1, 1], r"losses must have shape \(2,\), one per row, got \(1,\)"),
        ({}, [[1.0, 2.0]], [1, 1], r"losses must have shape \(2,\), one per row, got \(1, 2\)"),
        ({}, [1, 2], 1.0, r"complexities must have shape \(2,\), one per row, got \(\)"),
        ({}, ["a", "b"], [1, 1], "losses must be real numbers"),
        ({}, [1, None], [1, 1], "losses must be real numbers, got dtype object"),
        ({}, [1, 2], [1, NAN], "complexity of id 1 must be finite, at least 0 and at most 1e.100, got nan; give a"),
        ({}, [1, 2], [INF, 1], "complexity of id 0 must be finite, at least 0 and at most 1e.100, got inf"),
        ({}, [1, 2], [1, -0.5], r"complexity of id 1 must be finite, at least 0 and at most 1e.100, got -0\.5"),
    ],
)  # fmt: skip
def test_tell_refuses_what_does_not_fit_and_takes_nothing_in(columns, losses, complexities, message):
    optimizer = MultiDistributionOptimizer(**GOOD)
    with pytest.raises(ConfigError, match=message):
        optimizer.tell(proposals_with(**columns), losses, complexities)
    assert (optimizer.num_told, optimizer.num_ignored) == (0, 0)
    assert optimizer.tell(proposals_with(), [1, 2], [1, 1]) == 0
    assert optimizer.num_told == 2


@pytest.mark.parametrize("ids", [[-1], [0.5], "a", [[1]]])
def test_forget_wants_ids(ids):
    with pytest.raises(ConfigError, match="ids to forget must be whole numbers from 0"):
        MultiDistributionOptimizer(**GOOD).forget(ids)


@pytest.mark.parametrize("first_id", [-1, 1.0, None])
def test_restart_wants_an_id(first_id):
    with pytest.raises(ConfigError, match="first_id must be a whole number from 0"):
        MultiDistributionOptimizer(**GOOD).restart(first_id=first_id, seed=0)


def test_a_bad_restart_changes_nothing():
    optimizer = MultiDistributionOptimizer(**GOOD)
    optimizer.ask(3)
    with pytest.raises(ConfigError, match="seed"):
        optimizer.restart(first_id=10, seed=-1)
    np.testing.assert_array_equal(optimizer.pending().ids, [0, 1, 2])
    assert optimizer.ask(1).ids[0] == 3


def test_import_loads_neither_ray_nor_torch():
    code = "import sys, multinas_ray; print(sorted({'ray', 'torch', 'pandas', 'pyarrow'} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert printed.stdout.strip() == "[]"


def test_public_names_are_there():
    assert set(multinas_ray.__all__) <= set(dir(multinas_ray))
    assert {"MultiDistributionOptimizer", "Proposals", "ConfigError", "StateError"} <= set(multinas_ray.__all__)
