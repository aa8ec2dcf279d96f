"""A digest of the code on which a stored search depends; it changes when the code changes."""

import ast
import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

import multinas_ray

FILES = ("parts/tables.py", "tabular/measures.py", "tabular/methods.py", "tabular/runs.py")
"""The files of the experiments on which a search's rows depend."""
LIBRARIES = ("moocore", "numpy")


@cache
def code_key(packages: tuple[str, ...], libraries: tuple[str, ...], through_tune: bool) -> str:
    """Returns a digest of sources, ignoring comments and layout, and of versions.

    Args:
        packages: packages of multinas_ray, such as "core"; all modules in and below them count.
        libraries: distributions whose versions count, besides LIBRARIES.
        through_tune: whether the search runs through Ray Tune, and so through more of the code.
    """
    experiments, ours = Path(__file__).parents[1], Path(multinas_ray.__file__).parent
    names = (*FILES, "tabular/tune_runs.py") if through_tune else FILES
    files = [experiments / name for name in names]
    for package in (*packages, "tune") if through_tune and packages else packages:
        files += sorted((ours / package).rglob("*.py"))
    more = ("ray",) if through_tune else ()
    versions = [_version(name) for name in ("multinas-ray", *LIBRARIES, *libraries, *more)]
    return hashlib.sha256("\n".join([*versions, *map(_meaning, files)]).encode()).hexdigest()[:16]


def _version(distribution: str) -> str:
    try:
        return f"{distribution} {metadata.version(distribution)}"
    except metadata.PackageNotFoundError:
        return f"{distribution} not installed"


def _meaning(file: Path) -> str:
    """The file's program without comments, docstrings and layout."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        for name, block in ast.iter_fields(node):
            if isinstance(block, list) and any(map(_is_text, block)):
                setattr(node, name, [each for each in block if not _is_text(each)])
    return f"{file.name}\n{ast.dump(tree)}"


def _is_text(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
