import importlib.util

import numpy as np
import pytest

from multinas_ray.data import DataConfig, ImageSet, load_splits
from multinas_ray.data.images import channel_statistics, divide, stratified_choice
from multinas_ray.errors import ConfigError, DataError
from tests.support.narrow import labels_of, pixels_of


def rows(image_set):
    return [image.tobytes() for image in image_set.images]


@pytest.fixture(scope="module")
def digits():
    return load_splits(DataConfig())


def test_digits_have_the_sizes_of_the_source(digits):
    assert len(digits.train) + len(digits.validation) + len(digits.test) == 1797
    assert len(digits.test) == round(1797 * 0.2)
    assert digits.image_shape == (1, 8, 8)
    assert digits.num_classes == 10
    assert digits.class_names[3] == "3"
    assert pixels_of(digits.train).max() == 255


def test_digits_are_scaled_to_the_full_range_without_losing_a_level(digits):
    levels = np.unique(pixels_of(digits.train))
    assert len(levels) == 17
    np.testing.assert_array_equal(levels, np.rint(np.arange(17) * 255 / 16))


def test_splits_share_no_image(digits):
    from sklearn.datasets import load_digits

    # every image of the source is in exactly one split (some digits are equal, so compare counted)
    source = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    parts = rows(digits.train) + rows(digits.validation) + rows(digits.test)
    assert sorted(parts) == sorted(image.tobytes() for image in source)


def test_splits_are_stratified(digits):
    for part, whole in ((digits.validation, 1438), (digits.test, 1797)):
        share = np.bincount(part.labels, minlength=10)
        everything = np.bincount(np.concatenate([digits.train.labels, digits.validation.labels]), minlength=10)
        if whole == 1797:
            everything = everything + share
        assert np.abs(share - everything * len(part) / everything.sum()).max() < 1


def test_equal_configs_give_equal_splits_whatever_the_global_seed():
    np.random.seed(1)  # noqa: NPY002
    first = load_splits(DataConfig(split_seed=5))
    np.random.seed(2)  # noqa: NPY002
    before = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    second = load_splits(DataConfig(split_seed=5))
    after = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002
    np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(pixels_of(first.train), pixels_of(second.train))
    np.testing.assert_array_equal(labels_of(first.validation), labels_of(second.validation))


def test_the_split_seed_moves_validation_and_not_the_test_images(digits):
    other = load_splits(DataConfig(split_seed=1))
    np.testing.assert_array_equal(pixels_of(other.test), pixels_of(digits.test))
    assert not np.array_equal(pixels_of(other.validation), pixels_of(digits.validation))


def test_a_subset_is_stratified_and_leaves_the_test_images(digits):
    small = load_splits(DataConfig(max_train_images=200, validation_fraction=0.25))
    assert (len(small.train), len(small.validation)) == (150, 50)
    np.testing.assert_array_equal(pixels_of(small.test), pixels_of(digits.test))
    counts = np.bincount(np.concatenate([labels_of(small.train), labels_of(small.validation)]), minlength=10)
    assert counts.min() >= 19
    assert counts.max() <= 21


def test_a_subset_of_more_than_all_is_all(digits):
    np.testing.assert_array_equal(
        pixels_of(load_splits(DataConfig(max_train_images=9999)).train), pixels_of(digits.train)
    )


def test_a_subset_must_hold_every_class_twice():
    with pytest.raises(ConfigError, match="at least 20 here, two for each of 10 classes, got 19"):
        load_splits(DataConfig(max_train_images=19))


def test_statistics_are_those_of_the_training_split(digits):
    pixels = pixels_of(digits.train) / 255.0
    np.testing.assert_allclose(digits.mean, pixels.mean(), rtol=1e-12)
    np.testing.assert_allclose(digits.std, pixels.std(), rtol=1e-12)


def test_statistics_are_kept_per_channel(small_set):
    mean, std = channel_statistics(small_set.images)
    np.testing.assert_allclose(mean, (small_set.images / 255.0).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (small_set.images / 255.0).std(axis=(0, 1, 2)), rtol=1e-12)


def test_a_constant_channel_is_refused(small_set):
    images = small_set.images.copy()
    images[..., 1] = 7
    with pytest.raises(DataError, match="channel 1 has the same value in every training image"):
        channel_statistics(images)


def test_images_are_scaled_down_by_averaging():
    splits, full = load_splits(DataConfig(image_size=4)), load_splits(DataConfig())
    assert splits.image_shape == (1, 4, 4)
    assert pixels_of(splits.test).shape == (359, 4, 4, 1)
    # antialiased scaling keeps the mean; picking every second pixel would not
    np.testing.assert_allclose(pixels_of(splits.test).mean(), pixels_of(full.test).mean(), rtol=0.03)
    np.testing.assert_array_equal(labels_of(splits.train), labels_of(full.train))
    assert not np.array_equal(pixels_of(splits.test), pixels_of(full.test)[:, ::2, ::2])


def test_images_are_not_scaled_up():
    with pytest.raises(ConfigError, match="at most the images' own 8, got 16"):
        load_splits(DataConfig(image_size=16))


def test_the_own_size_changes_nothing(digits):
    np.testing.assert_array_equal(pixels_of(load_splits(DataConfig(image_size=8)).train), pixels_of(digits.train))


def test_missing_scikit_learn_is_reported_with_the_command_that_installs_it(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sklearn" else real(name))
    with pytest.raises(DataError, match=r'pip install "multinas-ray\[demo\]"'):
        load_splits(DataConfig())


@pytest.mark.parametrize("chosen", [0, 1, 7, 13, 20])
def test_stratified_choice_gives_exactly_what_was_asked(chosen):
    labels = np.array([0] * 10 + [1] * 7 + [2] * 3)
    index = stratified_choice(labels, chosen, np.random.default_rng(0))
    assert len(index) == len(set(index.tolist())) == chosen
    assert (np.diff(index) > 0).all()
    counts = np.bincount(labels[index], minlength=3)
    assert np.abs(counts - np.array([10, 7, 3]) * chosen / 20).max() < 1


def test_stratified_choice_favours_no_image():
    labels = np.array([0] * 6 + [1] * 4)
    rng = np.random.default_rng(0)
    # 4,000 draws of half of each class, seed 0: each image has p = 1/2, six standard errors are 190
    counts = sum(np.bincount(stratified_choice(labels, 5, rng), minlength=10) for _ in range(4000))
    assert np.abs(counts - 2000).max() < 190


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_an_empty_part_is_refused(small_set, fraction):
    with pytest.raises(DataError, match=f"got 37 images and a fraction of {fraction}"):
        divide(small_set, fraction, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("images", "labels", "text"),
    [
        (np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.int64), "images must be uint8 of shape"),
        (np.zeros((2, 4, 4, 1), np.float32), np.zeros(2, np.int64), "got one of float32"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.zeros(2, np.int32), "labels must be int64"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.zeros((2, 1), np.int64), "labels must be int64"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.zeros(3, np.int64), "got 2 images and 3 labels"),
    ],
)
def test_arrays_of_another_form_are_refused(images, labels, text):
    with pytest.raises((ConfigError, DataError), match=text):
        ImageSet(images, labels)
