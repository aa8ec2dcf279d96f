import itertools

import numpy as np
import pytest

from experiments.parts.tables import Table
from experiments.tabular.measures import Measures, Trace, best_subset_hypervolume, first_at


def brute_hypervolume(points: np.ndarray, reference: np.ndarray) -> float:
    """Area of the union of boxes, on the grid that the points' coordinates make."""
    xs, ys = (np.unique(np.append(np.minimum(points[:, d], reference[d]), reference[d])) for d in (0, 1))
    total = 0.0
    for x0, x1 in itertools.pairwise(xs):
        for y0, y1 in itertools.pairwise(ys):
            total += (x1 - x0) * (y1 - y0) * bool(((points <= [x0, y0]).all(axis=1)).any())
    return total


def test_archive_share_is_the_area_of_the_boxes_of_all_evaluated_so_far(table: Table) -> None:
    measures, rows = Measures(table), np.random.default_rng(1).permutation(len(table))
    whole = brute_hypervolume(table.points, table.reference)
    wanted = [brute_hypervolume(table.points[rows[: e + 1]], table.reference) / whole for e in range(len(rows))]
    np.testing.assert_allclose(measures.archive_shares(rows), wanted, rtol=1e-12)
    assert measures.front_hypervolume == pytest.approx(whole)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_best_subset_is_the_best_of_all_subsets(size: int) -> None:
    costs = np.random.default_rng(2).random(9)
    points = np.stack([(1.0 - costs) ** 2, costs], axis=1)
    points[8] = points[2] + 0.01  # dominated
    points[4] = points[3]  # equal points count once
    reference = np.array([0.8, 0.9])
    chosen = itertools.combinations(range(len(points)), size)
    wanted = max(brute_hypervolume(points[list(rows)], reference) for rows in chosen)
    assert best_subset_hypervolume(points, reference, size) == pytest.approx(wanted, rel=1e-12)


def test_best_subset_of_nothing_inside_the_reference_is_zero() -> None:
    assert best_subset_hypervolume(np.array([[2.0, 0.1]]), np.array([1.0, 1.0]), 8) == 0.0


def test_chosen_are_the_best_evaluated_by_each_coefficient(table: Table) -> None:
    rows, coefficients = np.random.default_rng(3).permutation(len(table))[:30], np.array([0.0, 0.1, 1.0])
    trace = Trace(rows_E=rows, modes_EK=None, coefficients_K=coefficients, num_asked=30)
    chosen = Measures(table).chosen_EK(trace)
    for e in range(len(rows)):
        seen = rows[: e + 1]
        scores = table.losses[seen, None] + coefficients * table.complexities[seen, None]
        np.testing.assert_array_equal(chosen[e], seen[scores.argmin(axis=0)])


def test_answers_are_measured_against_the_best_eight_of_the_front(table: Table) -> None:
    measures = Measures(table)
    rows = np.arange(8)[None]
    wanted = brute_hypervolume(table.points[:8], table.reference)
    wanted /= best_subset_hypervolume(table.front, table.reference, 8)
    assert measures.answer_shares(rows)[0] == pytest.approx(wanted)
    assert measures.best_subset_share(np.arange(len(table))) == pytest.approx(1.0)


def test_first_at_counts_from_one_and_may_be_never() -> None:
    shares = np.array([0.2, 0.99, 0.98])
    assert [first_at(shares, level) for level in (0.1, 0.99, 0.995)] == [1.0, 2.0, float("inf")]
