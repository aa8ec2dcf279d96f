"""The parts of the screening against slow and plain counterparts."""

import moocore
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from multinas_ray import ConfigError
from multinas_ray.core import best_evaluated
from multinas_ray.core.layout import CategoryLayout
from multinas_ray.core.screened import archive as archive_module
from multinas_ray.core.screened.archive import Archive, hypervolume_gains
from multinas_ray.core.screened.proposing import mutate
from multinas_ray.core.screened.screening import OPTIMISM, Criteria
from multinas_ray.core.screened.surrogate import KERNELS, Prediction, fit_surrogate


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
    archive = Archive(CategoryLayout.from_num_categories([20, 20]))
    for architecture, (loss, complexity) in zip(architectures, values, strict=True):
        archive.add(architecture, loss, complexity)
    assert sorted(archive.front) == np.flatnonzero(moocore.is_nondominated(values)).tolist()
    np.testing.assert_array_equal(archive.losses, values[:, 0])
    np.testing.assert_array_equal(archive.architectures(), architectures)
    assert archive.rows_of(architectures).tolist() == list(range(400))


def textbook(left, right, length):
    equal = left @ right.T / 5
    return 0.5 * equal + 0.5 * np.exp(-(1.0 - equal) / length)


def test_the_surrogate_is_the_textbooks_gaussian_process():
    rng = np.random.default_rng(13)
    points = np.unique(rng.integers(0, 3, (30, 5)), axis=0)
    asked = rng.integers(0, 3, (8, 5))
    losses, complexities = rng.normal(size=len(points)), points.mean(axis=1)
    fit = fit_surrogate(points, losses, complexities, 3)
    found = fit.predict(asked, with_deviations=True)
    ours = found.losses() - found.losses(1.0)
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
    np.testing.assert_allclose(fit.predict(asked).losses(), expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(ours, expected - np.median(losses) - unit * np.sinh(mean - deviation), atol=1e-7)
    np.testing.assert_allclose(fit.predict(points).complexities_N, complexities, atol=1e-2)


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


def test_what_is_dropped_from_the_support_is_old_and_good_for_no_objective(monkeypatch):
    monkeypatch.setattr(archive_module, "SUPPORT_LIMIT", 20)
    rng, coefficients = np.random.default_rng(16), np.array([0.0, 1.0])
    archive, losses, complexities = Archive(CategoryLayout.from_num_categories([30])), rng.random(30), rng.random(30)
    for row in range(23):
        archive.add(np.array([row]), losses[row], complexities[row])

    def weighted(losses_N, complexities_N):
        return losses_N + coefficients[:, None] * complexities_N

    archive.trim_support(weighted)
    scores = losses[:23] + coefficients[:, None] * complexities[:23]
    best_rank = scores.argsort(axis=1).argsort(axis=1).min(axis=0)
    worst_of_older_half = sorted(range(10), key=lambda row: -best_rank[row])[:3]
    assert archive.support == [row for row in range(23) if row not in worst_of_older_half]
    archive.trim_support(weighted)
    assert len(archive.support) == 20


def test_a_later_result_replaces_a_failed_evaluation():
    archive = Archive(CategoryLayout.from_num_categories([4]))
    assert not archive.add(np.array([2]), np.nan, np.nan)
    assert archive.front == []
    assert archive.add(np.array([2]), 0.5, 0.1)
    assert not archive.add(np.array([2]), 0.2, 0.1)  # the first result stays
    assert (archive.losses.tolist(), archive.front, archive.support) == ([0.5], [0], [0])


def test_choices_are_best_for_each_objective_and_largest_gains_by_turns():
    rng, reference = np.random.default_rng(17), (1.0, 1.0)
    coefficients, front = np.array([0.1, 2.0]), np.array([[0.9, 0.3], [0.7, 0.6]])
    complexities = rng.random(40)
    warped = 2.0 - 4.0 * complexities + 0.2 * rng.normal(size=40)
    screened = Prediction(warped, 0.2 * rng.random(40), complexities, 0.5, 0.1)
    pending = Prediction(np.array([-0.5]), np.array([0.4]), np.array([0.45]), 0.5, 0.1)
    rows = Criteria(coefficients, front, reference).choose(screened, pending, range(8))
    assert len(set(rows)) == 8
    for turn, row in enumerate(rows):
        k, optimism = (turn // 2) % 2, OPTIMISM[(turn // 2 + turn // 4) % 2]
        losses, left = screened.losses(optimism), [each for each in range(40) if each not in rows[:turn]]
        if turn % 2 == 0:
            scores = losses + coefficients[k] * screened.complexities_N
            assert row == min(left, key=lambda each: scores[each])
        else:
            points = np.stack([losses, screened.complexities_N], axis=1)
            known = np.vstack([front, [pending.losses(optimism)[0], 0.45], points[rows[:turn]]])
            before = moocore.hypervolume(known, ref=reference)
            volumes = [moocore.hypervolume(np.vstack([known, points[each]]), ref=reference) for each in left]
            assert max(volumes) > before
            assert row == left[int(np.argmax(volumes))]


def test_where_no_architecture_gains_the_best_for_an_objective_is_taken():
    everything_dominated = np.array([[-9.0, 0.0]])
    screened = Prediction(np.array([1.0, 0.0, 2.0]), np.zeros(3), np.full(3, 0.5), 0.0, 1.0)
    criteria = Criteria(np.array([1.0]), everything_dominated, (1.0, 1.0))
    assert criteria.choose(screened, screened[:0], [1, 3]) == [1, 0]


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
    with pytest.raises(ConfigError, match="all 1 evaluations failed"):
        best_evaluated(np.zeros((1, 2)), [np.inf], [0.0], [1.0])
    with pytest.raises(ConfigError, match="losses must have shape"):
        best_evaluated(np.zeros((3, 2)), [1.0], [0.0], [1.0])
