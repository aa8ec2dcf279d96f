import numpy as np
import torch

from experiments import benchmark_input


def test_the_benchmark_measures_each_loader(capsys):
    size = ["--photos", "24", "--image-size", "32", "--batch-size", "8", "--repeats", "2", "--seconds", "0.01"]
    assert benchmark_input.main([*size, "--shards", "--draft"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("torchvision", "files", "draft_decoding", "shards", "1.00 (1.00-1.00)"))


def test_loaders_take_turns_and_their_images_are_counted():
    now, asked = [0.0], []

    def loader(name, seconds):
        while True:
            now[0] += seconds
            asked.append(name)
            yield torch.zeros(4, 3, 2, 2), torch.zeros(4)

    loaders = {"torchvision": loader("torchvision", 1.0), "files": loader("files", 0.5)}
    rates = benchmark_input.measure(loaders, repeats=2, seconds=2.0, clock=lambda: now[0])
    assert rates == {"torchvision": [4.0, 4.0], "files": [8.0, 8.0]}
    assert [name[0] for name in asked] == list("ttffffffff") + list("tt")


def test_ratios_are_of_the_same_turn():
    table = benchmark_input.rates_table({"torchvision": [100.0, 50.0, 10.0], "files": [100.0, 100.0, 5.0]}, 2)
    assert [list(column.cells)[1] for column in table.columns] == ["files", "50 (2-50)", "1.00 (0.50-2.00)"]


def test_both_loaders_give_normalised_batches(tmp_path):
    benchmark_input.write_photos(tmp_path, 16)
    for make, path in ((benchmark_input.ours, tmp_path), (benchmark_input.reference, tmp_path / "train")):
        images, labels = next(make(str(path), 64, 16, 0))
        assert images.shape == (16, 3, 64, 64)
        assert images.dtype == torch.float32
        np.testing.assert_allclose(images.mean((0, 2, 3)), 0.0, atol=1.0)
        assert sorted(labels.tolist()) == [0] * 8 + [1] * 8
