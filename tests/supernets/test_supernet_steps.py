import math

import numpy as np
import pytest
import torch
from torch import nn

from multinas_ray.errors import ConfigError
from multinas_ray.supernets import BlockSupernet, accumulate_gradients, evaluate
from multinas_ray.tasks import Scorer, Task

ROWS = [[1, 1, 0], [0, 2, 1], [1, 1, 2], [0, 0, 0], [1, 1, 0]]


@pytest.fixture
def supernet(tiny_space) -> BlockSupernet:
    return BlockSupernet(tiny_space, 8, seed=1).double()


@pytest.fixture(scope="module")
def batch(tiny_space):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16, *tiny_space.input_shape, generator=generator, dtype=torch.float64)
    return images, torch.randint(0, 5, (16,), generator=generator)


def scores(supernet, images, labels, rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses and accuracies."""
    losses, sums = evaluate(supernet, images, labels, rows)
    (accuracies,) = Scorer(Task()).values(sums).values()
    return losses, accuracies


def gradients(supernet) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in supernet.named_parameters() if p.grad is not None}


def assert_same_gradients(first, second, tolerance=1e-10) -> None:
    assert first.keys() == second.keys()
    for name, gradient in first.items():
        torch.testing.assert_close(gradient, second[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_gradient_of_the_mean_loss(supernet, batch, label_smoothing) -> None:
    images, labels = batch
    loss = accumulate_gradients(supernet, images, labels, ROWS, label_smoothing=label_smoothing)
    found = gradients(supernet)
    supernet.zero_grad()
    losses = [
        nn.functional.cross_entropy(supernet(images, [row])[0], labels, label_smoothing=label_smoothing) for row in ROWS
    ]
    expected = torch.stack(losses).mean()
    expected.backward()
    assert_same_gradients(found, gradients(supernet))
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)
    assert loss.shape == ()
    assert not loss.requires_grad


@pytest.mark.parametrize("limit_elements", [1, 1500, 3000])
def test_small_limits_change_nothing(supernet, batch, limit_elements) -> None:
    images, labels = batch
    loss = accumulate_gradients(supernet, images, labels, ROWS)
    found = gradients(supernet)
    supernet.zero_grad()
    calls = 0

    def count(*_):
        nonlocal calls
        calls += 1

    supernet.stem.register_forward_hook(count)
    limited = accumulate_gradients(supernet, images, labels, ROWS, limit_bytes=limit_elements * 16 * 8)
    assert calls > 1  # the limit did cut
    torch.testing.assert_close(limited, loss, rtol=1e-12, atol=0)
    assert_same_gradients(gradients(supernet), found)


def test_untouched_parameters_have_no_gradient_and_calls_add_up(supernet, batch) -> None:
    images, labels = batch
    accumulate_gradients(supernet, images, labels, ROWS[:1])
    first = gradients(supernet)
    touched = {id(parameter) for parameter in supernet.touched_parameters(ROWS[:1])}
    for parameter in supernet.parameters():
        assert (parameter.grad is not None) == (id(parameter) in touched)
    accumulate_gradients(supernet, images, labels, ROWS[:1])
    assert_same_gradients(gradients(supernet), {name: 2 * gradient for name, gradient in first.items()})


def test_two_shards_of_whole_groups_equal_the_joined_batch(supernet, batch) -> None:
    images, labels = batch
    loss = accumulate_gradients(supernet, images, labels, ROWS)
    joined = gradients(supernet)
    joined_losses, joined_accuracies = scores(supernet, images, labels, ROWS)
    supernet.zero_grad()
    shards = [(images[:8], labels[:8]), (images[8:], labels[8:])]
    losses = [accumulate_gradients(supernet, *shard, ROWS) for shard in shards]
    assert_same_gradients({name: g / 2 for name, g in gradients(supernet).items()}, joined)
    torch.testing.assert_close(sum(losses) / 2, loss, rtol=1e-12, atol=0)
    evaluated = [scores(supernet, *shard, ROWS) for shard in shards]
    torch.testing.assert_close((evaluated[0][0] + evaluated[1][0]) / 2, joined_losses, rtol=1e-12, atol=0)
    torch.testing.assert_close((evaluated[0][1] + evaluated[1][1]) / 2, joined_accuracies)


def test_evaluate_gives_each_architectures_loss_and_accuracy(supernet, batch) -> None:
    images, labels = batch
    losses, accuracies = scores(supernet, images, labels, ROWS)
    assert losses.shape == accuracies.shape == (5,)
    assert not losses.requires_grad
    for row, loss, accuracy in zip(ROWS, losses, accuracies, strict=True):
        logits = supernet(images, [row])[0]
        torch.testing.assert_close(loss, nn.functional.cross_entropy(logits, labels), rtol=1e-12, atol=0)
        assert accuracy.item() == (logits.argmax(1) == labels).sum().item() / 16
    assert len(set(losses.tolist())) == 4
    assert 0 < accuracies.max() <= 1
    assert all(parameter.grad is None for parameter in supernet.parameters())


def test_results_are_float32_for_float32_weights_with_and_without_autocast(tiny_space, batch) -> None:
    supernet = BlockSupernet(tiny_space, 8, seed=1)
    images, labels = batch[0].float(), batch[1]
    plain = evaluate(supernet, images, labels, ROWS)
    types = []
    supernet.head.register_forward_hook(lambda *arguments: types.append(arguments[-1].dtype))
    low = evaluate(supernet, images, labels, ROWS, autocast_dtype=torch.bfloat16)
    loss = accumulate_gradients(supernet, images, labels, ROWS, autocast_dtype=torch.bfloat16)
    assert set(types) == {torch.bfloat16}
    assert {result.dtype for result in (plain[0], low[0], loss)} == {torch.float32}
    torch.testing.assert_close(low[0], plain[0], rtol=0.02, atol=0)
    assert {p.grad.dtype for p in supernet.parameters() if p.grad is not None} == {torch.float32}


def test_losses_that_are_not_finite_pass_through(supernet, batch) -> None:
    images, labels = batch
    with torch.no_grad():
        supernet.block(2, 1)[0].conv.weight.fill_(math.nan)
    losses, accuracies = scores(supernet, images, labels, ROWS)
    assert losses.isnan().tolist() == [row[2] == 1 for row in ROWS]
    assert accuracies.isfinite().all()
    assert accumulate_gradients(supernet, images, labels, ROWS).isnan()
    assert accumulate_gradients(supernet, images, labels, ROWS[2:]).isfinite()


def test_nothing_waits_for_the_device(tiny_space) -> None:
    # A tensor without data cannot be read: any .item(), .cpu() or branch on its values would raise.
    supernet = BlockSupernet(tiny_space, 8, seed=0).to("meta")
    images, labels = torch.empty(16, *tiny_space.input_shape, device="meta"), torch.empty(16, device="meta")
    labels = labels.long()
    loss = accumulate_gradients(supernet, images, labels, ROWS, limit_bytes=1, label_smoothing=0.1)
    losses, accuracies = scores(supernet, images, labels, ROWS)
    assert {loss.device.type, losses.device.type, accuracies.device.type} == {"meta"}


def test_a_few_steps_learn(tiny_space) -> None:
    # Five classes told apart by their mean colour; chance is log(5) = 1.61.
    rng = np.random.default_rng(0)
    supernet = BlockSupernet(tiny_space, 20, seed=0)
    labels = torch.arange(5).repeat(4)
    generator = torch.Generator().manual_seed(0)
    colours = torch.randn(5, 3, 1, 1, generator=generator)[labels]
    optimiser = torch.optim.SGD(supernet.parameters(), lr=0.2, momentum=0.9)
    rows = tiny_space.search_space.enumerate()
    for _ in range(60):
        images = colours + 0.1 * torch.randn(20, 3, 6, 6, generator=generator)
        optimiser.zero_grad()
        accumulate_gradients(supernet, images, labels, tiny_space.search_space.random(4, rng))
        optimiser.step()
    losses, accuracies = scores(supernet, images, labels, rows)
    assert losses.max() < 0.8
    assert accuracies.min() > 0.7


def test_no_architectures_are_refused(supernet, batch) -> None:
    images, labels = batch
    nothing = np.empty((0, 3), dtype=int)
    with pytest.raises(ConfigError, match="a training step must have at least one architecture"):
        accumulate_gradients(supernet, images, labels, nothing)
    with pytest.raises(ConfigError, match="at least one architecture, got none"):
        evaluate(supernet, images, labels, nothing)
