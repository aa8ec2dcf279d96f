import itertools
import json
import re
from typing import Any

import numpy as np
import pytest

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.spaces import AdditiveCost, Cost, MaximumCost, cost_from_dict, descend
from tests.support.uneven_cost import Unevenness

ROWS = [[4.0, 1.0, 2.0], [10.0, 30.0], [7.0]]
COST = AdditiveCost.from_rows("ms", ROWS, base=100.0, unit="ms")
ALL = np.array(list(itertools.product(range(3), range(2), range(1))))
EXPECTED = np.array([100.0 + ROWS[0][a] + ROWS[1][b] + ROWS[2][c] for a, b, c in ALL])


def test_costs_of_the_whole_space() -> None:
    costs = COST(ALL)
    assert costs.dtype == np.float64
    assert (costs == EXPECTED).all()
    assert COST(np.empty((0, 3), dtype=int)).shape == (0,)


def test_extremes_are_those_of_the_whole_space() -> None:
    assert COST.minimum == EXPECTED.min() == 118.0
    assert COST.maximum == EXPECTED.max() == 141.0
    assert COST.argmin().tolist() == [1, 0, 0]
    assert COST.argmax().tolist() == [0, 1, 0]


def test_padding_never_counts_even_where_all_costs_have_one_sign() -> None:
    negative = AdditiveCost.from_rows("gain", [[-3.0, -2.0], [-5.0]])
    assert negative.maximum == -7.0
    padded = AdditiveCost("x", np.array([[1.0, 2.0], [3.0, 99.0]]), (2, 1))
    assert padded.table.tolist() == [[1.0, 2.0], [3.0, 0.0]]
    assert padded.maximum == 5.0


def test_expectation_equals_the_sum_over_the_space() -> None:
    rng = np.random.default_rng(0)
    probs_KDC = np.zeros((4, 3, 3))
    for k, (d, row) in itertools.product(range(4), enumerate(ROWS)):
        probs_KDC[k, d, : len(row)] = rng.dirichlet(np.ones(len(row)))
    density_KN = probs_KDC[:, np.arange(3), ALL].prod(axis=2)
    np.testing.assert_allclose(COST.expectation(probs_KDC), density_KN @ EXPECTED, rtol=1e-14)


def test_the_table_is_a_copy_that_cannot_change() -> None:
    table = np.ones((1, 2))
    cost = AdditiveCost("x", table, (2,))
    table[0, 0] = 5.0
    assert cost([[0]]) == 1.0
    with pytest.raises(ValueError, match="read-only"):
        cost.table[0, 0] = 5.0


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: AdditiveCost("x", np.ones((2, 2)), (2,)), "(1, 2), got (2, 2)"),
        (
            lambda: AdditiveCost.from_rows("x", [[1.0, np.inf]]),
            "costs must be finite, the table of 'x' is not",
        ),
        (lambda: AdditiveCost.from_rows("x", [[1.0]], base=np.nan), "base must be finite, got nan"),
        (lambda: AdditiveCost("x", "1", (1,)), "AdditiveCost: the table of cost 'x' must have one row"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: AdditiveCost("x", [["a"]], (1,)), "the table of cost 'x' must hold numbers"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: AdditiveCost.from_rows("x", [[1, None, {}]]), "row 0 of cost 'x' must hold numbers"),  # type: ignore[list-item]  # wrong on purpose
        (lambda: COST([[0, 0]]), "the shape (N, 3), got (1, 2)"),
        (lambda: COST([[0, 2, 0]]), "must be below (3, 2, 1)"),
        (lambda: COST([[0, -1, 0]]), "an index is out of range"),
        (lambda: COST.expectation(np.ones((3, 3))), "(K, 3, 3), got (3, 3)"),
    ],
)
def test_errors_name_rule_and_value(make, text) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        make()


UNEVENNESS = Unevenness("unevenness", (3, 2, 4, 4))


