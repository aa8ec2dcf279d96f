from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from multinas_ray.errors import StateError
from multinas_ray.oneshot import Round
from multinas_ray.selection import Rung, make_parts
from multinas_ray.selection.evaluation import CandidateEvaluator
from multinas_ray.selection.scores import NUM_PARTS
from multinas_ray.supernets import (
    SUPERNET_FILE,
    build_subnet,
    load_supernet,
    recalibrate_batch_norm,
    write_supernet,
)
from tests.support.numerics import settings_kept
from tests.support.worker_jobs import candidate_job

ARCHITECTURE = (0, 1, 4, 2, 3, 0)


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    return str(tmp_path_factory.mktemp("run"))


@pytest.fixture
def worker(make_worker, run_path):
    """A search's worker after a few steps, whose supernet is in the run's folder."""
    worker = make_worker()
    for number in range(3):
        worker.run(Round(number=number, train_architectures=np.array([ARCHITECTURE]), architectures=None))
    write_supernet(worker.supernet, run_path)
    return worker


@pytest.fixture
def evaluator(worker, run_path):
    return CandidateEvaluator(candidate_job(worker, run_path))


def test_the_supernet_comes_back_with_all_its_weights(worker, run_path):
    loaded = load_supernet(run_path, worker.job.space, norm_batch_size=32).state_dict()
    weights = worker.supernet.state_dict()
    assert list(loaded) == list(weights)
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_a_supernet_that_does_not_fit_is_refused(worker, run_path, tmp_path, make_job):
    file = tmp_path / SUPERNET_FILE
    space = worker.job.space
    with pytest.raises(StateError, match=r"has no supernet\.pt: resume its search"):
        load_supernet(str(tmp_path), space, 32)
    state = {"version": 1, "fingerprint": space.fingerprint, "weights": worker.supernet.state_dict()}
    torch.save({**state, "version": 2}, file)
    with pytest.raises(StateError, match="is of version 2, this package reads 1"):
        load_supernet(str(tmp_path), space, 32)
    torch.save({**state, "fingerprint": "another"}, file)
    with pytest.raises(StateError, match="holds the weights of another space than 'digits'"):
        load_supernet(str(tmp_path), space, 32)
    file.write_bytes(b"half a file")
    with pytest.raises(StateError, match=r"cannot be read .*: restore a copy"):
        load_supernet(str(tmp_path), space, 32)


def outputs_of(evaluator, folder, images):
    subnet = build_subnet(evaluator._supernet.space, ARCHITECTURE)
    subnet.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    with torch.no_grad():
        return subnet.eval()(images)


def images_of(splits, name):
    """All images of a split as networks take them, computed from the pixels."""
    split = getattr(splits, name)
    pixels = torch.from_numpy(split.images).permute(0, 3, 1, 2).float() / 255
    return (pixels - splits.mean[0]) / splits.std[0], torch.from_numpy(split.labels)


def test_loss_and_accuracies_are_those_of_the_saved_network_on_every_image(evaluator, splits, tmp_path):
    ((loss, accuracy, part_losses, number),) = evaluator.evaluate(evaluator.rungs(1)[0], [ARCHITECTURE])
    assert number == len(splits.validation)
    folders = [tmp_path / "networks" / "0", tmp_path / "networks" / "3"]
    test_accuracy = evaluator.finish(ARCHITECTURE, [str(folder) for folder in folders])
    for folder in folders:
        images, labels = images_of(splits, "validation")
        logits = outputs_of(evaluator, folder, images)
        assert loss == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-4)
        assert accuracy == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
        assert len(part_losses) == NUM_PARTS
        sizes = [len(range(part, len(labels), NUM_PARTS)) for part in range(NUM_PARTS)]
        assert np.average(part_losses, weights=sizes) == pytest.approx(loss)
        images, labels = images_of(splits, "test")
        logits = outputs_of(evaluator, folder, images)
        assert test_accuracy == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    assert accuracy > 0.1


