"""The sizes that files and functions keep, see CONTRIBUTING.md, and what is imported where it is needed only."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_CODE = 40
"""Of a function, without its docstring."""
MOST_LINES_OF_A_FUNCTION = 60


def files() -> Iterator[Path]:
    for folder in ("multinas_ray", "experiments", "tests"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def functions(file: Path) -> Iterator[tuple[str, int, int]]:
    """Name and line of each function, its lines, and those of its docstring."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            has_docstring = ast.get_docstring(node, clean=False) is not None
            name = f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
            yield name, num_lines(node), num_lines(node.body[0]) if has_docstring else 0


def num_lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_files_are_short():
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in files()}
    assert len(lengths) > 300
    assert {name: length for name, length in lengths.items() if length > MOST_LINES_OF_A_FILE} == {}


def test_functions_are_short():
    found = [each for file in files() for each in functions(file)]
    assert len(found) > 2000
    assert [each for each in found if each[1] - each[2] > MOST_LINES_OF_CODE] == []
    assert [each for each in found if each[1] > MOST_LINES_OF_A_FUNCTION] == []


HEAVY = {"timm", "torchvision"}
"""Packages that take 3 to 5 seconds to load, in each process of a run."""
USERS_OF_HEAVY = {"data/cifar.py", "retraining/network_training.py", "retraining/randaugment.py"}
"""Modules that are themselves imported only where they are needed."""


def loaded_at_once(file: Path) -> set[str]:
    """Packages of the import statements that stand at the head of a file."""
    found = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
    return found


def test_heavy_packages_are_loaded_where_they_are_needed():
    package = ROOT / "multinas_ray"
    found = {file.relative_to(package).as_posix() for file in package.rglob("*.py") if loaded_at_once(file) & HEAVY}
    assert found == USERS_OF_HEAVY
