"""config.json of a run: checking what all readers rely on, and making the run's optimiser from it.

Notation: K distributions, D variables, C categories of each.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from multinas_ray import storage
from multinas_ray.core import Optimizer, make_optimizer, settings_from_dict
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs.documents import read_document, write_document
from multinas_ray.runs.layout import CONFIG_FILE
from multinas_ray.settings import checked, checked_arguments

Kind: TypeAlias = Literal["oneshot", "tune"]
"""A one-shot search, or a search in a Tune pipeline."""

Section: TypeAlias = Mapping[str, Any]

CONFIG_REMEDY = (
    "restore a copy of it, or let `multinas-ray verify RUN --repair` rebuild it from the metadata of the run's tables"
)


@checked
@dataclass(frozen=True, kw_only=True)
class _Run:
    """The sections of every configuration that are read here."""

    kind: Kind
    costs: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...] | None = None
    name: str | None = None
    seed: int | None = None
    search_id: str | None = None
    num_evaluations: int | None = None
    targets: tuple[float, ...] | None = None
    optimizer: Section | None = None
    complexity: Section | None = None
    settings: Section | None = None
    space: Section | None = None
    data: Section | None = None
    task: Section | None = None
    training: Section | None = None
    plan: Section | None = None
    extra_costs: tuple[Section, ...] | None = None
    metric: str | None = None
    mode: Literal["min", "max"] | None = None


@checked
@dataclass(frozen=True, kw_only=True)
class _Optimizer:
    num_categories: tuple[int, ...] | None = None
    num_values: tuple[int, ...] | None = None
    samples_per_update: int | None = None
    coefficients: tuple[float, ...] | None = None
    targets: tuple[float, ...] | None = None
    num_distributions: int | None = None


@checked
@dataclass(frozen=True, kw_only=True)
class _Complexity:
    name: str
    scale: float | None = None
    label: str | None = None
    scales: Mapping[str, float | None] | None = None


@checked
@dataclass(frozen=True, kw_only=True)
class _Settings:
    num_workers: int | None = None


@checked
@dataclass(frozen=True, kw_only=True)
class _Task:
    primary: str | None = None
    metrics: Mapping[str, Section] | None = None


@checked
@dataclass(frozen=True, kw_only=True)
class _TuneRun:
    """Further sections of a search in a Tune pipeline."""

    metric: str
    mode: Literal["min", "max"]
    optimizer: Section
    complexity: Section
    settings: Section
    space: Section


@checked
@dataclass(frozen=True, kw_only=True)
class _TuneOptimizer:
    num_categories: tuple[int, ...]
    samples_per_update: int
    coefficients: tuple[float, ...] | None


@checked
@dataclass(frozen=True, kw_only=True)
class _TuneComplexity:
    name: str
    label: str
    scale: float | None


@checked
@dataclass(frozen=True, kw_only=True)
class _TuneSettings:
    num_distributions: int
    coefficients: tuple[float, ...] | None
    targets: tuple[float, ...] | Mapping[str, tuple[float, ...]] | None


_SECTIONS: dict[str | None, type] = {
    None: _Run,
    "optimizer": _Optimizer,
    "complexity": _Complexity,
    "settings": _Settings,
    "task": _Task,
}
_TUNE_SECTIONS: dict[str | None, type] = {
    None: _TuneRun,
    "optimizer": _TuneOptimizer,
    "complexity": _TuneComplexity,
    "settings": _TuneSettings,
}


@checked_arguments
def write_config(path: storage.AnyPath, config: Mapping[str, Any]) -> None:
    """Write a run's configuration, before anything else; this creates the folder.

    Args:
        path: `<storage_path>/<run>`.
        config: Plain data (see `storage.encode_plain`). `kind` is "oneshot" or "tune", `costs` are the columns of raw
            costs, and `labels` are the names of each variable's choices. The section `optimizer` is what
            `OptimizerSettings.to_dict` returns. `complexity` is the cost that the search weighs: {"name": its column,
            "scale": its divisor}; of several, "scales" has the divisors, and the largest quotient counts.
            `num_evaluations` is the planned total.

    Raises:
        StateError: Something in it is not plain data or does not have this form.
        StorageError: The file system refused.
    """
    place = storage.resolve(path)
    _check_form(place.join(CONFIG_FILE), config)
    storage.make_folder(place)
    write_document(place.join(CONFIG_FILE), config)


@checked_arguments
def load_config(path: storage.AnyPath) -> dict[str, Any]:
    """Read a run's configuration.

    Args:
        path: `<storage_path>/<run>`, local or a URI such as `s3://bucket/folder/run`.

    Raises:
        StateError: There is no run, its configuration is damaged, or another version of this package wrote it.
    """
    place = storage.resolve(path)
    if not storage.exists(place):
        raise StateError(f"there is no run at {place}: give the folder <storage_path>/<run>")
    if not storage.exists(place.join(CONFIG_FILE)):
        raise StateError(
            f"{place} is not a run, since it has no {CONFIG_FILE}: give the folder <storage_path>/<run> itself; if the "
            f"file was lost, {CONFIG_REMEDY}"
        )
    config = read_document(place.join(CONFIG_FILE), CONFIG_REMEDY)
    _check_form(place.join(CONFIG_FILE), config)
    return config


@checked_arguments
def make_recorded_optimizer(path: storage.AnyPath, config: Mapping[str, Any]) -> Optimizer:
    """Make a run's optimiser in its initial state.

    Args:
        path: The run's folder, for messages.
        config: Its configuration.

    Raises:
        StateError: The section `optimizer` is missing or cannot be used.
    """
    file = storage.resolve(path).join(CONFIG_FILE)
    section = config.get("optimizer")
    if section is None:
        raise StateError(f"{file} must have a section 'optimizer', it has none: {CONFIG_REMEDY}")
    try:
        # The seed matters to optimisers that draw while they are told results.
        return make_optimizer(settings_from_dict(section), seed=config.get("seed", 0))
    except ConfigError as error:
        raise StateError(
            f"the section 'optimizer' of {file} does not describe an optimiser ({error}): {CONFIG_REMEDY}"
        ) from error


def is_calibrated(config: Mapping[str, Any]) -> bool:
    """Whether coefficients and scale are known; before that, the distributions were told no results."""
    optimizer, complexity = config.get("optimizer") or {}, config.get("complexity") or {}
    goals = optimizer.get("coefficients") or optimizer.get("targets")
    scales = complexity.get("scales") or {"": complexity.get("scale", 1.0)}
    return goals is not None and None not in scales.values()


def _check_form(file: storage.Location, config: Mapping[str, Any]) -> None:
    """Check the types of the values that readers rely on.

    Raises:
        StateError: A value has another type, or is missing.
    """
    _check_sections(file, config, _SECTIONS)
    if config["kind"] == "tune":
        _check_sections(file, config, _TUNE_SECTIONS)


def _check_sections(file: storage.Location, config: Mapping[str, Any], sections: Mapping[str | None, type]) -> None:
    for name, form in sections.items():
        section = config if name is None else config.get(name)
        if section is None:
            continue
        known = {field.name for field in dataclasses.fields(form)}
        try:
            form(**{key: value for key, value in section.items() if key in known})
        except ConfigError as error:
            where = "" if name is None else f" in its section {name!r}"
            told = str(error).partition(": ")[2]
            raise StateError(f"{file} is not a run's configuration, {told}{where}: {CONFIG_REMEDY}") from error
