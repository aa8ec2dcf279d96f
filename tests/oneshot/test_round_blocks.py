import pytest

from multinas_ray.oneshot.round_blocks import MAX_BLOCKS, MIN_ROUNDS_PER_BLOCK, cut_rounds


def rounds_of(blocks):
    return [number for block in blocks for number in range(block.start, block.stop)]


@pytest.mark.parametrize("num_rounds", [1, 15, 16, 17, 800, 3200, 3201, 12_345])
@pytest.mark.parametrize("rounds_per_block", [None, 1, 7, 16])
def test_blocks_hold_every_round_once_and_in_order(num_rounds, rounds_per_block):
    blocks = cut_rounds(0, num_rounds, rounds_per_block)
    assert rounds_of(blocks) == list(range(num_rounds))
    assert [block.number for block in blocks] == list(range(len(blocks)))


@pytest.mark.parametrize("first_round", [0, 1, 15, 16, 17, 99])
def test_a_resumed_session_keeps_the_numbers_and_ends_of_the_blocks(first_round):
    whole, rest = cut_rounds(0, 100, 16), cut_rounds(first_round, 100, 16)
    assert rounds_of(rest) == list(range(first_round, 100))
    stop_of = {block.number: block.stop for block in whole}
    assert all(stop_of[block.number] == block.stop for block in rest)
    assert all(block.start == block.number * 16 for block in rest[1:])


@pytest.mark.parametrize("first_round", [100, 112])
def test_nothing_is_left_of_a_search_whose_rounds_are_all_done(first_round):
    assert cut_rounds(first_round, 100, 16) == []


@pytest.mark.parametrize("num_rounds", [100, 3199, 3200, 3201, 100_000, 1_234_567])
def test_by_default_there_are_few_blocks_and_none_is_short(num_rounds):
    blocks = cut_rounds(0, num_rounds)
    assert len(blocks) <= MAX_BLOCKS
    assert all(block.stop - block.start >= MIN_ROUNDS_PER_BLOCK for block in blocks[:-1])


def test_by_default_a_block_is_as_short_as_the_limits_allow():
    assert cut_rounds(0, 3200)[0].stop == MIN_ROUNDS_PER_BLOCK
    assert len(cut_rounds(0, 100_000)) == MAX_BLOCKS
