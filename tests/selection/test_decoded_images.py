"""What the rungs of a choice decode: each image once while it can be kept, and never one that no network sees."""

import dataclasses

import pytest

from multinas_ray.data import DataConfig, StreamedImages, load_splits
from multinas_ray.selection import CandidateJob, evaluation
from multinas_ray.selection.evaluation import CandidateEvaluator
from multinas_ray.spaces import Block, ConvLayer
from multinas_ray.supernets import BlockSupernet, WeightTraining, write_supernet
from tests.support.counted_images import CountedImages, read_since
from tests.support.image_trees import write_tree
from tests.support.tiny_search import tiny_space

TRAINING = WeightTraining(batch_size=8, validation_batch_size=4, norm_batch_size=2)
NETWORKS = [(0, 0, 0), (1, 1, 1), (2, 0, 2)]


@pytest.fixture
def file(tmp_path):
    return str(tmp_path / "read")


@pytest.fixture
def make_evaluator(tmp_path, file, monkeypatch):
    """An evaluator of a space with three channels, whose images are streamed by a process and counted."""
    tree = write_tree(tmp_path / "images", {"a": 50, "b": 50})
    stem = Block("stem", (ConvLayer(3, 8, kernel_size=3, stride=2, activation="relu"),))
    space = dataclasses.replace(tiny_space(), input_shape=(3, 8, 8), stem=stem)
    data = DataConfig(source="folder", path=str(tree), image_size=8, in_memory=False, decode_processes=1)
    found = load_splits(data)
    train, validation, test = (counted(each, file) for each in (found.train, found.validation, found.test))
    splits = dataclasses.replace(found, train=train, validation=validation, test=test)
    write_supernet(BlockSupernet(space, norm_batch_size=2, seed=0), str(tmp_path))
    monkeypatch.setattr(evaluation, "load_splits", lambda config: splits)

    def make(kept_bytes):
        monkeypatch.setattr(evaluation, "KEPT_BYTES", kept_bytes)
        job = CandidateJob(
            run_path=str(tmp_path), space=space, data=data, training=TRAINING, seed=0, num_threads=1, num_workers=1
        )
        return CandidateEvaluator(job), splits

    return make


def counted(images, file):
    assert isinstance(images, StreamedImages)
    return dataclasses.replace(images, encoded=CountedImages(images.encoded, file))


def choose(evaluator, folder):
    """What an actor does in a choice: three rungs, each for several parts, then the chosen network."""
    rungs = evaluator.rungs(300)
    scores = [[evaluator.evaluate(rung, [network]) for network in NETWORKS] for rung in rungs]
    return rungs, scores, evaluator.finish(NETWORKS[0], [str(folder)])


@pytest.mark.slow
def test_the_parts_of_a_rung_decode_the_images_that_they_see_and_no_others(make_evaluator, file, tmp_path):
    evaluator, splits = make_evaluator(kept_bytes=0)
    rungs, scores, accuracy = choose(evaluator, tmp_path / "weights")
    assert len(rungs) == 3
    seen = len(NETWORKS) * sum(rung.images + rung.recalibration_images for rung in rungs)
    whole = rungs[-1].recalibration_images
    assert read_since(file) == seen + whole + len(splits.test)

    evaluator, _ = make_evaluator(kept_bytes=10**7)
    assert choose(evaluator, tmp_path / "weights")[1:] == (scores, accuracy)
    assert read_since(file) == whole + len(splits.validation) + len(splits.test)
