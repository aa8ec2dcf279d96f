import numpy as np
import pytest
import torch

from multinas_ray.data import Augmentation, ImageSet, open_stream
from multinas_ray.errors import ConfigError, DataError

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def stream(image_set, **changes):
    settings = {
        "batch_size": 8,
        "seed": 3,
        "shuffle": True,
        "augment": Augmentation(crop_padding=2),
        "mean": MEAN,
        "std": STD,
        "device": "cpu",
        "norm_batch_size": 2,
    }
    return open_stream(image_set, **{**settings, **changes})


def numbered(count=37):
    """Images that all show their own number."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 6, 5, 3))
    return ImageSet(images.copy(), np.arange(count, dtype=np.int64))


def normalised(images):
    return ((images / 255.0 - MEAN) / STD).transpose(0, 3, 1, 2)


def test_images_are_normalised(small_set):
    images, labels = stream(small_set, augment=None, shuffle=False).batch(0)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    np.testing.assert_allclose(images, normalised(small_set.images[:8]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(labels, small_set.labels[:8])


def test_order_is_the_epochs_permutation_and_the_rest_is_dropped():
    a_stream = stream(numbered(), augment=None)
    assert a_stream.batches_per_epoch == 4
    for epoch in (0, 1, 5):
        seen = torch.cat([a_stream.batch(4 * epoch + position)[1] for position in range(4)])
        np.testing.assert_array_equal(seen, np.random.default_rng((3, epoch)).permutation(37)[:32])


def test_an_image_keeps_its_label(small_set):
    numbers = numbered()
    images, labels = stream(numbers, augment=None).batch(11)
    shown = np.rint((images[:, 0, 0, 0].numpy() * STD[0] + MEAN[0]) * 255).astype(int)
    np.testing.assert_array_equal(shown, labels)


def test_a_batch_needs_no_earlier_batch(small_set):
    forward, backward = stream(small_set), stream(small_set)
    there = [forward.batch(step) for step in range(20)]
    back = [backward.batch(step) for step in reversed(range(20))][::-1]
    for (images, labels), (other_images, other_labels) in zip(there, back, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("augment", [None, Augmentation(crop_padding=2)])
def test_the_shards_joined_are_the_global_batch(small_set, world_size, augment):
    whole = stream(small_set, augment=augment)
    shards = [stream(small_set, augment=augment, rank=rank, world_size=world_size) for rank in range(world_size)]
    for step in (0, 3, 4, 9):
        images = torch.cat([shard.batch(step)[0] for shard in shards])
        labels = torch.cat([shard.batch(step)[1] for shard in shards])
        assert torch.equal(images, whole.batch(step)[0])
        assert torch.equal(labels, whole.batch(step)[1])
        sizes = {len(each.batch(step)[1]) for each in shards}
        assert sizes == ({2, 4} if world_size == 3 else {8 // world_size})  # whole groups of 2
        assert sizes == {each.shard_size for each in shards}


def naive(image, draw, padding):
    """Crop and flip one normalised image (H, W, C) by plain loops."""
    top, left, flip = draw
    height, width, channels = image.shape
    padded = np.zeros((height + 2 * padding, width + 2 * padding, channels))
    padded[padding : padding + height, padding : padding + width] = image
    out = padded[top : top + height, left : left + width]
    return out[:, ::-1] if flip else out


@pytest.mark.parametrize("augment", [
    Augmentation(crop_padding=2),
    Augmentation(crop_padding=0),
    Augmentation(crop_padding=7, horizontal_flip=False),  # beyond the image: some crops are border only
])  # fmt: skip
def test_crop_and_flip_equal_a_loop_over_images(small_set, augment):
    a_stream = stream(small_set, augment=augment, batch_size=36)
    for epoch in range(3):
        order = np.random.default_rng((3, epoch)).permutation(37)[:36]
        draws = augment.draw(seed=3, epoch=epoch, num_images=37)
        clean = normalised(small_set.images).transpose(0, 2, 3, 1)
        expected = np.stack([naive(clean[i], draws[i], augment.crop_padding) for i in order])
        images, labels = a_stream.batch(epoch)
        np.testing.assert_allclose(images, expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(labels, small_set.labels[order])


def test_the_border_is_zero_after_normalisation():
    white = ImageSet(np.full((8, 6, 5, 3), 255, np.uint8), np.zeros(8, np.int64))
    images, _ = stream(white, augment=Augmentation(crop_padding=3)).batch(0)
    values = np.unique(images[:, 0].numpy())
    np.testing.assert_allclose(values, [0, (1 - MEAN[0]) / STD[0]], rtol=1e-5)


def test_augmentation_depends_on_seed_epoch_and_image_only(small_set):
    """The same image, met in other batches, sizes, orders and shards, is varied alike."""
    big, small = stream(small_set, batch_size=36), stream(small_set, batch_size=4, rank=1, world_size=2)
    order = np.random.default_rng((3, 2)).permutation(37)
    in_big = dict(zip(order[:36].tolist(), big.batch(2)[0], strict=True))
    for position in range(9):
        images, _ = small.batch(2 * 9 + position)
        for number, image in zip(order[4 * position + 2 : 4 * position + 4].tolist(), images, strict=True):
            assert torch.equal(image, in_big[number])
    still = stream(small_set, batch_size=36, shuffle=False).batch(2)[0]
    for number in range(36):
        if number in in_big:
            assert torch.equal(still[number], in_big[number])


@pytest.mark.parametrize("changes", [{"seed": 4}, {"epoch": 1}])
def test_another_seed_or_epoch_varies_anew(changes):
    augment = Augmentation(crop_padding=2)
    base = augment.draw(seed=3, epoch=0, num_images=50)
    assert not np.array_equal(base, augment.draw(**{"seed": 3, "epoch": 0, "num_images": 50, **changes}))


def test_draws_are_uniform_and_apart_from_the_order():
    draws = Augmentation(crop_padding=2).draw(seed=0, epoch=0, num_images=20000)
    # 20,000 draws, seed 0: five standard errors of a share of 1/5 are 0.0141, of 1/2 are 0.0177
    for column in (0, 1):
        np.testing.assert_allclose(np.bincount(draws[:, column]) / 20000, np.full(5, 0.2), atol=0.0141)
    np.testing.assert_allclose(draws[:, 2].mean(), 0.5, atol=0.0177)
    order = np.random.default_rng((0, 0)).permutation(20000)
    for column in range(3):  # five standard errors of a correlation of 0 are 0.035
        assert abs(np.corrcoef(order, draws[:, column])[0, 1]) < 0.036


def test_draws_and_order_come_from_different_streams():
    shared = np.random.default_rng((0, 0)).integers(0, 5, size=(100, 2))
    assert not np.array_equal(Augmentation(crop_padding=2).draw(seed=0, epoch=0, num_images=100)[:, :2], shared)


def test_no_flip_means_none():
    assert Augmentation(horizontal_flip=False).draw(seed=0, epoch=0, num_images=100)[:, 2].max() == 0


@pytest.mark.parametrize("augment", [None, Augmentation(crop_padding=2)])
def test_memory_layout_is_the_one_asked_for(small_set, augment):
    last, _ = stream(small_set, augment=augment).batch(0)
    first, _ = stream(small_set, augment=augment, channels_last=False).batch(0)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert not last.is_contiguous()
    assert first.is_contiguous()
    assert torch.equal(last, first)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_all_batches_yield_every_image_once_in_order(world_size):
    streams = [stream(numbered(), rank=rank, world_size=world_size) for rank in range(world_size)]
    batches = [batch for one in streams for batch in one.all_batches()]
    np.testing.assert_array_equal(torch.cat([labels for _, labels in batches]), np.arange(37))
    images = torch.cat([images for images, _ in batches])
    np.testing.assert_allclose(images, normalised(numbered().images), rtol=1e-5, atol=1e-6)
    assert max(len(labels) for _, labels in batches) == 8 // world_size


def test_the_callers_arrays_stay_as_they_are(small_set):
    images = small_set.images.copy()
    small_set.images.setflags(write=False)  # torch warns about such arrays; a warning would fail here
    stream(small_set).batch(0)
    np.testing.assert_array_equal(small_set.images, images)


def test_long_runs_keep_few_epochs(small_set):
    a_stream = stream(small_set)
    for step in range(80):
        a_stream.batch(step)
    assert len(a_stream._epochs) == 2


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"batch_size": 7},
            r"multiple of norm_batch_size = 2, .* got 7: use 6 or 8",
        ),
        ({"batch_size": 1, "norm_batch_size": 2}, "got 1: use 2$"),
        (
            {"batch_size": 4, "world_size": 3, "norm_batch_size": 2},
            "a group of norm_batch_size = 2 images for each of world_size = 3 workers, got 4: use at least 6",
        ),
        ({"batch_size": 0}, "must be at least 1, got 0, 1 and 2"),
        ({"norm_batch_size": 0}, "must be at least 1, got 8, 1 and 0"),
        ({"rank": 1}, r"rank must lie in 0..0 \(world_size=1\), got 1"),
        ({"rank": -1}, "rank must lie in"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(small_set, changes, text):
    with pytest.raises(ConfigError, match=text):
        stream(small_set, **changes)


def test_a_batch_larger_than_the_set_is_refused(small_set):
    with pytest.raises(DataError, match="at most the number of images, 37, got 38"):
        stream(small_set, batch_size=38)


@pytest.mark.parametrize("changes", [{"mean": (0.5,)}, {"std": (1.0, 1.0)}, {"std": (1.0, 0.0, 1.0)}])
def test_statistics_of_other_channels_are_refused(small_set, changes):
    with pytest.raises(DataError, match="mean and std must have 3 values each, with std above 0"):
        stream(small_set, **changes)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_gives_the_same_batches_without_a_host_sync(small_set):
    on_gpu, on_cpu = stream(small_set, device="cuda"), stream(small_set)
    on_gpu.batch(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        batches = [on_gpu.batch(step) for step in range(12)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for step, (images, labels) in enumerate(batches):
        torch.testing.assert_close(images.cpu(), on_cpu.batch(step)[0])
        assert torch.equal(labels.cpu(), on_cpu.batch(step)[1])