def test_a_cost_of_ones_own_has_estimates_for_what_it_does_not_know() -> None:
    assert UNEVENNESS.additive is None
    assert UNEVENNESS([UNEVENNESS.argmin()]) == 0.0
    sure_KDC = np.zeros((2, 4, 4))
    sure_KDC[0, :, 0] = sure_KDC[1, [0, 1, 2, 3], [2, 1, 3, 0]] = 1.0
    np.testing.assert_array_equal(UNEVENNESS.expectation(sure_KDC), [0.0, 3.0])
    even_KDC = np.array([[[1 / count] * count + [0.0] * (4 - count) for count in UNEVENNESS.num_categories]])
    every = np.array(list(itertools.product(*map(range, UNEVENNESS.num_categories))))
    costs = UNEVENNESS(every)
    assert UNEVENNESS.expectation(even_KDC)[0] == pytest.approx(costs.mean(), abs=4 * costs.std() / 1000**0.5)
    with pytest.raises(ConfigError, match=r"must have the shape \(K, 4, 4\), got \(4, 4\)"):
        UNEVENNESS.expectation(even_KDC[0])
    with pytest.raises(ConfigError, match="an index is out of range"):
        UNEVENNESS([[3, 0, 0, 0]])


WORST = MaximumCost.from_rows("memory", [[4.0, 1.0, 2.0], [1.0, 3.0], [2.0]], base=1.5, unit="bytes")


def test_a_maximum_is_the_worst_choices_cost() -> None:
    expected = np.array([max(1.5, WORST.table[0, a], WORST.table[1, b], WORST.table[2, c]) for a, b, c in ALL])
    np.testing.assert_array_equal(WORST(ALL), expected)
    assert (WORST.minimum, WORST.maximum) == (2.0, 4.0) == (expected.min(), expected.max())
    assert WORST.additive is None
    assert WORST([WORST.argmin(), WORST.argmax()]).tolist() == [2.0, 4.0]


def test_a_maximums_expectation_equals_the_sum_over_the_space() -> None:
    rng = np.random.default_rng(1)
    for base in (-1.0, 1.5, 9.0):
        cost = MaximumCost.from_rows("m", rng.normal(size=(3, 2)).tolist(), base=base)
        every = np.array(list(itertools.product(range(2), repeat=3)))
        probs_KDC = rng.dirichlet(np.ones(2), (5, 3))
        density_KN = probs_KDC[:, np.arange(3), every].prod(axis=2)
        np.testing.assert_allclose(cost.expectation(probs_KDC), density_KN @ cost(every), rtol=1e-13)


@pytest.mark.parametrize("cost", [COST, UNEVENNESS, WORST])
def test_a_recorded_cost_is_read_again(cost: Cost) -> None:
    again = cost_from_dict(json.loads(json.dumps(cost.to_dict())))
    assert type(again) is type(cost)
    rows = np.random.default_rng(0).integers(0, cost.num_categories, (20, len(cost.num_categories)))
    np.testing.assert_array_equal(again(rows), cost(rows))
    assert (again.name, again.unit, again.maximum) == (cost.name, cost.unit, cost.maximum)


def test_what_describes_no_cost_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no kind of cost is registered by the name 'colour'; known are additive, "):
        cost_from_dict({"kind": "colour"})
    with pytest.raises(StateError, match="does not describe a cost"):
        cost_from_dict({"kind": "additive", "name": "latency", "table": []})
    with pytest.raises(StateError, match="does not describe a cost"):
        cost_from_dict({"kind": "unevenness", "name": "x"})
    with pytest.raises(StateError, match="a cost must be described by its kind and fields, got 'additive'"):
        cost_from_dict("additive")  # type: ignore[arg-type]  # as a damaged file may hold it


def test_descent_ends_where_no_single_change_is_lower() -> None:
    def bumpy(rows: Any) -> Any:
        return np.sin(3.0 * rows.sum(axis=1)) + np.abs(rows - 2).sum(axis=1)

    end = descend((0, 0, 3), (4, 4, 4), bumpy)
    changed = np.array([[*end[:d], c, *end[d + 1 :]] for d in range(3) for c in range(4)])
    assert bumpy(end[None])[0] == bumpy(changed).min()
    assert bumpy(end[None]) < bumpy(np.array([[0, 0, 3]]))
