"""The settings of an experiment, kept beside its results, so that results of other settings are never mixed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multinas_ray.errors import ConfigError
from multinas_ray.runs import SETTINGS_FILE as FILE_OF_COMMAND
from multinas_ray.settings import to_plain
from multinas_ray.storage import make_folder, write_atomic, write_yaml

SETTINGS_FILE = "settings.json"
"""Holds the settings that decide the results."""

COMMENT = (
    "The settings of the last command. Give the file by --config, whole or with lines left out; flags override it."
)


def keep_command(options: object, out: Path) -> None:
    """Write all settings of a command into the results' folder, as the file that --config takes."""
    make_folder(out)
    write_yaml(out / FILE_OF_COMMAND, to_plain(options), comment=COMMENT)


def keep_settings(settings: Mapping[str, Any], out: Path) -> None:
    """Write the settings into the results' folder, or compare them with those that are there.

    Args:
        settings: Plain values.
        out: The results' folder, created if needed.

    Raises:
        ConfigError: The folder holds results of other settings.
    """
    file, now = out / SETTINGS_FILE, dict(settings)
    if file.is_file():
        before = json.loads(file.read_text())
        differences = [f"{name} {before.get(name)}, now {now[name]}" for name in now if before.get(name) != now[name]]
        if differences:
            raise ConfigError(
                f"{out} holds results of other settings ({'; '.join(differences)}): give the same flags, or another "
                "--out"
            )
        return
    make_folder(out)
    write_atomic(file, json.dumps(now, indent=1).encode())
