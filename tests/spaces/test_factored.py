import itertools

import numpy as np
import pytest

from multinas_ray.errors import ConfigError
from multinas_ray.spaces import AdditiveCost, FactoredCost, cost_from_dict, sum_of_terms

COUNTS = (2, 3, 2)


def random_terms(seed: int = 0) -> list[tuple[tuple[int, ...], np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        ((0, 1), rng.random((2, 3))),
        ((1, 2), rng.random((3, 2))),
        ((0, 1), rng.random((2, 3))),
        ((2,), rng.random(2)),
    ]


def rows() -> np.ndarray:
    return np.array(list(itertools.product(*map(range, COUNTS))))


def by_definition(row: np.ndarray) -> float:
    return 5.0 + sum(float(table[tuple(row[d] for d in variables)]) for variables, table in random_terms())


def test_the_cost_is_the_sum_of_its_terms_and_comes_back() -> None:
    cost = sum_of_terms("mine", random_terms(), COUNTS, 5.0)
    assert isinstance(cost, FactoredCost)
    expected = [by_definition(row) for row in rows()]
    np.testing.assert_allclose(cost(rows()), expected)
    assert set(cost.terms) == {(0, 1), (1, 2), (2,)}
    np.testing.assert_allclose(cost_from_dict(cost.to_dict())(rows()), expected)
    assert cost.minimum == pytest.approx(min(expected))
    assert cost.maximum == pytest.approx(max(expected))


def test_the_expectation_is_exact() -> None:
    cost = sum_of_terms("mine", random_terms(), COUNTS, 5.0)
    rng = np.random.default_rng(1)
    probs_KDC = np.zeros((4, 3, 3))
    for d, count in enumerate(COUNTS):
        probs_KDC[:, d, :count] = rng.dirichlet(np.ones(count), 4)
    for probs_DC, found in zip(probs_KDC, cost.expectation(probs_KDC), strict=True):
        weights_N = np.prod(probs_DC[np.arange(3), rows()], axis=1)
        assert found == pytest.approx(weights_N @ cost(rows()))


def test_variables_that_make_no_difference_leave_and_sums_over_choices_are_such() -> None:
    table = np.repeat(np.array([[1.0, 3.0, 2.0]]), 2, axis=0)
    cost = sum_of_terms("mine", [((0, 1), table), ((2,), np.array([4.0, 1.0])), ((0,), np.full(2, 7.0))], COUNTS, 1.0)
    assert isinstance(cost, AdditiveCost)
    assert cost.base == 1 + 7 + 1 + 1
    np.testing.assert_allclose(cost.table, [[0, 0, 0], [0, 2, 1], [3, 0, 0]])


@pytest.mark.parametrize(
    "terms",
    [{(0, 1): np.zeros((3, 2))}, {(1, 0): np.zeros((3, 2))}, {(3,): np.zeros(2)}, {(0, 0): np.zeros((2, 2))}],
)
def test_terms_that_do_not_fit_are_refused(terms) -> None:
    with pytest.raises(ConfigError, match="a term of cost 'mine'"):
        FactoredCost(name="mine", terms=terms, num_categories=COUNTS)


def test_a_term_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be finite"):
        FactoredCost(name="mine", terms={(0,): np.array([0.0, np.inf])}, num_categories=COUNTS)
