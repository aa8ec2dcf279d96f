import pytest
import torch
from torch import nn

from multinas_ray.errors import ConfigError
from multinas_ray.supernets import (
    BlockSupernet,
    GhostBatchNorm2d,
    build_block,
    build_subnet,
    recalibrate_batch_norm,
)


def images(space, seed=0, num_images=8):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_images, *space.input_shape, generator=generator, dtype=torch.float64) + seed


def test_extracted_subnet_equals_the_path_of_every_architecture(tiny_space) -> None:
    supernet = BlockSupernet(tiny_space, 8, seed=1).double()
    batch = images(tiny_space)
    rows = tiny_space.search_space.enumerate()
    for row, logits in zip(rows, supernet(batch, rows), strict=True):
        subnet = supernet.extract(row)
        torch.testing.assert_close(subnet(batch), logits, rtol=1e-10, atol=1e-10)


def test_extracted_subnet_has_copies_and_ordinary_modules(tiny_space) -> None:
    supernet = BlockSupernet(tiny_space, 8, seed=1).double()
    subnet = supernet.extract((0, 2, 1))
    assert [name for name, _ in subnet.named_children()] == ["stem", "blocks", "head"]
    assert isinstance(subnet.get_submodule("blocks.1"), nn.Identity)
    assert not any(isinstance(module, GhostBatchNorm2d) for module in subnet.modules())
    assert {parameter.dtype for parameter in subnet.parameters()} == {torch.float64}
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    with torch.no_grad():
        for parameter in subnet.parameters():
            parameter.add_(1.0)
    for key, value in supernet.state_dict().items():
        assert torch.equal(value, before[key])


def test_built_subnet_is_a_function_of_its_seed(tiny_space) -> None:
    state = torch.get_rng_state()
    first, again, other = (build_subnet(tiny_space, (0, 0, 0), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.training
    weights = [subnet.get_parameter("stem.0.conv.weight") for subnet in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_recalibration_is_the_exact_average_of_the_batches(tiny_space) -> None:
    subnet = BlockSupernet(tiny_space, 8, seed=1).double().extract((0, 1, 0))
    batches = [images(tiny_space, seed) for seed in range(5)]
    norms = {name: module for name, module in subnet.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert len(norms) == 10
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in norms}
    hooks = [
        norm.register_forward_hook(lambda _, inputs, __, name=name: seen[name].append(inputs[0].detach()))
        for name, norm in norms.items()
    ]
    subnet(images(tiny_space, 99) * 50)  # what the running statistics held before must not matter
    for inputs in seen.values():
        inputs.clear()
    for batch in batches:
        subnet(batch)
    for hook in hooks:
        hook.remove()
    recalibrate_batch_norm(subnet, batches)
    for name, norm in norms.items():
        means = torch.stack([inputs.mean((0, 2, 3)) for inputs in seen[name]])
        variances = torch.stack([inputs.var((0, 2, 3), unbiased=True) for inputs in seen[name]])
        torch.testing.assert_close(norm.running_mean, means.mean(0), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(norm.running_var, variances.mean(0), rtol=1e-10, atol=1e-10)
        assert norm.momentum == 0.1
    assert not subnet.training
    assert all(parameter.grad is None for parameter in subnet.parameters())


def test_recalibrated_subnet_does_not_depend_on_its_batch(tiny_space) -> None:
    subnet = BlockSupernet(tiny_space, 8, seed=1).double().extract((0, 1, 0))
    batch = images(tiny_space)
    recalibrate_batch_norm(subnet.eval(), iter([batch]))
    torch.testing.assert_close(subnet(batch)[:1], subnet(batch[:1]), rtol=1e-10, atol=1e-10)


def test_recalibration_needs_a_batch(tiny_space) -> None:
    with pytest.raises(ConfigError, match="at least one batch, got none"):
        recalibrate_batch_norm(build_subnet(tiny_space, (0, 0, 0)), [])


def test_weights_that_depend_on_the_normalisation_are_told(tiny_space) -> None:
    supernet = BlockSupernet(tiny_space, 8, seed=1)
    block = supernet.block(0, 0)
    assert isinstance(block, nn.Sequential)
    block.append(nn.Conv2d(8, 8, 1))
    with pytest.raises(ConfigError, match=r"blocks\.0\.3\.weight"):
        supernet.extract((0, 0, 0))


def test_an_unknown_description_is_refused() -> None:
    with pytest.raises(ConfigError, match="no module is known for the block type str"):
        build_block("mb3_k3", nn.BatchNorm2d)
