"""Paths as people give them: settings and arguments that hold one are made absolute where they come in.

Workers, trials and later sessions have working folders of their own, where a relative path names another place. So a
field or an argument for a path has the type `GivenPath`, and one for code of the user's own the type `GivenCode`. This
file loads no pyarrow, so that reading the settings, as `--help` does, costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core.core_schema import CoreSchema


@dataclass(frozen=True)
class ResolvedBy:
    """Mark of a text that is replaced by what a function makes of it when it is checked."""

    resolve: Callable[[str], str]
    """From what was given to what is kept; it raises a ConfigError if the text breaks a rule."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of the text, told to pydantic."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self.resolve, handler(source))


def absolute_path(text: str) -> str:
    """A path as an absolute path or a URI, see `resolve`.

    Raises:
        ConfigError: It is not a path or URI, or the URI holds credentials.
    """
    from multinas_ray.storage.places import resolve

    return str(resolve(text))


def absolute_code(text: str) -> str:
    """The name of a module or file, or of an object in it, in which a file has an absolute path.

    Args:
        text: "my_package.blocks", "my_blocks.py", "my_package.blocks:NAME" or "my_blocks.py:NAME".
    """
    file, colon, name = text.rpartition(":") if not text.endswith(".py") else (text, "", "")
    return f"{absolute_path(file)}{colon}{name}" if file.endswith(".py") else text


GivenPath: TypeAlias = Annotated[str, ResolvedBy(absolute_path)]
"""A local path or a URI, which is made absolute when it is checked."""
GivenCode: TypeAlias = Annotated[str, ResolvedBy(absolute_code)]
"""A module or file of the user's own, or an object in it; the path of a file is made absolute when it is checked."""
