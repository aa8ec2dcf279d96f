"""No other package renames, syncs, opens an object store, takes a URI apart, or reads and writes Parquet by itself."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STORAGE = ROOT / "multinas_ray" / "storage"
ALONE = ROOT / "multinas_ray" / "latency" / "measure.py"
"""It is copied to devices where this package is not."""
_SYSTEM = {"os", "shutil"}
_OF_THE_SYSTEM = {"replace", "rename", "renames", "link", "fsync", "fdatasync", "sync", "move"}
_OF_A_PATH = {"rename", "hardlink_to", "replace"}
_OF_PYARROW = {"fs", "parquet", "dataset", "from_uri", "FileSystem", "LocalFileSystem", "S3FileSystem", "GcsFileSystem"}


def breaches(source):
    """Lines of a source text that do what only the storage does, with what they do."""
    found = []
    for node in ast.walk(ast.parse(source)):
        name = _breach(node)
        if name is not None:
            assert isinstance(node, ast.stmt | ast.expr | ast.alias)
            found.append((node.lineno, name))
    return sorted(found)


def _breach(node):
    if isinstance(node, ast.ImportFrom):
        module = node.module or ""
        if module.split(".")[0] == "pyarrow":
            names = {*module.split("."), *(each.name for each in node.names)} & _OF_PYARROW
        elif module in _SYSTEM:
            names = {each.name for each in node.names} & _OF_THE_SYSTEM
        else:
            names = {each.name for each in node.names} & {"fsspec"} | ({module} & {"fsspec"})
        return f"import {min(names)}" if names else None
    if isinstance(node, ast.Import):
        names = {each.name for each in node.names if each.name.split(".")[0] == "fsspec"}
        names |= {each.name for each in node.names if set(each.name.split(".")[1:]) & _OF_PYARROW}
        return f"import {min(names)}" if names else None
    if isinstance(node, ast.Constant) and node.value == "://":
        return '"://"'
    return _call(node) if isinstance(node, ast.Call) else None


def _call(node):
    if not isinstance(node.func, ast.Attribute):
        return None
    name, owner = node.func.attr, node.func.value
    if isinstance(owner, ast.Name) and owner.id in _SYSTEM:
        return f"{owner.id}.{name}" if name in _OF_THE_SYSTEM else None
    is_storage = isinstance(owner, ast.Name) and owner.id == "storage"
    # text.replace takes two arguments, dataclasses.replace and DataFrame.rename take keywords
    is_of_a_path = name in _OF_A_PATH and len(node.args) == 1 and not node.keywords
    if is_of_a_path or (name in {"from_uri", "to_parquet", "read_parquet"} and not is_storage):
        return f".{name}"
    return None


def test_only_the_storage_renames_syncs_and_opens_object_stores():
    found = []
    for path in [*(ROOT / "multinas_ray").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")]:
        if STORAGE not in path.parents and path != ALONE:
            found += [f"{path.relative_to(ROOT)}:{line}: {what}" for line, what in breaches(path.read_text())]
    assert found == []


def test_the_storage_does_all_of_it_and_is_found_out():
    found = {what for path in STORAGE.glob("*.py") for _, what in breaches(path.read_text())}
    assert found >= {
        "os.fsync",
        ".replace",
        ".rename",
        ".hardlink_to",
        "import fs",
        "import pyarrow.parquet",
        ".from_uri",
    }


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import os\nos.replace(a, b)", "os.replace"),
        ("import shutil\nshutil.move(a, b)", "shutil.move"),
        ("from os import fsync", "import fsync"),
        ("\nPath(a).rename(b)", ".rename"),
        ("\nfile.replace(b)", ".replace"),
        ("\nimport pyarrow.fs", "import pyarrow.fs"),
        ("\nfrom pyarrow import fs as pafs", "import fs"),
        ("\nfrom pyarrow.fs import FileSystem", "import FileSystem"),
        ("\nimport pyarrow.parquet as pq", "import pyarrow.parquet"),
        ("\npd.read_parquet(a)", ".read_parquet"),
        ("\nframe.to_parquet(a)", ".to_parquet"),
        ('\n"://" in path', '"://"'),
        ("\nimport fsspec", "import fsspec"),
    ],
)
def test_each_breach_is_found(source, what):
    assert breaches(source) == [(2 if "\n" in source else 1, what)]


def test_what_only_looks_like_one_is_not():
    source = """
text.replace("a", "b")
dataclasses.replace(config, seed=1)
frame.rename(columns=names)
storage.read_parquet(path)
"s3://bucket/folder"
"""
    assert breaches(source) == []
