"""Errors of differences between networks."""

import numpy as np
import pytest

from multinas_ray.selection.scores import NUM_PARTS, part_means, standard_error


@pytest.mark.parametrize("count", [1, 7, NUM_PARTS, 352])
def test_parts_hold_every_value_once(count) -> None:
    values = np.arange(count) ** 2.0
    parts = part_means(values)
    sizes = [len(range(part, count, NUM_PARTS)) for part in range(len(parts))]
    assert sum(sizes) == count
    assert np.dot(parts, sizes) == pytest.approx(values.sum())


def test_the_error_is_that_of_a_mean_of_paired_differences() -> None:
    """Over many sets of images the estimate from parts agrees with how the differences really vary."""
    rng = np.random.default_rng(0)
    difficulty, own = rng.exponential(1.0, (2000, 1000)), rng.normal(0.0, 0.2, (2, 2000, 1000))
    ours, others = difficulty + own[0], difficulty + own[1]
    errors = [standard_error(part_means(a), part_means(b)) for a, b in zip(ours, others, strict=True)]
    true_error = (ours.mean(1) - others.mean(1)).std()
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(true_error, rel=0.05)
    assert true_error == pytest.approx(0.2 * np.sqrt(2 / 1000), rel=0.05)


@pytest.mark.parametrize(("losses", "others"), [((), ()), ((1.0,), (2.0,)), ((1.0, 2.0), ())])
def test_without_two_common_parts_there_is_no_error(losses, others) -> None:
    assert standard_error(losses, others) == 0.0
