import numpy as np
import pytest

from multinas_ray.data.order import MOST_STRANDS, batches_per_epoch, epoch_order, num_strands


def order(groups, num_images, batch_size=64, norm_batch_size=16, seed=0):
    rng = np.random.default_rng(seed)
    return epoch_order(groups, num_images, batch_size=batch_size, norm_batch_size=norm_batch_size, rng=rng)


def in_pieces(num_images, size):
    """Pieces as a training split has them: of unequal size, since every fifth image is held out."""
    return np.delete(np.arange(2 * num_images) // size, np.s_[::5])[:num_images]


def test_single_files_come_in_the_order_of_a_permutation():
    np.testing.assert_array_equal(order(None, 1000).ravel(), np.random.default_rng(0).permutation(1000)[:960])


@pytest.mark.parametrize(("num_images", "batch_size", "norm"), [(50_000, 64, 16), (6_400, 64, 64), (100, 64, 32)])
def test_no_image_comes_twice_and_few_are_left_out(num_images, batch_size, norm):
    groups = in_pieces(num_images, 20)
    batches = order(groups, num_images, batch_size, norm)
    assert batches.shape == (batches_per_epoch(num_images, batch_size, groups), batch_size)
    assert len(np.unique(batches)) == batches.size
    assert num_images - batches.size < batch_size * max(1, num_images // (50 * batch_size))
    assert batches.max() < num_images


def test_epochs_leave_out_other_images():
    groups = in_pieces(30_000, 20)
    seen = np.unique(np.concatenate([order(groups, 30_000, seed=seed).ravel() for seed in range(3)]))
    assert len(seen) == 30_000


def test_small_sets_are_one_strand_and_large_ones_eight():
    assert [num_strands(n, 64) for n in (64, 3200, 6400, 25_600, 10**6)] == [1, 1, 2, MOST_STRANDS, MOST_STRANDS]


@pytest.mark.parametrize("readers", [1, 2, 4, 8])
def test_each_process_of_each_rank_reads_pieces_of_its_own(readers):
    """4 normalisation groups on 4 ranks, each with processes that take every readers-th batch."""
    num_images, size = 51_200, 20
    groups = np.arange(num_images) // size
    batches = order(groups, num_images)
    assert num_strands(num_images, 64) == 8
    read = [
        np.unique(groups[batches[reader::readers, 16 * rank : 16 * rank + 16]])
        for rank in range(4)
        for reader in range(readers)
    ]
    pieces = len(np.unique(groups))
    assert sum(map(len, read)) <= pieces + 4 * 8  # a piece on the border of two parts is read by both


def test_a_process_holds_few_pieces_at_a_time():
    num_images, size = 51_200, 20
    groups = np.arange(num_images) // size
    mine = groups[order(groups, num_images)[::8, :16]]  # of one rank and one process
    steps = {piece: np.flatnonzero((mine == piece).any(axis=1)) for piece in np.unique(mine)}
    assert max(np.ptp(each) for each in steps.values()) < 2 * 256 / 16  # batches from its first to its last use


def test_pieces_are_mixed_anew_in_each_epoch():
    groups = in_pieces(50_000, 20)
    first, second = order(groups, 50_000, seed=1), order(groups, 50_000, seed=2)
    shared = [len(np.intersect1d(a, b)) for a, b in zip(first[:50], second[:50], strict=True)]
    assert np.mean(shared) < 1  # of 64
    # each batch holds images from all over the set: the mean of 64 uniform places has a deviation of 0.036
    assert abs(first.mean(axis=1) / 50_000 - 0.5).max() < 5 * 0.036 * 1.2
