"""The supernet of a model with choices keeps the promises of that of blocks."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from multinas_ray.choices import Choice, ElasticBatchNorm2d, ElasticConv2d, WidthChoice, model_space
from multinas_ray.errors import ConfigError
from multinas_ray.spaces import ModelSpace, register_model
from multinas_ray.supernets import (
    Separate,
    Supernet,
    accumulate_gradients,
    evaluate,
    load_supernet,
    make_supernet,
    recalibrate_batch_norm,
    sample_scores,
    step_touched,
    write_supernet,
)
from multinas_ray.tasks import Scorer, Task
from tests.choices.small_net import SmallNet, chosen_blocks

SCORER = Scorer(Task())

ROWS = [(0, 1, 0), (2, 2, 1), (0, 1, 0), (1, 0, 1)]


@pytest.fixture(scope="module")
def space() -> ModelSpace:
    return model_space(SmallNet, (1, 8, 8), arguments={"dropout": 0.5})


@pytest.fixture
def supernet(space) -> Supernet:
    return make_supernet(space, norm_batch_size=4, seed=1).double()


def batch(seed=0, num_images=8):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(num_images, 1, 8, 8, generator=generator, dtype=torch.float64) + seed
    return images, torch.arange(num_images) % 10


def test_each_architecture_is_its_network_with_the_statistics_of_groups(supernet) -> None:
    images, _ = batch()
    with torch.no_grad():
        logits = supernet(images, ROWS)
    assert logits.shape == (4, 8, 10)
    assert torch.equal(logits[0], logits[2])
    for row, found in zip(ROWS, logits, strict=True):
        network = supernet.extract(row).train()
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        with torch.no_grad():
            alone = torch.cat([network(group) for group in images.split(4)])
        torch.testing.assert_close(found, alone, rtol=1e-10, atol=1e-10)


class Counted(nn.Conv2d):
    """Counts how often it computes."""

    calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        Counted.calls += 1
        return super().forward(images)


@register_model
def chain() -> nn.Module:
    """Modules in a row that change their input in place; a width that two of them have."""

    def option() -> nn.Module:
        return Counted(3, 3, 3, padding=1)

    width = WidthChoice("width", [2, 3])
    first = nn.Sequential(Choice("a", {"x": option(), "y": nn.Identity()}), nn.ReLU(inplace=True))
    wide = nn.Sequential(ElasticConv2d(3, width, 1), ElasticBatchNorm2d(width), nn.ReLU(inplace=True))
    last = nn.Sequential(ElasticConv2d(width, 3, 1), nn.Flatten(), nn.Linear(192, 10))
    return nn.Sequential(Counted(1, 3, 1), first, Choice("b", {"x": option(), "y": nn.Tanh()}), wide, last)


def test_what_networks_of_a_chain_have_alike_at_the_beginning_is_computed_once() -> None:
    supernet = make_supernet(model_space(chain, (1, 8, 8)), norm_batch_size=4, seed=1).double()
    rows, (images, _) = supernet.space.search_space.enumerate(), batch()
    with torch.no_grad():
        alone = torch.cat([supernet(images, row[None]) for row in rows])
        assert torch.equal(supernet(images, rows), alone)
        Counted.calls = 0
        assert torch.equal(supernet(images, rows[::-1]), alone.flip(0))
    assert Counted.calls == 1 + 1 + 2, "the stem, option x of the first choice, and that of the second after each"


def test_gradients_are_those_of_the_mean_loss_and_of_what_is_touched(space) -> None:
    supernet = make_supernet(model_space(SmallNet, (1, 8, 8)), norm_batch_size=4, seed=1).double()
    images, labels = batch()
    loss = accumulate_gradients(supernet, images, labels, ROWS)
    found = {name: each.grad for name, each in supernet.named_parameters()}
    touched = supernet.touched_parameters(ROWS)
    assert {id(each) for each in supernet.parameters() if each.grad is not None} == set(map(id, touched))
    supernet.zero_grad(set_to_none=True)
    logits = supernet(images, ROWS)
    mean = functional.cross_entropy(logits.flatten(0, 1), labels.repeat(len(ROWS)))
    mean.backward()
    torch.testing.assert_close(loss, mean.detach())
    for name, each in supernet.named_parameters():
        if each.grad is not None:
            torch.testing.assert_close(found[name], each.grad)


def test_what_a_step_does_not_use_stays_with_its_momentum(supernet) -> None:
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    images, labels = batch()

    def step(rows):
        optimizer.zero_grad(set_to_none=True)
        accumulate_gradients(supernet, images, labels, rows)
        step_touched(optimizer, supernet, rows)

    step([(2, 2, 0)])
    before = {name: each.detach().clone() for name, each in supernet.named_parameters()}
    step([(0, 1, 0)])
    moved = {name: (each.detach() != before[name]) for name, each in supernet.named_parameters()}
    assert not moved["model.deep.options.1.0.weight"].any()
    assert moved["model.stem.0.weight"][:4].all()
    assert not moved["model.stem.0.weight"][4:].any()
    assert not moved["model.stem.1.bias"][4:].any()


def test_evaluation_leaves_no_randomness_and_training_has_its_dropout(supernet) -> None:
    images, labels = batch()
    losses, sums = evaluate(supernet, images, labels, ROWS)
    assert torch.equal(losses, evaluate(supernet, images, labels, ROWS)[0])
    assert losses.shape == sums.shape[:1] == (4,)
    first, second = (supernet(images, ROWS[:1]).detach() for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(losses, evaluate(supernet, images, labels, ROWS)[0])


def test_subnets_together_have_the_scores_that_they_have_alone(supernet) -> None:
    batches = [batch(seed)[0] for seed in range(3)]
    together = supernet.together(ROWS)
    recalibrate_batch_norm(together, batches)
    losses, metrics = sample_scores(together, [batch(5), batch(6)], SCORER)
    for row, losses_of, metrics_of in zip(ROWS, losses, metrics, strict=True):
        network = supernet.extract(row)
        recalibrate_batch_norm(network, batches)
        alone = sample_scores(Separate([network]), [batch(5), batch(6)], SCORER)
        assert losses_of.tolist() == alone[0][0].tolist()
        assert metrics_of == alone[1][0]


def test_a_supernet_is_a_function_of_its_seed_and_comes_back(space, tmp_path) -> None:
    state = torch.get_rng_state()
    first, again, other = (make_supernet(space, 4, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    write_supernet(first, str(tmp_path))
    loaded = load_supernet(str(tmp_path), space, 4)
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
        assert torch.equal(value, loaded.state_dict()[key])
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_groups_are_the_different_networks_and_batches_whole_groups(supernet) -> None:
    groups = supernet.groups(np.array(ROWS), 8, None, 4)
    assert [group.tolist() for group in groups] == [[0, 2], [1], [3]]
    with pytest.raises(ConfigError, match="norm_batch_size=4"):
        supernet(batch(num_images=6)[0], ROWS)


def test_a_model_with_other_places_than_its_space_is_refused(space) -> None:
    other = model_space(chosen_blocks, (1, 8, 8))
    fields = {**space.to_dict(), "model": other.model, "arguments": {}}
    with pytest.raises(ConfigError, match="must have the choices of its space, width, depth, pool"):
        make_supernet(ModelSpace.from_dict(fields), 4, 0)


def test_a_model_without_batch_normalisation_needs_no_batches() -> None:
    network = nn.Linear(2, 2)
    recalibrate_batch_norm(network, [])
    assert not network.training
