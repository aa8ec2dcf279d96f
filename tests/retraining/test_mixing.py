import numpy as np
import pytest
import torch

from multinas_ray.errors import ConfigError
from multinas_ray.retraining.mixing import Mixing

# H height, W width
H, W = 12, 10


def images_of(num_images):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(num_images, 3, H, W))).float()


def test_nothing_is_mixed_unless_asked_for():
    images = images_of(4)
    mixed = Mixing(0.0, 0.0, 0, 0)(images, 0)
    assert mixed.inputs is images
    assert mixed.own_share == 1.0


def test_mixup_weighs_images_as_their_labels():
    images = images_of(6)
    mixed = Mixing(1.0, 0.0, 0, 0)(images, 3)
    share = mixed.own_share
    torch.testing.assert_close(mixed.inputs, share * images + (1 - share) * images[[5, 0, 1, 2, 3, 4]])
    assert mixed.others(torch.arange(6)).tolist() == [5, 0, 1, 2, 3, 4]


def test_cutmix_takes_a_rectangle_and_weighs_labels_by_its_area():
    images, shares = images_of(5), []
    for step in range(50):
        mixed = Mixing(0.0, 1.0, 0, 0)(images, step)
        is_own = (mixed.inputs == images).all(1)
        assert torch.equal(is_own | (mixed.inputs == images.roll(1, 0)).all(1), torch.ones_like(is_own))
        assert torch.equal(is_own, is_own[:1].expand_as(is_own)), "the same rectangle in all images of a batch"
        assert float(is_own.float().mean()) == pytest.approx(mixed.own_share)
        rows, columns = torch.nonzero(~is_own[0], as_tuple=True)
        if len(rows):
            assert len(rows) == (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
        shares.append(mixed.own_share)
    assert len(set(shares)) > 20
    assert torch.equal(images, images_of(5)), "the batch itself is left as it was"


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_shares_are_of_their_beta_distribution(alpha):
    """5 standard deviations of the mean and of the mean square of 2,000 draws."""
    images = torch.zeros(1, 1, 1, 1)
    shares = np.array([Mixing(alpha, 0.0, 0, 0)(images, step).own_share for step in range(2000)])
    square = (alpha + 1) / (2 * (2 * alpha + 1))
    assert abs(shares.mean() - 0.5) < 5 * np.sqrt((square - 0.25) / 2000)
    assert abs((shares**2).mean() - square) < 5 * 0.5 / np.sqrt(2000)


def test_draws_are_a_function_of_seed_step_and_rank_and_of_both_kinds_each_is_taken():
    images = images_of(4)
    first = Mixing(1.0, 1.0, 0, 0)(images, 7)
    assert torch.equal(Mixing(1.0, 1.0, 0, 0)(images, 7).inputs, first.inputs)
    for seed, rank, step in ((1, 0, 7), (0, 1, 7), (0, 0, 8)):
        assert Mixing(1.0, 1.0, seed, rank)(images, step).own_share != first.own_share
    mixed = [Mixing(1.0, 1.0, 0, 0)(images, step).inputs for step in range(60)]
    num_cut = sum(bool(torch.isin(each, images).all()) for each in mixed)
    assert 15 < num_cut < 45  # of 60 draws with probability 1/2: outside with a probability below 1e-4


def test_what_is_no_image_is_told():
    with pytest.raises(ConfigError, match="are for images, got inputs of the type dict"):
        Mixing(1.0, 0.0, 0, 0)({"a": images_of(2)}, 0)
