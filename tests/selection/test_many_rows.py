"""Work on many architectures gives what numpy gives of all at once."""

import numpy as np
import pytest

from multinas_ray.selection import many_rows
from multinas_ray.selection.many_rows import different_rows, in_parts, rising, row_keys


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(many_rows, "AT_ONCE", 7)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64])
@pytest.mark.parametrize("most", [2, 100])
def test_different_rows_are_those_of_numpy_in_its_order(dtype, most):
    rows_ND = np.random.default_rng(0).integers(0, most, (200, 3)).astype(dtype)
    wanted_AD, place_N = np.unique(rows_ND, axis=0, return_inverse=True)
    found_AD, found_N = different_rows(rows_ND)
    np.testing.assert_array_equal(found_AD, wanted_AD)
    np.testing.assert_array_equal(found_N, place_N.reshape(-1))
    np.testing.assert_array_equal(np.concatenate(list(in_parts(rows_ND))), rows_ND)
    assert np.all(np.diff(np.searchsorted(row_keys(found_AD), row_keys(found_AD))) == 1)


def test_numbers_of_several_bytes_sort_as_numbers():
    rows_ND = np.array([[256, 0], [1, 300], [255, 7], [1, 2]], dtype=np.int16)
    assert different_rows(rows_ND)[0].tolist() == [[1, 2], [1, 300], [255, 7], [256, 0]]


@pytest.mark.parametrize("size", [0, 1, 6, 7, 8, 500])
def test_rising_values_come_in_the_order_of_a_sort(size):
    rng = np.random.default_rng(1)
    values_N, then_N = rng.integers(0, 5, size).astype(float), rng.integers(0, 3, size).astype(float)
    found = list(rising(values_N, then_N))
    assert [place for part in found for place in part] == np.lexsort((then_N, values_N)).tolist()
    assert len(found) <= 1 or size > 7
    assert len(found) > 2 or size < 500


def test_values_without_an_order_end_too():
    parts = rising(np.full(20, np.nan), np.zeros(20))
    assert sorted(place for part in parts for place in part) == list(range(20))
