import io
from pathlib import Path

import numpy as np
from PIL import Image

from experiments import write_shards
from multinas_ray.data import scan_images
from tests.support.image_trees import write_tree
from tests.support.narrow import present


def test_shards_are_written_from_the_command_line(tmp_path, capsys):
    tree, shards = write_tree(tmp_path / "tree", {"a": 3, "b": 2}), str(tmp_path / "shards")
    assert write_shards.main([str(tree), shards, "--images-per-group", "2"]) == 0
    assert "5 images written to" in capsys.readouterr().out
    assert len(np.unique(present(scan_images(shards).train.groups))) == 3
    assert write_shards.main([str(tree), shards]) == 2
    assert "has image shards already" in capsys.readouterr().out


def test_larger_images_are_made_smaller_once_and_others_are_copied(tmp_path):
    """Both keep their turn; what is no image is copied too, and told when it is read."""
    tree = tmp_path / "tree"
    for name in "ab":
        (tree / name).mkdir(parents=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    y, x = np.mgrid[:120, :200]
    pixels = np.stack([x, y, 255 - x], axis=2).astype(np.uint8)
    Image.fromarray(pixels).save(tree / "a" / "large.jpg", quality=95, exif=turned)
    Image.fromarray(pixels[:, :, 0]).save(tree / "a" / "large_grey.png")
    Image.fromarray(pixels[:30, :60]).save(tree / "a" / "small.png")
    for number in range(2):
        Image.fromarray(pixels[:30, :60]).save(tree / "b" / f"{number}.png")
    (tree / "a" / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    assert write_shards.main([str(tree), str(tmp_path / "shards"), "--resize", "40"]) == 0
    train = scan_images(str(tmp_path / "shards")).train
    found = {Path(train.name(number)).name: train.read(number) for number in range(len(train))}
    for name in ("small.png", "broken.jpg"):
        assert found[name] == (tree / "a" / name).read_bytes()
    with Image.open(io.BytesIO(found["large.jpg"])) as large, Image.open(io.BytesIO(found["large_grey.png"])) as grey:
        assert (large.format, large.size, large.getexif()[0x0112]) == ("JPEG", (67, 40), 6)
        assert (grey.mode, grey.size) == ("L", (67, 40))
        expected = Image.fromarray(pixels).resize((67, 40), Image.Resampling.BICUBIC)
        assert np.abs(np.asarray(large).astype(int) - np.asarray(expected)).mean() < 3
