import numpy as np

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
