import numpy as np
import pytest
import torch
from torch import nn

from multinas_ray.errors import ConfigError
from multinas_ray.spaces import Block, ConvLayer, Head, NetworkSpace, Position, elastic_blocks, mbconv, skip
from multinas_ray.supernets import (
    BlockSupernet,
    Separate,
    recalibrate_batch_norm,
    sample_scores,
)
from multinas_ray.tasks import Scorer, Task

ELASTIC = NetworkSpace(
    name="elastic",
    input_shape=(3, 6, 6),
    stem=Block("stem", (ConvLayer(3, 8, 3),)),
    positions=(
        Position("first", (*elastic_blocks((mbconv(8, 8, 3, 2), mbconv(8, 8, 3, 4))), skip())),
        Position("second", (mbconv(8, 8, 3, 2), skip())),
    ),
    head=Head(8, 5),
)

SCORER = Scorer(Task())


def images(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, 3, 6, 6, generator=generator) + seed


def labelled(seeds):
    return [(images(seed), torch.arange(8) % 5) for seed in seeds]


@pytest.mark.parametrize("space_name", ["tiny", "elastic"])
def test_each_network_has_the_statistics_and_the_scores_that_it_has_alone(space_name, tiny_space) -> None:
    space = tiny_space if space_name == "tiny" else ELASTIC
    supernet = BlockSupernet(space, 8, seed=1)
    rows = space.search_space.enumerate()
    batches = [images(seed) for seed in range(3)]
    tree = supernet.together(rows)
    recalibrate_batch_norm(tree, batches)
    losses, metrics = sample_scores(tree, labelled((5, 6)), SCORER)
    assert losses.shape == (len(rows), 16)
    for row, losses_of, metrics_of in zip(rows, losses, metrics, strict=True):
        subnet = supernet.extract(row)
        recalibrate_batch_norm(subnet, batches)
        alone = sample_scores(Separate([subnet]), labelled((5, 6)), SCORER)
        assert losses_of.tolist() == alone[0][0].tolist()
        assert metrics_of == alone[1][0]


def test_equal_beginnings_are_computed_once_and_different_ones_have_statistics_of_their_own(tiny_space) -> None:
    rows = [(0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 1), (0, 0, 0)]
    tree = BlockSupernet(tiny_space, 8, seed=1).together(rows)
    calls: list[str] = []
    for name, node in tree.nodes.items():
        node.register_forward_hook(lambda *_, name=name: calls.append(name))
    recalibrate_batch_norm(tree, [images(0)])
    assert sorted(calls) == sorted(set(calls))
    assert len(calls) == 1 + 2 + 3 + 4 + 4  # stem, the prefixes of one, two and three blocks, heads
    statistics = [
        dict(tree.nodes[f"3-{name}"].named_buffers())["0.norm.running_mean"] for name in ("0-0-1", "0-1-1", "1-1-1")
    ]
    assert not torch.equal(statistics[0], statistics[1])
    assert not torch.equal(statistics[1], statistics[2])


def test_the_weights_are_those_of_the_supernet_and_stay_as_they_are(tiny_space) -> None:
    supernet = BlockSupernet(tiny_space, 8, seed=1)
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    state = torch.get_rng_state()
    tree = supernet.together([(0, 1, 0), (1, 1, 0)])
    recalibrate_batch_norm(tree, [images(0)])
    assert torch.equal(torch.get_rng_state(), state)
    addresses = {each.data_ptr() for each in supernet.parameters()}
    assert {each.data_ptr() for each in tree.parameters()} <= addresses
    for key, value in supernet.state_dict().items():
        assert torch.equal(value, before[key])


def test_the_dtype_is_that_of_the_supernet(tiny_space) -> None:
    tree = BlockSupernet(tiny_space, 8, seed=1).double().together([(0, 1, 0)])
    recalibrate_batch_norm(tree, [images(0).double()])
    assert tree(images(1).double()).dtype == torch.float64


def test_no_networks_and_foreign_ones_are_refused(tiny_space) -> None:
    supernet = BlockSupernet(tiny_space, 8, seed=1)
    with pytest.raises(ConfigError, match="at least one architecture"):
        supernet.together(np.zeros((0, 3), dtype=np.int64))
    with pytest.raises(ConfigError):
        supernet.together([(0, 9, 0)])


def test_a_block_that_depends_on_its_normalisation_is_refused(tiny_space) -> None:
    supernet = BlockSupernet(tiny_space, 8, seed=1)
    supernet.stem.register_parameter("own", nn.Parameter(torch.zeros(1)))
    with pytest.raises(ConfigError, match="the same weights for every normalisation"):
        supernet.together([(0, 1, 0)])
