"""JPEGs that are decoded at a part of their size: the crop is the same, and the pixels are nearly so."""

import numpy as np
import pytest
import torch
from PIL import Image

from multinas_ray.data import DataConfig, StreamedImages, load_splits, streamed_images
from multinas_ray.data.decoding import decode
from multinas_ray.data.tree import scan_tree
from multinas_ray.errors import ConfigError
from tests.data.streams import MEAN, STD, stream

SIZE = 16
SIDEWAYS = 6  # EXIF's orientation of a camera that was held upright


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """24 smooth photos of 400x300 pixels; in every third the camera was turned."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(24):
        coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))
        exif = Image.Exif()
        exif[0x0112] = SIDEWAYS if number % 3 == 0 else 1
        path = root / "ab"[number % 2] / f"{number:02}.jpg"
        path.parent.mkdir(exist_ok=True)
        coarse.resize((400, 300), Image.Resampling.BICUBIC).save(path, quality=95, exif=exif)
    return root


def images(tree, draft, **fields):
    return StreamedImages(scan_tree(str(tree)).train, SIZE, **{"num_processes": 0, "draft_decoding": draft, **fields})


def pixels(batches):
    """(n, S, S, C) pixels 0..255."""
    return np.concatenate([np.rint((batch.permute(0, 2, 3, 1).numpy() * STD + MEAN) * 255) for batch, _ in batches])


@pytest.fixture
def decoded(monkeypatch):
    """Number of pixels of each image that was decoded."""
    counts: list[int] = []

    def noted(image, *arguments, **named):
        found = decode(image, *arguments, **named)
        counts.append(found.width * found.height)
        return found

    monkeypatch.setattr(streamed_images, "decode", noted)
    return counts


def test_fewer_pixels_are_decoded_and_those_of_the_network_are_nearly_the_same(tree, decoded):
    for look in (lambda each: each.batches(range(6)), lambda each: each.all_batches()):  # varied, and not
        decoded.clear()
        exact = pixels(look(stream(images(tree, False))))
        whole = decoded.copy()
        decoded.clear()
        drafted = pixels(look(stream(images(tree, True))))
        assert set(whole) == {400 * 300}
        assert sum(decoded) < 0.3 * sum(whole)
        assert 0 < np.abs(drafted - exact).mean() < 4
        others = pixels(look(stream(images(tree, True), seed=4))) if len(drafted) > 24 else drafted[::-1]
        assert np.abs(others - exact).mean() > 15


def test_an_image_is_decoded_at_no_less_than_is_wanted(tree, decoded):
    for size, share in ((131, 2), (132, 1), (65, 4), (67, 2)):  # the shorter side of 300 becomes 150, 151, 74, 77
        decoded.clear()
        photos = StreamedImages(scan_tree(str(tree)).train, size, num_processes=0, draft_decoding=True)
        list(stream(photos).all_batches())
        assert set(decoded) == {(400 // share) * (300 // share)}


def test_nothing_changes_where_nothing_can_be_saved(tree, tmp_path):
    for number in range(8):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        found = Image.open(tree / "ab"[number % 2] / f"{number:02}.jpg").copy()
        if number < 4:
            found.save(tmp_path / "ab"[number % 2] / f"{number}.png")  # these are never decoded in parts
        else:
            found.resize((20, 18)).save(tmp_path / "ab"[number % 2] / f"{number}.jpg")
    for look in (lambda each: each.batches(range(4)), lambda each: each.all_batches()):
        exact, drafted = (pixels(look(stream(images(tmp_path, draft)))) for draft in (False, True))
        np.testing.assert_array_equal(drafted, exact)


def test_the_shards_of_all_ranks_are_the_global_batch(tree):
    whole, ranks = stream(images(tree, True)), [stream(images(tree, True), rank=n, world_size=3) for n in range(3)]
    for step in range(4):
        joined = torch.cat([each.batch(step)[0] for each in ranks])
        assert torch.equal(joined, whole.batch(step)[0])


def test_the_setting_decides_which_images_there_are(tree):
    config = DataConfig(source="folder", path=str(tree), in_memory=False, draft_decoding=True, decode_processes=0)
    train = load_splits(config).train
    assert isinstance(train, StreamedImages)
    assert train.draft_decoding
    assert config.identity()["draft_decoding"] is True
    assert "draft_decoding" not in DataConfig().identity()
    assert any("draft_decoding=True" in note for note in load_splits(config).notes)
    with pytest.raises(ConfigError, match="draft_decoding must be False where in_memory is True, got True"):
        DataConfig(source="folder", path=str(tree), draft_decoding=True)
