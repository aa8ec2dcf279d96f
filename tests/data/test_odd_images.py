"""Images of which libraries warn: their warnings are left out, and what should be known is told in words of our own."""

import logging
import warnings

import pytest
from PIL import Image

from tests.data.streams import stream
from tests.data.test_image_account import both, load, table
from tests.support.image_trees import picture, write_tree

DAMAGED_EXIF = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x12\x01\x03\x00"


@pytest.fixture
def raw(monkeypatch):
    """The warnings that would be printed. Images of more than 100 pixels are huge."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings(record=True) as raw:
        warnings.simplefilter("always")
        yield raw


def test_huge_images_and_damaged_exif_data_are_told_or_passed_over(tmp_path, raw, caplog):
    write_tree(tmp_path, {"a": 20, "b": 20})
    for name in ("huge.png", "huge2.png"):
        picture(7, (12, 12)).save(tmp_path / "a" / name)
    picture(8).save(tmp_path / "b" / "turned.jpg", exif=DAMAGED_EXIF)
    decoded, streamed = both(tmp_path, validation_fraction=0.2)
    assert "2 image(s) have more than 0 million pixels, such as" in " ".join(table(decoded).split())
    assert f"such as {tmp_path}/a/huge.png: they are used" in "".join(decoded.notes)
    batches = stream(streamed.train, batch_size=16)
    caplog.set_level(logging.WARNING)
    for step in range(2 * batches.batches_per_epoch):
        batches.batch(step)
    assert [each.message for each in caplog.records if "million pixels" in each.message][1:] == []
    assert "million pixels" in caplog.text
    assert raw == []


def test_more_decoding_processes_than_cores_are_told(tmp_path, raw, caplog):
    write_tree(tmp_path, {"a": 20, "b": 20})
    batches = stream(load(tmp_path, in_memory=False, decode_processes=1000).train)
    assert "decode_processes=1000 is more than the" in caplog.text
    batches._decoding._loader.check_worker_number_rationality()  # as it does when its processes start
    assert raw == []
