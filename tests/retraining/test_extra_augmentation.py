import itertools

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from multinas_ray.retraining import RetrainConfig
from multinas_ray.retraining.extra_augmentation import ExtraAugmentation

# H height, W width of the images here
H, W = 8, 6
MEAN, STD = (0.3, 0.5, 0.6), (0.2, 0.25, 0.3)


def extra(rank=0, **settings):
    return ExtraAugmentation(RetrainConfig(**settings), MEAN, STD, rank)


def images_of(num_images, seed=0):
    """Normalised images of whole pixel values."""
    pixels = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (num_images, 3, H, W)))
    mean, std = torch.tensor(MEAN).view(-1, 1, 1), torch.tensor(STD).view(-1, 1, 1)
    return ((pixels / 255 - mean) / std).float()


@pytest.mark.parametrize("augmentation", ["none", "standard"])
def test_nothing_is_added_unless_asked_for(augmentation):
    images = images_of(4)
    assert torch.equal(extra(augmentation=augmentation)(images, 0), images)


@pytest.mark.parametrize("augmentation", ["cutout", "randaugment"])
def test_draws_are_a_function_of_seed_step_and_rank(augmentation):
    images, before = images_of(32), torch.random.get_rng_state()
    varied = extra(augmentation=augmentation)(images, 5)
    assert torch.equal(extra(augmentation=augmentation)(images, 5), varied)
    assert not torch.equal(extra(augmentation=augmentation)(images, 6), varied)
    assert not torch.equal(extra(augmentation=augmentation, rank=1)(images, 5), varied)
    assert not torch.equal(extra(augmentation=augmentation, seed=1)(images, 5), varied)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(images, varied)
    assert torch.equal(images, images_of(32)), "the batch itself is left as it was"


def test_cutout_covers_each_pixel_as_often_as_the_paper_says():
    """4 standard deviations of 20,000 independent draws, for each of 48 pixels: false alarm below 0.4 %."""
    num_images = 20_000
    varied = extra(augmentation="cutout")(torch.ones(num_images, 3, H, W), 0)
    is_zero = (varied == 0).all(1)
    assert torch.equal(is_zero, (varied == 0).any(1)), "all channels alike"
    share = is_zero.double().mean(0).numpy()
    expected = np.zeros((H, W))
    for row, column in itertools.product(range(H), range(W)):  # every centre is as likely as any other
        expected[max(0, row - 2) : row + 2, max(0, column - 1) : column + 2] += 1 / (H * W)
    assert (np.abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / num_images)).all()


def test_cutout_is_one_rectangle_clipped_at_the_border():
    varied = extra(augmentation="cutout")(torch.ones(200, 1, H, W), 3)
    for image in varied[:, 0]:
        rows, columns = torch.nonzero(image == 0, as_tuple=True)
        height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
        assert height * width == len(rows)
        assert height <= H // 2
        assert width <= W // 2


def test_randaugment_gives_pixels_again_and_varies_each_image():
    same = images_of(1).expand(64, -1, -1, -1)
    varied = extra(augmentation="randaugment")(same, 0)
    mean, std = torch.tensor(MEAN).view(-1, 1, 1), torch.tensor(STD).view(-1, 1, 1)
    pixels = (varied * std + mean) * 255
    torch.testing.assert_close(pixels, pixels.round(), atol=1e-3, rtol=0)
    assert pixels.min() > -0.5
    assert pixels.max() < 255.5
    assert len({image.numpy().tobytes() for image in varied}) > 32


class Operations(TorchDispatchMode):
    """Counts the operations on tensors."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::item", "aten::is_nonzero"}
"""Operations in which the host waits for a device, since it needs a value or a number of values."""


@pytest.mark.parametrize(("augmentation", "most"), [("cutout", 40), ("randaugment", 500)])
def test_a_batch_takes_few_operations_whatever_its_size_and_the_host_waits_for_none(augmentation, most):
    """RandAugment of 256 images took about 3,000."""
    vary, counts = extra(augmentation=augmentation), []
    for num_images in (128, 256):
        with Operations() as operations:
            vary(images_of(num_images), 0)
        assert not WAITS & set(operations.names)
        counts.append(len(operations.names))
    assert counts[0] < most
    assert counts[1] < counts[0] + 20
