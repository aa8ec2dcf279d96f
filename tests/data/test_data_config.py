import pytest

from multinas_ray.data import Augmentation, DataConfig, standard_augmentation
from multinas_ray.errors import ConfigError
from multinas_ray.settings import changed


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"source": "mnist"},
            "no data source is registered by the name 'mnist'; known are cifar10, digits, folder,",
        ),
        ({"source": "folder"}, "the source 'folder' must have a path, the place of its images: set path"),
        (
            {"source": "folder", "path": "x", "download": True},
            "the source 'folder' has no setting download, got True: leave it out",
        ),
        ({"source": "cifar10"}, "the source 'cifar10' must have a path"),
        ({"source": "folder", "path": "s3://key:secret@bucket/images"}, "would bring its secret into logs and results"),
        ({"path": "/data"}, "the source 'digits' has no setting path, got '/data': leave it out"),
        ({"download": True}, "the source 'digits' has no setting download"),
        ({"validation_fraction": 0.0}, "validation_fraction must be above 0 and below 1, got 0.0"),
        ({"validation_fraction": 1}, "validation_fraction must be above 0 and below 1, got 1.0"),
        ({"validation_fraction": float("nan")}, "validation_fraction must be finite, got nan"),
        ({"split_seed": -1}, "split_seed must be at least 0, got -1"),
        ({"max_train_images": 1}, "max_train_images must be at least 2 or None, got 1"),
        ({"strict": "no"}, "DataConfig: strict must be True or False, got 'no'"),
        ({"image_size": 8.5}, "DataConfig: image_size must be a whole number or None, got 8.5"),
        ({"image_size": 3}, "image_size must be at least 4 or None, got 3"),
    ],
)
def test_bad_fields_are_refused_with_a_remedy(fields, text):
    with pytest.raises(ConfigError) as caught:
        DataConfig(**fields)
    assert text in str(caught.value)


def test_digits_are_never_mirrored_and_photos_are():
    digits = standard_augmentation(DataConfig(source="digits"))
    assert isinstance(digits, Augmentation)
    assert not digits.horizontal_flip
    photos = standard_augmentation(DataConfig(source="cifar10", path="x"))
    assert photos == Augmentation(crop_padding=4, horizontal_flip=True)


@pytest.mark.parametrize(("size", "padding"), [(16, 2), (8, 1), (4, 1), (24, 3)])
def test_the_border_shrinks_with_the_image(size, padding):
    config = DataConfig(source="cifar10", path="x", image_size=size)
    assert standard_augmentation(config) == Augmentation(crop_padding=padding, horizontal_flip=True)


def test_negative_padding_is_refused():
    with pytest.raises(ConfigError, match="crop_padding must be at least 0, got -1; 0 means no crop"):
        Augmentation(crop_padding=-1)


PHOTOS = DataConfig(source="folder", path="photos", strict=True, in_memory=False, validation_fraction=0.5)


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        (PHOTOS, {"source": "digits"}, DataConfig(source="digits", validation_fraction=0.5)),
        (
            PHOTOS,
            {"source": "cifar10", "path": "cifar", "download": True},
            DataConfig(source="cifar10", path="cifar", download=True, validation_fraction=0.5),
        ),
        (DataConfig(), {"source": "folder", "path": "photos"}, DataConfig(source="folder", path="photos")),
        (
            DataConfig(source="folder", path="photos", horizontal_flip=False),
            {"source": "cifar10"},
            DataConfig(source="cifar10", path="photos", horizontal_flip=False),
        ),
        (
            DataConfig(source="webdataset", path="tars", source_options={"label_extension": "txt"}),
            {"source": "folder"},
            DataConfig(source="folder", path="tars"),
        ),
        (PHOTOS, {"source": "folder"}, PHOTOS),
    ],
)
def test_another_source_takes_what_it_has_and_no_more(before, changes, after):
    assert changed(before, changes) == after


def test_what_is_given_beside_another_source_is_never_left_out():
    with pytest.raises(ConfigError, match=r"the source 'digits' has no setting path, got '.*given'"):
        changed(PHOTOS, {"source": "digits", "path": "given"})
    with pytest.raises(ConfigError, match="are never mirrored"):
        changed(PHOTOS, {"source": "digits", "horizontal_flip": True})
