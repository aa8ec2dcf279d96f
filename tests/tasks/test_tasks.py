from typing import Any

import numpy as np
import pytest
import ray.cloudpickle
import torch
from torch.nn import functional

from multinas_ray.data import BatchPlan, DataConfig, load_splits, open_stream
from multinas_ray.errors import ConfigError, DataError
from multinas_ray.spaces import space_from_dict
from multinas_ray.supernets import (
    Separate,
    accumulate_gradients,
    build_subnet,
    evaluate,
    make_supernet,
    mean_score,
    sample_scores,
    summed_score,
)
from multinas_ray.tasks import Metric, Scorer, Task, check_task, read_task
from tests.tasks.series import TASK, Series, space

ROWS = [(0, 0), (1, 1), (0, 0)]
DATA = DataConfig(source="series", source_options={"num": 64, "noise": 0.1})


def batches(split: str = "test", rank: int = 0, world_size: int = 1, size: int = 16):
    settings: dict[str, Any] = {"batch_size": size, "seed": 3, "shuffle": True, "device": "cpu", "norm_batch_size": 1}
    return open_stream(getattr(load_splits(DATA), split), augment=None, rank=rank, world_size=world_size, **settings)


def test_a_space_of_any_inputs_and_outputs_is_plain_data() -> None:
    made = space()
    assert made.inputs == {"values": "float32[6]", "scale": "int64[]"}
    assert made.outputs == {"mean": "float32[]", "doubled": "int64[]"}
    assert made.num_classes is None
    assert space_from_dict(made.to_dict()).fingerprint == made.fingerprint
    assert made.costs["flops"](np.array([[1, 0]])) == [6 * 4 + 4]


def test_a_round_is_what_networks_give_by_themselves() -> None:
    supernet, scorer = make_supernet(space(), norm_batch_size=2, seed=1), Scorer(TASK)
    inputs, targets = batches().batch(0)
    losses, sums = evaluate(supernet, inputs, targets, ROWS, scorer)
    alone = [supernet.extract(row)(**inputs)["mean"] for row in ROWS]
    torch.testing.assert_close(losses, torch.stack([functional.mse_loss(each, targets) for each in alone]))
    (errors,) = scorer.values(sums, scorer.primary).values()
    torch.testing.assert_close(errors.float(), torch.stack([(each - targets).abs().mean() for each in alone]))
    loss = accumulate_gradients(supernet, inputs, targets, ROWS, scorer)
    torch.testing.assert_close(loss, losses.mean())
    assert all(each.grad is not None for each in supernet.touched_parameters(ROWS))


def test_batches_and_workers_combine_exactly() -> None:
    network, scorer = build_subnet(space(), (1, 1)).eval(), Scorer(TASK)
    shards = [summed_score(network, batches(rank=rank, world_size=3).all_batches(), scorer) for rank in range(3)]
    whole = next(iter(batches(size=64).all_batches()))
    output, targets = network(**whole[0])["mean"].detach(), whole[1]
    score = mean_score(torch.stack(shards).sum(0), scorer)
    assert score.loss == pytest.approx(float(functional.mse_loss(output, targets)))
    assert score.metrics["mae"] == pytest.approx(float((output - targets).abs().mean()))
    unexplained = (targets - output).square().sum() / (targets - targets.mean()).square().sum()
    assert score.metrics["r2"] == pytest.approx(float(1 - unexplained), rel=1e-4)
    losses, metrics = sample_scores(Separate([network, network]), batches().all_batches(), scorer)
    assert losses[1].mean() == pytest.approx(score.loss)
    assert metrics[0] == pytest.approx(score.metrics)


def test_batches_are_a_function_of_seed_and_step_for_any_number_of_workers() -> None:
    alone = batches("train").batch(5)
    again = batches("train")
    again.batch(1)
    torch.testing.assert_close(again.batch(5), alone, rtol=0, atol=0)
    shards = [batches("train", rank, 2).batch(5) for rank in range(2)]
    joined = torch.cat([shard[0]["values"] for shard in shards])
    torch.testing.assert_close(joined, alone[0]["values"], rtol=0, atol=0)
    assert not torch.equal(batches("train").batch(5 + 3)[0]["values"], alone[0]["values"])


def test_datasets_are_divided_by_the_settings() -> None:
    splits = load_splits(DataConfig(source="series", source_options={"num": 50}, validation_fraction=0.3))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (35, 15, 64)
    few = load_splits(DataConfig(source="series", source_options={"num": 50}, max_train_images=10))
    assert (len(few.train), len(few.validation)) == (8, 2)
    with pytest.raises(ConfigError, match="image_size is for sources of images"):
        load_splits(DataConfig(source="series", source_options={"num": 50}, image_size=8))
    with pytest.raises(ConfigError, match="colour"):
        DataConfig(source="series", source_options={"num": 50, "colour": 1})


