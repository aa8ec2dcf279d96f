"""What untrained networks promise, by hand and against NumPy."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from multinas_ray.errors import ConfigError
from multinas_ray.selection import PriorPart, check_prior, make_parts, prior_weight, register_prior
from multinas_ray.selection.naswot import NUM_IMAGES, Naswot
from multinas_ray.spaces import Block, ConvLayer, Head, NetworkSpace, Position, nas_bench_macro_space, skip
from multinas_ray.supernets import BlockSupernet

MACRO = nas_bench_macro_space(width_multiplier=0.5, image_size=16)
PLAIN = NetworkSpace(
    name="plain",
    input_shape=(3, 4, 4),
    stem=Block("stem", (ConvLayer(3, 5),)),
    positions=tuple(
        Position(f"p{d}", (skip(), Block("conv", (ConvLayer(5, 5),)), Block("two", (ConvLayer(5, 5), ConvLayer(5, 5)))))
        for d in range(3)
    ),
    head=Head(in_channels=5, num_classes=2),
)


def part(name, space=MACRO):
    return make_parts([name], space)[0]


def test_depths_by_hand():
    """Positions 0, 2 and 5 begin stages; the identity is 0. Of (0, 0, 0, 0, 2, ...) the block moves to position 3."""
    rows = np.array([[0, 0, 0, 0, 0, 0, 0, 0], [1, 0, 2, 0, 0, 0, 0, 1], [0, 0, 0, 0, 2, 0, 0, 0], [2] * 8])
    assert part("depth")(rows).tolist() == [0.0, 3.0, 1.0, 8.0]
    expected = [0.0, (8 + 6 + 2) / 8, 5 / 8, 36 / 8]  # the last block of row 1 moves to position 6
    assert part("early_depth")(rows).tolist() == expected


def test_naswot_is_that_of_numpy():
    """Convolution, normalisation by the batch and codes of each layer are computed here from the weights."""
    naswot = Naswot(PLAIN)
    rows = np.array([[1, 0, 2], [0, 0, 0], [2, 2, 1], [1, 0, 1]])
    figures = naswot(rows)
    for row, figure in zip(rows.tolist(), figures, strict=True):
        features, kernel = naswot._inputs.numpy().astype(np.float64), np.zeros((NUM_IMAGES, NUM_IMAGES))
        blocks = [naswot._supernet.stem, *(naswot._supernet.block(d, index) for d, index in enumerate(row))]
        for conv in [each for block in blocks for each in block.modules() if isinstance(each, nn.Conv2d)]:
            weight = conv.weight.detach().numpy()[:, :, 0, 0].astype(np.float64)
            features = np.einsum("oc,bchw->bohw", weight, features)
            features -= features.mean(axis=(0, 2, 3), keepdims=True)
            codes = (features > 0).reshape(NUM_IMAGES, -1).astype(np.float64)
            kernel += codes @ codes.T + (1 - codes) @ (1 - codes).T
            features = np.maximum(features / np.sqrt(features.var(axis=(0, 2, 3), keepdims=True) + 1e-5), 0)
        assert figure == pytest.approx(np.linalg.slogdet(kernel)[1], rel=1e-6)
    assert len(set(figures.tolist())) == 4


def test_naswot_of_a_network_does_not_depend_on_its_company():
    rows = MACRO.search_space.random(12, np.random.default_rng(0))
    together, naswot = part("naswot")(rows), part("naswot")
    alone = [float(naswot(row[None])[0]) for row in rows]
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    assert np.isfinite(together).all()


def test_naswot_leaves_the_global_generator_as_it_was():
    before = torch.get_rng_state()
    part("naswot", PLAIN)(np.array([[0, 1, 2]]))
    assert torch.equal(before, torch.get_rng_state())


def test_without_activation_modules_naswot_says_nothing(monkeypatch):
    monkeypatch.setattr("multinas_ray.selection.naswot.ACTIVATIONS", (nn.GELU,))
    assert part("naswot", PLAIN)(np.array([[0, 1, 2], [1, 1, 1]])).tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize(("steps", "weight"), [(0, 1.0), (780, 1.0), (1000, 1.0), (4000, 0.5), (100_000, 0.1)])
def test_the_prior_counts_less_the_longer_the_weights_were_trained(steps, weight):
    assert prior_weight(steps) == pytest.approx(weight)


def test_a_part_of_ones_own_is_known_by_its_name():
    @register_prior
    class Sum(PriorPart):
        name: ClassVar[str] = "sum_of_indices"

        def __call__(self, architectures_ND):
            return architectures_ND.sum(axis=1).astype(np.float64)

    check_prior(["sum_of_indices", "depth"])
    assert part("sum_of_indices")(np.array([[1, 2], [0, 1]])).tolist() == [3.0, 1.0]


def test_unknown_parts_and_repeated_ones_are_told():
    with pytest.raises(ConfigError, match="no part of a prior is registered by the name 'zen'; known are depth, early"):
        check_prior(["depth", "zen"])
    with pytest.raises(ConfigError, match="prior must name each part once, got depth, depth"):
        check_prior(["depth", "depth"])


def test_the_untrained_supernet_has_no_trace_of_naswots_hooks():
    """Another supernet of the same space computes as before."""
    images, rows = torch.zeros(4, 3, 4, 4), np.array([[1, 2, 0]])
    plain = BlockSupernet(PLAIN, norm_batch_size=4, seed=0)
    before = plain(images, rows)
    Naswot(PLAIN)(rows)
    assert torch.equal(before, plain(images, rows))
