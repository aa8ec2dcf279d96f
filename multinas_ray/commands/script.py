"""The command line of a script that is no single search: settings from files and flags, and errors in a line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from multinas_ray.commands.common import OneLineParser, forgive_terminal
from multinas_ray.commands.flags import add_settings, read_settings
from multinas_ray.errors import MultiNASError, exits_told
from multinas_ray.settings import to_plain

if TYPE_CHECKING:
    from rich.console import Console

EXIT_ERROR, EXIT_INTERRUPTED = 2, 130

Settings = TypeVar("Settings")


@dataclass(frozen=True, kw_only=True)
class Script(Generic[Settings]):
    """A script whose settings are the fields of one class.

    Flags override the file of --config, and the file overrides the defaults of the fields.
    """

    description: str
    """The head of the help text."""
    settings: type[Settings]
    """The class of the settings. Every field has a default."""
    program: str | None = None
    """How the script is called in the help text; None: by its file's name."""

    def parser(self) -> argparse.ArgumentParser:
        """The command line."""
        parser = OneLineParser(
            prog=self.program, description=self.description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        add_show_config(parser)
        add_settings(parser, {"settings": self.settings})
        return parser

    def run(self, argv: list[str] | None, work: Callable[[Settings, Console], None]) -> int:
        """Read the settings and do the work: the body of a script's main.

        Args:
            argv: The command line; None: that of the process.
            work: What the script does with its settings.

        Returns:
            Exit status: 0, 2 after an error (one line on standard error), 130 after an interrupt.
        """
        arguments = self.parser().parse_args(argv)
        from multinas_ray.cluster import standard_console

        forgive_terminal()
        console = standard_console()
        try:
            with exits_told():
                settings = read_settings(arguments, self.settings)
                if arguments.show_config:
                    show_settings(to_plain(settings))
                else:
                    work(settings, console)
        except (MultiNASError, OSError, ImportError) as error:
            show_error(error)
            return EXIT_ERROR
        except KeyboardInterrupt:
            console.print("Stopped. What is finished is kept: run the same command to go on.")
            return EXIT_INTERRUPTED
        return 0


def add_show_config(parser: argparse.ArgumentParser) -> None:
    """Add the flag that asks for all settings in place of the work."""
    text = "print all settings as YAML, fit for --config, and stop"
    parser.add_argument("--show-config", action="store_true", help=text)


def show_error(error: Exception) -> None:
    """Print an error in one line on standard error."""
    from rich.console import Console

    Console(stderr=True, soft_wrap=True).print(f"error: {error}", style="bold red", markup=False, highlight=False)


def show_settings(settings: Mapping[str, Any]) -> None:
    """Print settings as a file of --config has them."""
    from multinas_ray.storage import yaml_text

    print(yaml_text(settings), end="")