def test_a_task_is_plain_data_and_goes_to_workers_with_its_functions() -> None:
    assert read_task(TASK.to_dict()) == TASK
    assert TASK.to_dict()["loss"] == "mean_of_squares"
    assert ray.cloudpickle.loads(ray.cloudpickle.dumps(TASK)) == TASK
    assert Task(loss=functional.mse_loss, metrics={"f": "accuracy"}).loss == "torch.nn.functional.mse_loss"
    assert Task(loss=functional.cross_entropy) == Task()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": lambda outputs, targets: 0}, "write @register_task_loss over it"),
        ({"loss": "hinge"}, "no loss of a task is registered by the name 'hinge'"),
        ({"metrics": {}}, "at least one metric"),
        ({"primary": "mae"}, "primary must be one of the metrics accuracy"),
    ],
)
def test_tasks_without_names_are_refused(settings, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Task(**settings)


def without_gradient(outputs, targets):
    return (outputs.detach() - targets).square()


def sum_of_squares(outputs, targets):
    return (outputs - targets).square().sum()


def pairs(outputs, targets):
    return (outputs - targets)[:1, None]


def broken(outputs, targets):
    return outputs @ targets[:, :0].missing


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (without_gradient, "the loss without_gradient must have a gradient"),
        (sum_of_squares, "must be a mean over the samples, so that workers can share a batch"),
        (pairs, "must be a scalar, the mean over the samples, or have one value for each of 2 samples"),
        (broken, "the loss broken raised AttributeError"),
    ],
)
def test_losses_that_are_none_are_told_before_anything_starts(loss, message, monkeypatch) -> None:
    from multinas_ray.tasks.named import losses

    monkeypatch.setattr(losses, "_classes", {**losses._classes, loss.__name__: loss})
    task = Task(loss=loss.__name__, metrics={"mae": Metric("torchmetrics.MeanAbsoluteError")})
    with pytest.raises(ConfigError, match=message):
        check_task(task, "float32[3]", torch.ones(2, 3))


def test_metrics_that_do_not_combine_are_told() -> None:
    with pytest.raises(ConfigError, match="states of a metric must be sums"):
        Scorer(Task(metrics={"auroc": Metric("torchmetrics.AUROC", {"task": "binary"})}))
    with pytest.raises(ConfigError, match=r"there is no torchmetrics\.Beauty"):
        Scorer(Task(metrics={"beauty": "torchmetrics.Beauty"}))


class Faulty(Series):
    def __init__(self, fault: str) -> None:
        super().__init__(8, 0)
        self.fault = fault

    def __getitem__(self, index):
        faults = {"no pair": torch.zeros(3), "text": ("a", object()), "sizes": (torch.zeros(index + 1), 0)}
        return faults[self.fault]


@pytest.mark.parametrize("fault", ["no pair", "text", "sizes"])
def test_samples_that_are_none_are_told(fault) -> None:
    from multinas_ray.data import SampleSet

    plan = BatchPlan(batch_size=2, seed=0, shuffle=False, device="cpu", norm_batch_size=1)
    with pytest.raises(DataError, match="pair"):
        open_stream(SampleSet(Faulty(fault)), augment=None, **vars(plan)).batch(0)


def test_segmentation_has_the_figures_of_its_pixels() -> None:
    task = Task(metrics={"iou": Metric("torchmetrics.JaccardIndex", {"task": "multiclass", "num_classes": 3})})
    outputs, targets = torch.randn(2, 4, 3, 5, 5, requires_grad=True), torch.arange(100).view(4, 5, 5) % 3
    check_task(task, "float32[3, 5, 5]", targets[:2])
    scorer = Scorer(task)
    expected = torch.stack([functional.cross_entropy(each, targets) for each in outputs])
    torch.testing.assert_close(scorer.losses(outputs, targets).mean(1), expected)
    torch.testing.assert_close(scorer.training_loss(outputs, targets), expected.mean())
    (iou,) = scorer.values(scorer.sums(outputs, targets)).values()
    hits = [[((o.argmax(1) == c) & (targets == c)).sum() for c in range(3)] for o in outputs]
    either = [[((o.argmax(1) == c) | (targets == c)).sum() for c in range(3)] for o in outputs]
    torch.testing.assert_close(iou, (torch.tensor(hits) / torch.tensor(either)).mean(1).double(), rtol=1e-5, atol=0)
