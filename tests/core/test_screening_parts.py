"""The parts of the screening against slow and plain counterparts."""

import moocore
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from multinas_ray import ConfigError
from multinas_ray.core import best_evaluated
from multinas_ray.core.archive import Archive, hypervolume_gains
from multinas_ray.core.candidates import mutate
from multinas_ray.core.distributions import CategoryLayout
from multinas_ray.core.surrogate import KERNELS, fit_surrogate


def test_gains_are_differences_of_hypervolume():
    rng = np.random.default_rng(11)
    front, points = rng.random((9, 2)), 1.2 * rng.random((60, 2))
    reference = (0.9, 0.8)
    before = moocore.hypervolume(front, ref=reference)
    expected = [moocore.hypervolume(np.vstack([front, point]), ref=reference) - before for point in points]
    gains = hypervolume_gains(points[:, 0], points[:, 1], front, reference)
    np.testing.assert_allclose(gains, expected, atol=1e-12)
    assert (gains > 0.01).any()


def test_the_archives_front_is_the_nondominated_set():
    rng = np.random.default_rng(12)
    architectures = rng.permutation(np.array(np.unravel_index(np.arange(400), (20, 20))).T)
    values = rng.integers(0, 40, (400, 2)).astype(float)
    archive = Archive(2)
    for architecture, (loss, complexity) in zip(architectures, values, strict=True):
        archive.add(architecture, loss, complexity, np.array([0.5, 2.0]))
    assert sorted(archive.front) == np.flatnonzero(moocore.is_nondominated(values)).tolist()
    np.testing.assert_array_equal(archive.losses, values[:, 0])
    assert [archive.row_of(architecture) for architecture in architectures] == list(range(400))


def textbook(left, right, length):
    equal = left @ right.T / 5
    return 0.5 * equal + 0.5 * np.exp(-(1.0 - equal) / length)


def test_the_surrogate_is_the_textbooks_gaussian_process():
    rng = np.random.default_rng(13)
    points = np.unique(rng.integers(0, 3, (30, 5)), axis=0)
    asked = rng.integers(0, 3, (8, 5))
    losses, complexities = rng.normal(size=len(points)), points.mean(axis=1)
    fit = fit_surrogate(points, losses, complexities, 3)
    ours = fit.predict(asked)[0] - fit.predict(asked, 1.0)[0]
    one_hot = np.eye(3)
    left, right = one_hot[asked].reshape(8, -1), one_hot[points].reshape(len(points), -1)
    length, noise = fit.kernel
    covariance = textbook(right, right, length) + noise * np.eye(len(points))
    cross = textbook(left, right, length)
    warped = np.arcsinh((losses - np.median(losses)) / np.subtract(*np.quantile(losses, [0.75, 0.25])))
    mean = warped.mean() + cross @ np.linalg.solve(covariance, warped - warped.mean())
    deviation = warped.std() * np.sqrt(1.0 - (cross * np.linalg.solve(covariance, cross.T).T).sum(axis=1))
    unit = np.subtract(*np.quantile(losses, [0.75, 0.25]))
    expected = np.median(losses) + unit * np.sinh(mean)
    np.testing.assert_allclose(fit.predict(asked)[0], expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(ours, expected - np.median(losses) - unit * np.sinh(mean - deviation), atol=1e-7)
    np.testing.assert_allclose(fit.predict(points)[1], complexities, atol=1e-2)


@pytest.mark.parametrize("true", KERNELS)
def test_the_likeliest_kernel_is_taken(true):
    rng = np.random.default_rng(15)
    points = np.unique(rng.integers(0, 3, (60, 5)), axis=0)
    one_hot, unit = np.eye(3)[points].reshape(len(points), -1), np.eye(len(points))
    covariances = [textbook(one_hot, one_hot, length) + noise * unit for length, noise in KERNELS]
    losses = np.linalg.cholesky(covariances[KERNELS.index(true)]) @ rng.normal(size=len(points))
    warped = np.arcsinh((losses - np.median(losses)) / np.subtract(*np.quantile(losses, [0.75, 0.25])))
    targets = (warped - warped.mean()) / warped.std()
    likelihoods = [multivariate_normal(cov=covariance).logpdf(targets) for covariance in covariances]
    fit = fit_surrogate(points, losses, points.mean(axis=1), 3)
    assert fit.kernel == KERNELS[int(np.argmax(likelihoods))]
    assert fit_surrogate(points, losses, points.mean(axis=1), 3, [true]).kernel == true


def test_mutations_change_one_to_three_free_variables():
    layout = CategoryLayout.from_num_categories([4, 1, 2, 3, 5])
    parent = np.array([[3, 0, 1, 2, 4]])
    children = mutate(parent, layout, 2000, np.random.default_rng(14))
    changed = (children != parent).sum(axis=1)
    assert set(changed.tolist()) == {1, 2, 3}
    assert (children[:, 1] == 0).all()
    assert ((children >= 0) & (children <= layout.last_D)).all()
    assert abs((changed == 1).mean() - 0.5) < 0.06  # five standard deviations


def test_best_evaluated_is_the_best_of_each_weighted_sum():
    losses, complexities = [3.0, 1.0, np.nan, 2.0, 1.0, 0.5], [0.0, 2.0, 0.0, 0.5, 2.0, np.nan]
    losses[5] = np.inf
    rows = best_evaluated(np.zeros((6, 2)), losses, complexities, [0.1, 1.0, 9.0])
    assert rows.tolist() == [1, 3, 0]
    assert best_evaluated(np.zeros((2, 1)), [0.0, 1.0], [1.0, 0.0], [1.0]).tolist() == [1]  # a tie: the smaller
    with pytest.raises(ConfigError, match="all failed"):
        best_evaluated(np.zeros((1, 2)), [np.inf], [0.0], [1.0])
    with pytest.raises(ConfigError, match="losses must have shape"):
        best_evaluated(np.zeros((3, 2)), [1.0], [0.0], [1.0])
