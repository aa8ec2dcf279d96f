"""Equivalent encodings, by brute force over whole spaces."""

import numpy as np
import pytest

from multinas_ray.spaces import (
    Block,
    ConvLayer,
    Head,
    NetworkSpace,
    Position,
    cifar10_mobile_space,
    mbconv,
    nas_bench_macro_space,
    skip,
)


def built(space, row):
    """What the architecture builds: its blocks, without identities."""
    blocks = [position.blocks[index] for position, index in zip(space.positions, row, strict=True)]
    return tuple((block.layers, block.residual) for block in blocks if block.layers)


def small_space():
    """Two runs, a position without an identity between them, and one alone with an identity of its own."""
    repeated = (mbconv(8, 8, 3, 2), skip(), mbconv(8, 8, 5, 2))
    return NetworkSpace(
        name="small",
        input_shape=(1, 8, 8),
        stem=Block("stem", (ConvLayer(1, 8),)),
        positions=(
            Position("a", repeated),
            Position("b", repeated),
            Position("c", (mbconv(8, 8, 3, 3), mbconv(8, 8, 5, 3))),
            Position("d", repeated),
            Position("e", repeated),
            Position("f", repeated),
            Position("g", (skip(), mbconv(8, 8, 3, 4))),
        ),
        head=Head(8, 4),
    )


@pytest.mark.parametrize("space", [small_space(), nas_bench_macro_space(width_multiplier=0.5, image_size=16)])
def test_equal_canonical_encodings_are_equal_networks(space):
    rows = space.search_space.enumerate()
    equivalence = space.equivalence
    canonical = equivalence.canonical(rows)
    networks = [built(space, row) for row in rows.tolist()]
    assert networks == [built(space, row) for row in canonical.tolist()]
    encodings = list(map(tuple, canonical.tolist()))
    assert len(set(encodings)) == len(set(networks)) == equivalence.num_networks
    assert len(set(zip(encodings, networks, strict=True))) == equivalence.num_networks
    assert (equivalence.canonical(canonical) == canonical).all()


def test_nas_bench_macros_6561_encodings_are_3969_networks():
    equivalence = nas_bench_macro_space().equivalence
    assert equivalence.num_networks == 3969
    rows = nas_bench_macro_space().search_space.enumerate()
    assert len(rows) == 6561
    assert len(np.unique(equivalence.canonical(rows), axis=0)) == 3969


def test_every_cost_that_is_a_sum_over_blocks_stays():
    space = cifar10_mobile_space()
    rows = space.search_space.random(500, np.random.default_rng(0))
    canonical = space.equivalence.canonical(rows)
    assert (canonical != rows).any()
    for cost in space.costs.values():
        assert (cost(rows) == cost(canonical)).all()


def test_a_space_without_identities_has_nothing_to_move():
    space = NetworkSpace(
        name="plain",
        input_shape=(1, 8, 8),
        stem=Block("stem", (ConvLayer(1, 8),)),
        positions=tuple(Position(name, (mbconv(8, 8, 3, 2), mbconv(8, 8, 5, 2))) for name in "ab"),
        head=Head(8, 4),
    )
    equivalence = space.equivalence
    assert equivalence.runs == ()
    assert equivalence.num_networks == 4


def test_skips_are_identities_and_linear_1x1_convolutions_in_their_place():
    space = nas_bench_macro_space(width_multiplier=0.5, image_size=16)
    assert space.skips_DC.tolist() == [[True, False, False]] * 8
    mobile = cifar10_mobile_space().skips_DC
    assert [mobile[d, c] for d, c in enumerate(mobile.argmax(axis=1))].count(True) > 5
    assert not mobile[0].any()
    blocks = (
        Block("conv", (ConvLayer(4, 4, 1),)),  # has an activation
        Block("large", (ConvLayer(4, 4, 3, activation=None),)),
        Block("linear", (ConvLayer(4, 4, 1, activation=None),)),
        Block("two", (ConvLayer(4, 4, 1, activation=None), ConvLayer(4, 4, 1, activation=None))),
    )
    stem = Block("stem", (ConvLayer(3, 4),))
    own = NetworkSpace("own", (3, 8, 8), stem, (Position("p", blocks), Position("q", blocks[:2])), Head(4, 2))
    assert own.skips_DC.tolist() == [[False, False, True, False], [False] * 4]
