"""RandAugment of a batch against torchvision's, which treats one image at a time."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from multinas_ray.retraining.randaugment import ENHANCEMENTS, OPERATIONS, RandAugment

# H height, W width
H, W = 24, 20
FILL = (77, 128, 153)
NAMES = {
    "identity": "Identity", "shear_x": "ShearX", "shear_y": "ShearY", "translate_x": "TranslateX",
    "translate_y": "TranslateY", "rotate": "Rotate", "brightness": "Brightness", "saturation": "Color",
    "contrast": "Contrast", "sharpness": "Sharpness", "posterize": "Posterize", "solarize": "Solarize",
    "autocontrast": "AutoContrast", "equalize": "Equalize",
}  # fmt: skip
"""Torchvision's names of the operations."""


def image(seed):
    """Smooth noise of a part of all values, so that contrast can be stretched and most pixels differ."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 5, generator=rng)
    return torch.nn.functional.interpolate(coarse, (H, W), mode="bicubic").mul(150).add(40).clamp(0, 255)[0].byte()


def by_torchvision(one, operation, sign, magnitude):
    reference = v2.RandAugment(num_ops=1, magnitude=magnitude, fill=list(FILL))
    magnitudes, signed = reference._AUGMENTATION_SPACE[NAMES[operation]]
    values = magnitudes(31, H, W)
    value = 0.0 if values is None else float(values[magnitude]) * (sign if signed else 1.0)
    return reference._apply_image_or_video_transform(
        one, NAMES[operation], value, interpolation=reference.interpolation, fill=reference._fill
    )


@pytest.mark.parametrize("magnitude", [0, 9, 30])
def test_each_operation_is_that_of_torchvision(magnitude):
    """Turned and sheared places that fall between two pixels may be rounded to the other one, and values likewise."""
    ours = RandAugment(1, magnitude, FILL)
    operations = np.repeat(np.arange(len(OPERATIONS)), 2)
    signs = np.tile([1.0, -1.0], len(OPERATIONS))
    shuffled = np.random.default_rng(0).permutation(len(operations))
    operations, signs = operations[shuffled], signs[shuffled]
    images = torch.stack([image(seed) for seed in range(len(operations))])
    varied = ours.apply(images, operations, signs)
    assert varied.dtype == torch.uint8
    for one, result, place, sign in zip(images, varied, operations, signs, strict=True):
        expected = by_torchvision(one, OPERATIONS[place], sign, magnitude)
        differences = (result.int() - expected.int()).abs()
        if OPERATIONS[place] in ENHANCEMENTS:
            assert differences.max() <= 1, OPERATIONS[place]
            continue
        allowed = 0.02 if OPERATIONS[place] in ("rotate", "shear_x", "shear_y") else 0.0
        assert (differences > 0).any(0).float().mean() <= allowed, OPERATIONS[place]


def test_all_operations_are_as_likely_in_both_directions():
    """5 standard deviations of 7,000 draws each."""
    seen = []
    ours = RandAugment(2, 9, FILL)

    def note(pixels, operations, signs):
        seen.append((operations, signs))
        return pixels

    vars(ours)["apply"] = note
    ours(torch.zeros(7000, 3, 2, 2, dtype=torch.uint8), np.random.default_rng(0))
    assert len(seen) == 2
    for operations, signs in seen:
        counts = np.bincount(operations, minlength=14)
        assert (np.abs(counts - 500) < 5 * np.sqrt(500)).all()
        assert abs((signs > 0).sum() - 3500) < 5 * np.sqrt(7000 / 4)
        assert set(signs) == {1.0, -1.0}
    assert not np.array_equal(seen[0][0], seen[1][0])
