import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from multinas_ray.errors import StateError, UnreadableError
from multinas_ray.storage import read_plain, write_atomic, write_plain
from multinas_ray.storage.plain import DTYPES, decode_plain, encode_plain

arrays = hnp.arrays(
    dtype=st.sampled_from([np.dtype(name) for name in DTYPES]),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


@settings(deadline=None)
@given(arrays)
def test_arrays_come_back_bit_for_bit(array):
    back = decode_plain(encode_plain({"a": array}))["a"]
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@settings(deadline=None)
@given(st.floats(allow_nan=True, allow_infinity=True))
def test_floats_come_back_bit_for_bit(number):
    back = decode_plain(encode_plain(number))
    assert type(back) is float
    assert struct.pack(">d", back) == struct.pack(">d", number)


def test_nan_payloads_and_minus_zero_survive():
    bits = np.array([0x7FF8DEADBEEF0001, 0xFFF0000000000001, 0x8000000000000000, 1], dtype=np.uint64)
    array = bits.view(np.float64)
    text = encode_plain([array, *array.tolist()])
    back = decode_plain(text)
    np.testing.assert_array_equal(back[0].view(np.uint64), bits)
    # the second NaN is a signalling one; some processors quieten it when it passes as a plain float
    assert [struct.pack(">d", value) for value in back[1:]] == [struct.pack(">d", v) for v in array.tolist()]


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text().filter(lambda key: not key.startswith("__")), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(plain_values)
def test_nested_values_come_back_with_their_types(value):
    back = decode_plain(encode_plain(value))
    assert back == value
    assert repr(back) == repr(value)  # 1 and 1.0, True and 1 are equal but not the same


def test_generator_states_continue_the_same_stream():
    generator = np.random.default_rng(2**100)
    generator.random(7)
    state = decode_plain(encode_plain(generator.bit_generator.state))
    assert state["state"]["state"] > 2**64
    other = np.random.default_rng()
    other.bit_generator.state = state
    np.testing.assert_array_equal(other.random(5), generator.random(5))


def test_other_byte_orders_and_strides_are_written_by_value():
    array = np.arange(12, dtype=">i4").reshape(3, 4)[::-1, ::2]
    back = decode_plain(encode_plain(array))
    assert back.dtype == np.dtype("int32")
    np.testing.assert_array_equal(back, array)


def test_decoded_arrays_are_writable_and_own_their_memory():
    back = decode_plain(encode_plain(np.zeros(3)))
    back[0] = 1
    assert back.flags.owndata or back.base.flags.owndata


def test_tuples_become_lists_and_numpy_scalars_numbers():
    value = decode_plain(encode_plain({"t": (1, (2,)), "f": np.float32(0.1), "i": np.int64(3), "b": np.True_}))
    assert value == {"t": [1, [2]], "f": float(np.float32(0.1)), "i": 3, "b": True}
    assert type(value["i"]) is int


def test_the_text_is_strict_json():
    def refuse(name):
        raise AssertionError(name)

    json.loads(encode_plain([float("nan"), float("inf"), np.array([np.nan])]), parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": {1: 2}}, r"value\['a'\] has the key 1: keys are strings"),
        ({"__array__": 1}, "has the key '__array__'"),
        ([1, {2}], r"value\[1\] is a set, not plain data"),
        (b"bytes", "value is a bytes, not plain data"),
        (1j, "value is a complex"),
        (np.array(["a"]), "is an array of str32: use one of bool, int8"),
        (np.array([None]), "is an array of object: use one of"),
        (np.array([1j]), "is an array of complex128"),
    ],
)
def test_other_values_are_refused_with_their_place(value, text):
    with pytest.raises(StateError, match=text):
        encode_plain(value)


def test_a_value_that_holds_itself_is_refused():
    value: list[object] = []
    value.append(value)
    with pytest.raises(StateError, match="nested deeper than 100 levels"):
        encode_plain(value)


GOOD = {"__array__": "int16", "shape": [2], "data": "AQACAA=="}


def test_the_example_of_the_format_is_read():
    np.testing.assert_array_equal(decode_plain(json.dumps(GOOD)), [1, 2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        ("[NaN]", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("[" * 200_000, "it is not JSON"),
        ('{"a": 1, "a": 2}', "a key occurs twice"),
        ('{"__reduce__": "os.system"}', "unknown marker '__reduce__'"),
        (b"\xff\xfe\x00", "it is not JSON"),
        ('{"__float__": "nan"}', "damaged float"),
        ('{"__float__": "zzzzzzzzzzzzzzzz"}', "damaged float"),
        ('{"__float__": 1}', "damaged float"),
        ('{"__float__": "7ff8000000000000", "x": 1}', "damaged float"),
        (json.dumps({**GOOD, "__array__": "object"}), "an array of type 'object' is refused"),
        (json.dumps({**GOOD, "__array__": "O"}), "an array of type 'O' is refused"),
        (json.dumps({**GOOD, "__array__": ["int16"]}), "is refused"),
        (json.dumps({**GOOD, "shape": [3]}), r"shape \[3\] of int16 needs 6 bytes, there are 4"),
        (json.dumps({**GOOD, "shape": [-2]}), r"shape \[-2\] is not a list of sizes"),
        (json.dumps({**GOOD, "shape": [True, 2]}), "is not a list of sizes"),
        (json.dumps({**GOOD, "shape": [2.0]}), "is not a list of sizes"),
        (json.dumps({**GOOD, "shape": 2}), "is not a list of sizes"),
        (json.dumps({**GOOD, "shape": [0, 10**30], "data": ""}), "is not a list of sizes"),
        (json.dumps({**GOOD, "shape": [1] * 33}), "is not a list of sizes"),
        (json.dumps({**GOOD, "shape": [10**9, 10**9]}), "needs"),
        (json.dumps({**GOOD, "data": "AQACAA="}), "its data is not base64"),
        (json.dumps({**GOOD, "data": "AQ AC AA=="}), "its data is not base64"),
        (json.dumps({**GOOD, "data": 5}), "its data is not text"),
        (json.dumps({**GOOD, "extra": 1}), "its keys are"),
        ('{"__array__": "int16"}', "its keys are"),
        ('{"__array__": "bool", "shape": [1], "data": "Ag=="}', "a bool is neither 0 nor 1"),
    ],
)
def test_hostile_text_is_refused(text, message):
    with pytest.raises(StateError, match=message):
        decode_plain(text)


def test_plain_data_lies_in_a_file_of_its_own_whose_damage_is_told_by_name(folder):
    write_plain(folder.join("a.json"), {"a": [1, np.arange(3)]}, indent=2)
    back = read_plain(folder.join("a.json"))
    assert back["a"][0] == 1
    np.testing.assert_array_equal(back["a"][1], np.arange(3))
    with pytest.raises(UnreadableError, match=r"b.json cannot be read \(it is missing\): check the path"):
        read_plain(folder.join("b.json"))
    for content in (b"", b"{", b'{"a": NaN}', b"\xff", b"[" * 100_000):
        write_atomic(folder.join("a.json"), content)
        with pytest.raises(StateError, match=r"a.json is damaged .*: restore a copy"):
            read_plain(folder.join("a.json"))


def test_text_that_is_not_utf8_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(StateError, match=r"a text in the data cannot be written in UTF-8 \(.*\): give another text"):
        write_plain(tmp_path / "a.json", {"name": "\udcff"})
    assert list(tmp_path.iterdir()) == []