def test_normalisation_is_that_of_the_training_images(evaluator, splits, tmp_path):
    """The first normalisation sees the stem's convolution of the images, whose statistics are computed here."""
    evaluator.finish(ARCHITECTURE, [str(tmp_path)])
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    name = next(name for name in weights if name.endswith("running_mean")).removesuffix("norm.running_mean")
    images, _ = images_of(splits, "train")
    convolved = functional.conv2d(images, weights[f"{name}conv.weight"], padding=1)
    means_BC = convolved.mean((2, 3))
    difference = weights[f"{name}norm.running_mean"] - means_BC.mean(0)
    # All but the epoch's incomplete last batch are averaged: 1024 of 1078 images. Other images differ by more.
    assert float((difference.abs() / means_BC.std(0)).max()) < 0.025


def test_an_architecture_alone_decides_its_result(evaluator):
    rungs = evaluator.rungs(300)
    for rung in rungs:
        (first,) = evaluator.evaluate(rung, [ARCHITECTURE])
        (other, again) = evaluator.evaluate(rung, [(1, 0, 0, 0, 0, 0), ARCHITECTURE])
        assert other != first
        assert again == first


def test_the_first_rung_sees_one_batch_with_its_own_statistics(evaluator, worker, splits):
    rungs = evaluator.rungs(300)
    whole = 1024  # of 1,078 training images, in batches of 64
    assert [(rung.images, rung.recalibration_images) for rung in rungs] == [
        (64, 0),
        (len(splits.validation), 256),
        (len(splits.validation), whole),
    ]
    images, labels = evaluator._comparing.batch(0)
    (score,) = evaluator.evaluate(rungs[0], [ARCHITECTURE])
    with torch.no_grad():
        logits = worker.supernet(images, np.array([ARCHITECTURE]))[0]
    assert score.loss == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-5)
    assert score.accuracy == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    assert score.images == 64


def test_a_rung_between_sees_whole_batches_of_the_shuffled_images(evaluator):
    rung = Rung(number=2, size=9, images=256, recalibration_images=128)
    (score,) = evaluator.evaluate(rung, [ARCHITECTURE])
    assert score.images == 256
    subnet = evaluator._supernet.extract(ARCHITECTURE)
    recalibrate_batch_norm(subnet, (evaluator._training.batch(step)[0] for step in range(2)))
    batches = [evaluator._comparing.batch(step) for step in range(4)]
    with torch.no_grad():
        losses = [float(functional.cross_entropy(subnet(images), labels)) for images, labels in batches]
    assert score.loss == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_prior_is_that_of_its_parts(evaluator):
    rows = [ARCHITECTURE, (1, 0, 0, 0, 0, 0)]
    depths, figures = evaluator.prior(["depth", "naswot"], rows)
    space = evaluator._supernet.space
    for found, part in zip((depths, figures), make_parts(["depth", "naswot"], space), strict=True):
        assert found == part(np.array(rows)).tolist()
    assert evaluator.prior(["naswot"], rows) == [figures]


def test_networks_that_are_evaluated_together_have_the_scores_that_they_have_alone(evaluator):
    rows = [ARCHITECTURE, (0, 1, 4, 2, 0, 0), (1, 1, 1, 1, 1, 1)]
    for rung in evaluator.rungs(300):
        together = evaluator.evaluate(rung, rows)
        if rung.recalibration_images:
            assert together == [evaluator.evaluate(rung, [row])[0] for row in rows]
        assert len({score.loss for score in together}) == len(rows)


@pytest.mark.parametrize("deterministic", [False, True])
def test_an_evaluator_computes_deterministically_where_that_is_asked_for(worker, run_path, deterministic):
    with settings_kept():
        CandidateEvaluator(replace(candidate_job(worker, run_path), deterministic=deterministic))
        assert torch.are_deterministic_algorithms_enabled() == deterministic
