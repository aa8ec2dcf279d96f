import math
from typing import Any

import pytest
import yaml

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.storage import read_yaml, write_yaml

VALUES = {
    "nothing": None,
    "truth": [True, False],
    "whole": [0, -3, 10**30],
    "numbers": [0.1, 1e-5, 4e-05, -2.5e30, math.inf, -math.inf, 0.0],
    "texts": [
        "",
        "no",
        "yes",
        "null",
        "~",
        "true",
        "1e-4",
        "4:8",
        "010",
        "0x1f",
        "1.5",
        ".inf",
        "a: b",
        "# c",
        "é",
        "x\n",
    ],
    "nested": {"list": [], "mapping": {}, "deep": [{"a": [1, {"b": None}]}]},
    "long": "word " * 60,
}


def test_what_is_written_is_read_again(tmp_path):
    write_yaml(tmp_path / "a.yaml", VALUES, comment="two\nlines")
    assert read_yaml(tmp_path / "a.yaml") == VALUES
    assert (tmp_path / "a.yaml").read_text().startswith("# two\n# lines\nnothing:")


def test_readers_of_yaml_1_1_read_the_same(tmp_path):
    write_yaml(tmp_path / "a.yaml", VALUES)
    assert yaml.safe_load((tmp_path / "a.yaml").read_text()) == VALUES


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E6", 1e6),
        ("2.", 2.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("010", 10),
        ("0o10", 8),
        ("0x10", 16),
        ("+3", 3),
        ("true", True),
        ("no", "no"),
        ("on", "on"),
        ("4:8", "4:8"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("", None),
        ("[1, 2e3]", [1, 2e3]),
        ("&a [1]", [1]),
    ],
)
def test_values_are_those_of_yaml_1_2(tmp_path, text, value):
    (tmp_path / "a.yaml").write_text(f"key: {text}\n")
    read: Any = read_yaml(tmp_path / "a.yaml")["key"]
    assert read == value
    assert type(read) is type(value)


def test_an_empty_file_changes_nothing(tmp_path):
    (tmp_path / "a.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "a.yaml") == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1, 2\nb: 3", "in line 2, column 2"),
        ("a: 1\na: 2", "the key a occurs twice in line 2, column 1"),
        ("a: {b: 1, b: 2}", "the key b occurs twice"),
        ("1: 2", "the key 1 is not text"),
        ("- a\n- b", "must hold settings as `name: value`, one per line; it holds list"),
        ("text", "it holds str"),
        ("a: !!python/object:os.system 1", "could not determine a constructor for the tag"),
        ("a: !!binary aGVsbG8=", "could not determine a constructor for the tag"),
        ("a: !!set {x, y}", "could not determine a constructor for the tag"),
        ("a: !!timestamp 2026-01-01", "in line 1, column 4"),
        ("a: &x [*x]", "is not readable as YAML"),
        ("a: *x", "undefined alias"),
        ("\tb: 1", "cannot start any token"),
        ("[" * 5000, "is not readable as YAML"),
    ],
)
def test_a_bad_file_is_told_in_one_line(tmp_path, text, told):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_yaml(tmp_path / "bad.yaml")
    assert str(raised.value).startswith(f"{tmp_path / 'bad.yaml'} ")
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_bytes_that_are_no_text_are_told(tmp_path):
    (tmp_path / "bad.yaml").write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match="is not readable as YAML: 'utf-8' codec"):
        read_yaml(tmp_path / "bad.yaml")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(StateError, match=r"none.yaml cannot be read"):
        read_yaml(tmp_path / "none.yaml")
