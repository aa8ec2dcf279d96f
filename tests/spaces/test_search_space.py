import re

import numpy as np
import pytest

from multinas_ray.errors import ConfigError
from multinas_ray.spaces import SearchSpace, Variable

SPACE = SearchSpace(
    (
        Variable("kernel", (3, 5, 7)),
        Variable("activation", ("relu", "swish")),
        Variable("widths", ([16, 32], [32, 64])),  # labels need not be hashable
    )
)


def test_counts() -> None:
    assert SPACE.num_categories == (3, 2, 2)
    assert SPACE.num_variables == 3
    assert SPACE.num_architectures == 12


def test_num_architectures_is_exact_beyond_64_bits() -> None:
    space = SearchSpace(tuple(Variable(f"v{i}", tuple(range(7))) for i in range(40)))
    assert space.num_architectures == 7**40


def test_enumerate_lists_every_architecture_once_in_lexicographic_order() -> None:
    rows = [tuple(row) for row in SPACE.enumerate().tolist()]
    assert rows == sorted({(a, b, c) for a in range(3) for b in range(2) for c in range(2)})


def test_encode_inverts_decode_on_the_whole_space() -> None:
    for row in SPACE.enumerate():
        assert SPACE.encode(SPACE.decode(row)) == tuple(row)


def test_decode_gives_labels_by_name() -> None:
    assert SPACE.decode((2, 0, 1)) == {"kernel": 7, "activation": "relu", "widths": [32, 64]}


def test_encode_takes_any_order_of_names() -> None:
    assert SPACE.encode({"widths": [16, 32], "kernel": 5, "activation": "swish"}) == (1, 1, 0)


def test_describe_lists_labels() -> None:
    assert SPACE.describe([1, 0, 0]) == '5 relu "[16, 32]"'


def test_random_draws_uniformly() -> None:
    # 6,000 draws with seed 0; chi-square with 2 degrees of freedom is below 13.82 with probability 0.999.
    rows = SPACE.random(6000, np.random.default_rng(0))
    assert rows.shape == (6000, 3)
    counts = np.bincount(rows[:, 0], minlength=3)
    assert ((counts - 2000) ** 2 / 2000).sum() < 13.82
    assert set(rows[:, 1].tolist()) == {0, 1}


def test_random_is_a_function_of_the_generator() -> None:
    first, second, other = (SPACE.random(50, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (first == second).all()
    assert (first != other).any()


def test_check_returns_int64_rows_and_takes_none() -> None:
    checked = SPACE.check(np.array([[2, 1, 0]], dtype=np.uint8))
    assert checked.dtype == np.int64
    assert checked.tolist() == [[2, 1, 0]]
    assert SPACE.check(np.empty((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Variable("kernel", ()), "variable 'kernel' has none: give it choices"),
        (lambda: Variable("kernel", (3, 5, 3)), "variable 'kernel' has 3 at 0 and 2: rename or remove"),
        (lambda: SearchSpace(()), "must have at least one variable"),
        (
            lambda: SearchSpace((Variable("a", (1,)), Variable("b", (1,)), Variable("a", (2,)))),
            "'a' is the name of variables 0 and 2: rename one",
        ),
        (
            lambda: SPACE.encode({"kernel": 9, "activation": "relu", "widths": [16, 32]}),
            "use one of [3, 5, 7]",
        ),
        (
            lambda: SPACE.encode({"kernel": 3, "depth": 1}),
            "missing ['activation', 'widths'], unknown ['depth']",
        ),
        (lambda: SPACE.decode([0, 0]), "the shape (N, 3), one index for each variable, got (1, 2)"),
        (lambda: SPACE.check([0, 0, 0]), "got (3,)"),
        (lambda: SPACE.check([[0, 0, 0], [0, 0]]), "rows of equal length"),
        (
            lambda: SPACE.check([[0, 0, 0], [0, 2, 0]]),
            "index 2 of architecture 1 is out of range: variable 'activation'",
        ),
        (lambda: SPACE.check([[-1, 0, 0]]), "index -1 of architecture 0 is out of range: variable 'kernel'"),
        (lambda: SPACE.check([[0.0, 1.0, 0.0]]), "got float64: use encode() for labels"),
        (lambda: SPACE.check([["3", "relu", "x"]]), "architectures must be integers"),
        (lambda: SPACE.enumerate(max_architectures=11), "at most max_architectures=11 architectures, this one has 12"),
    ],
)
def test_errors_name_rule_value_and_remedy(make, text) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        make()
