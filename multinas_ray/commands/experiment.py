"""The command line that all experiments share: settings from files and flags, one run, its tables, errors in a line."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from multinas_ray.cluster import Trackers
from multinas_ray.commands.before_start import add_dry_run, fitted, show_plan
from multinas_ray.commands.common import OneLineParser, forgive_terminal
from multinas_ray.commands.flags import add_settings, errors_name, given_settings, read_file
from multinas_ray.commands.next_steps import imports_of, tell_next
from multinas_ray.commands.script import EXIT_ERROR, EXIT_INTERRUPTED, add_show_config, show_error, show_settings
from multinas_ray.errors import ConfigError, MultiNASError, RunError, StorageError, exits_told
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.settings import Flag, PositiveFloat, changed, checked, made
from multinas_ray.storage import GivenCode, GivenPath

if TYPE_CHECKING:
    from rich.console import Console

    from multinas_ray.runs import Run

LATENCY = "latency"
"""Name of the cost that a latency table gives."""

WHOLE_SEARCH = ("space", "data", "name", "warmup_rounds", "search_rounds")
"""The settings that have no defaults: a file that has them describes a whole search."""

CompleteFunction = Callable[[OneShotSearchConfig, argparse.Namespace, "Console"], None]


def seconds_of(text: str) -> float:
    """The seconds of a time such as 90s, 30m, 2h or 1h30m."""
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if parts is None or not text:
        raise argparse.ArgumentTypeError(f"give a time such as 30m, 2h or 1h30m, not {text!r}")
    hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return float(3600 * hours + 60 * minutes + seconds)


@checked
@dataclass(frozen=True, kw_only=True)
class ExperimentOptions:
    """What every experiment takes beside the settings of its search."""

    latency_table: Annotated[GivenPath | None, Flag(metavar="FILE")] = None
    """Latencies of the space's blocks, from `multinas-ray profile`: their sum is recorded as the cost "latency"."""
    imports: Annotated[tuple[GivenCode, ...], Flag("import", metavar="MODULE")] = ()
    """Modules or .py files that register blocks or optimisers of your own."""
    trackers: Trackers = field(default_factory=Trackers)
    """Services that follow the search, besides TensorBoard."""
    time_budget: Annotated[PositiveFloat | None, Flag(metavar="TIME", read=seconds_of)] = None
    """Wall time of the search, such as 30m or 1h30m; in a file, seconds. The speed is measured for some seconds, and
    the numbers of rounds become those that fit, in the same ratio. None: the rounds are as set."""

    @property
    def has_images(self) -> bool:
        """Whether there are images; a dry run works without them."""
        return True


Options = TypeVar("Options", bound=ExperimentOptions)


@dataclass(frozen=True, kw_only=True)
class Experiment(Generic[Options]):
    """A search and its command line.

    Settings come from the flags, where these leave them out from the file of --config, and where that does from
    `config_of`. A file may describe a whole search, as the config.yaml that a run writes does: `config_of` has no say
    then.
    """

    description: str
    """The head of the help text."""
    config_of: Callable[[Options], OneShotSearchConfig]
    """Makes the configuration."""
    options: type[Options]
    """What `config_of` takes: fields that become flags and keys of the file beside those of the search's settings. A
    field that both have is given to `config_of` and set in what it makes."""
    rules_of: Callable[[OneShotSearchConfig], Sequence[tuple[str, str]]] | None = None
    """Tells for a dry run the settings that follow from others: the name of each, and its value with its rule."""

    def parser(self) -> argparse.ArgumentParser:
        """The command line; add flags of what follows the search to it."""
        parser = OneLineParser(description=self.description, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--resume", action="store_true", help="go on with the run of this name")
        add_show_config(parser)
        add_dry_run(parser)
        owners = {"the experiment": self.options, "the search": OneShotSearchConfig}
        add_settings(parser, owners, tells_defaults=False)
        return parser

    def config(self, arguments: argparse.Namespace) -> OneShotSearchConfig:
        """The configuration of parsed flags.

        Raises:
            ConfigError, StateError: a setting breaks a rule, or the file cannot be read; one line, which names the
                file if it is the file's.
        """
        return self._settings(arguments)[1]

    def _settings(self, arguments: argparse.Namespace) -> tuple[Options, OneShotSearchConfig]:
        """The options and the configuration."""
        told = {} if arguments.config is None else read_file(arguments.config)
        given = given_settings(arguments, self.options)
        with errors_name(str(arguments.config)):
            self._check_names(told)
            options = changed(made(self.options, {}), _of(self.options, told))
        options = changed(options, given)
        for name in options.imports:
            _load_module(name)
        is_whole = told.keys() >= set(WHOLE_SEARCH)
        if is_whole:
            self._check_whole({**told, **given})
        config = None if is_whole else with_latency(self.config_of(options), options.latency_table)
        with errors_name(str(arguments.config)):
            settings = _of(OneShotSearchConfig, told)
            if config is None:
                config = with_latency(made(OneShotSearchConfig, settings), options.latency_table)
            else:
                config = with_settings(config, settings)
        return options, with_settings(config, given_settings(arguments, OneShotSearchConfig))

    def _check_names(self, told: Mapping[str, Any]) -> None:
        known = [field.name for owner in (self.options, OneShotSearchConfig) for field in fields(owner)]
        for name in told:
            if name not in known:
                import difflib

                close = difflib.get_close_matches(name, known, n=1)
                remedy = f"is {close[0]} meant?" if close else "--help lists the settings"
                raise ConfigError(f"{name} is no setting of this experiment; {remedy}")

    def _check_whole(self, given: Mapping[str, Any]) -> None:
        of_search = {field.name for owner in (ExperimentOptions, OneShotSearchConfig) for field in fields(owner)}
        useless = [name for name in given if name not in of_search]
        if useless:
            raise ConfigError(
                f"{', '.join(useless)}: of no effect, since the file of --config describes a whole search; change the "
                "search's own settings, or leave space out of the file"
            )

    def run(
        self,
        argv: list[str] | None = None,
        *,
        parser: argparse.ArgumentParser | None = None,
        complete: CompleteFunction | None = None,
    ) -> int:
        """Parse, search, show: the body of an experiment's main.

        Args:
            argv: the command line; sys.argv by default.
            parser: that of `parser`, with further flags.
            complete: what follows a finished search, such as retraining; None: its verbs are named instead.

        Returns:
            Exit status: 0, 2 after an error (one line on standard error), 130 after an interrupt.
        """
        arguments = (parser or self.parser()).parse_args(argv)
        from multinas_ray.cluster import standard_console

        forgive_terminal()
        console = standard_console()
        command = [sys.executable, *(_started() if argv is None else [sys.argv[0], *argv])]
        command = [each for each in command if each != "--resume"]
        begun: OneShotSearchConfig | None = None
        try:
            with exits_told():
                options, config = self._settings(arguments)
                config = fitted(options, config, arguments, console)
                if arguments.show_config:
                    show_settings(config.to_settings())
                    return 0
                if arguments.dry_run:
                    rules = () if self.rules_of is None else self.rules_of(config)
                    show_plan(options, config, rules, arguments, console)
                    return 0
                begun = config
                return _search(options, config, arguments, command, complete, console)
        except MultiNASError as error:
            show_error(error)
            if isinstance(error, RunError | StorageError) and _is_recorded(begun):
                _print(console, f"What is recorded is kept. Go on with:\n  {_resumed(command)}")
            return EXIT_ERROR
        except KeyboardInterrupt:
            what = f"what is finished is kept. Go on with:\n  {_resumed(command)}"
            _print(console, f"Interrupted; {what if _is_recorded(begun) else 'nothing was begun.'}")
            return EXIT_INTERRUPTED


def _is_recorded(begun: OneShotSearchConfig | None) -> bool:
    """Whether a search was begun that has a record with which it can go on."""
    from multinas_ray.runs import has_record

    with suppress(MultiNASError):
        return begun is not None and has_record(begun.run_path)
    return False


def _search(
    options: ExperimentOptions,
    config: OneShotSearchConfig,
    arguments: argparse.Namespace,
    command: list[str],
    complete: CompleteFunction | None,
    console: Console,
) -> int:
    from multinas_ray.oneshot import run_search

    _print(console, f"However this search may be ended, it goes on with:\n  {_resumed(command)}")
    run = run_search(config, resume=arguments.resume, trackers=options.trackers, console=console)
    if options.latency_table is not None:
        keep_latency_table(options.latency_table, config.run_path)
    if not run.is_finished:
        _show_interrupted(run, command, console)
        return EXIT_INTERRUPTED
    _show_finished(run, config, console)
    if complete is None:
        imports = imports_of(config.to_dict(), options.imports)
        tell_next(console, ("retrain", "export", "report"), config.run_path, imports=imports)
    else:
        complete(config, arguments, console)
    return 0


def with_settings(config: OneShotSearchConfig, settings: Mapping[str, Any]) -> OneShotSearchConfig:
    """A configuration with some settings changed, and with what follows from them.

    Targets take the place of coefficients and the other way round. Where the number of networks changes,
    `samples_per_update` becomes the next multiple of it. With another complexity, targets keep their places between
    the least and the largest.

    Raises:
        ConfigError: a setting breaks a rule.
    """
    settings = dict(settings)
    if settings.get("complexity") == LATENCY and LATENCY not in config.costs:
        raise ConfigError(
            "the complexity latency needs a table of this space's blocks: make one with `multinas-ray profile` and "
            "give it by --latency-table FILE"
        )
    goals = [goals for goals in (settings.get("targets"), settings.get("coefficients")) if goals is not None]
    if len(goals) == 1:
        settings = {"targets": None, "coefficients": None, **settings}
        if config.samples_per_update is not None and isinstance(goals[0], (list, tuple)) and goals[0]:
            number = len(goals[0])
            settings.setdefault("samples_per_update", -(-config.samples_per_update // number) * number)
    elif not goals and config.targets is not None and settings.get("complexity") in config.costs:
        settings["targets"] = _moved_targets(config, settings["complexity"])
    return changed(config, settings)


def _moved_targets(config: OneShotSearchConfig, complexity: str) -> list[float]:
    """The targets at their places in the range of another cost."""
    import numpy as np

    before, now = config.cost, config.costs[complexity]
    moved: list[float] = np.interp(
        config.targets or (), (before.minimum, before.maximum), (now.minimum, now.maximum)
    ).tolist()
    return list(config.targets or ()) if now is before else moved


def with_latency(config: OneShotSearchConfig, table: str | None) -> OneShotSearchConfig:
    """A configuration with the cost "latency" of a table, in place of one that it has."""
    if table is None:
        return config
    from multinas_ray.latency import read_latency_table

    others = [cost for cost in config.extra_costs if cost.name != LATENCY]
    return replace(config, extra_costs=(*others, read_latency_table(table).cost(config.space, LATENCY)))


def keep_latency_table(table: str, run_path: str) -> None:
    """Copy a latency table into the folder of a run, and its comparison with whole networks if there is one.

    Args:
        table: the file of the table.
        run_path: the folder of the run, whose report shows the comparison.
    """
    from multinas_ray.latency import TABLE_FILE, read_latency_table, validation_file
    from multinas_ray.storage import exists, read_bytes, resolve, write_atomic

    target = resolve(run_path).join(TABLE_FILE)
    if exists(table):
        read_latency_table(table).write(target)
    if exists(validation_file(table)):
        write_atomic(validation_file(target), read_bytes(validation_file(table)))


def _of(owner: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that are the class's."""
    names = {field.name for field in fields(owner)}
    return {name: value for name, value in values.items() if name in names}


def _load_module(name: str) -> None:
    from multinas_ray.cluster import load_module

    load_module(name)


def _resumed(command: list[str]) -> str:
    """The command that goes on with the search, ready to paste."""
    return shlex.join([*command, "--resume"])


def _show_interrupted(run: Run, command: list[str], console: Console) -> None:
    from multinas_ray.oneshot import latest_distributions_table

    if (table := latest_distributions_table(run)) is not None:
        console.print(table)
    _print(console, f"Stopped after {len(run.evaluations)} evaluations. Nothing is lost. Go on with:")
    _print(console, f"  {_resumed(command)}")


def _show_finished(run: Run, config: OneShotSearchConfig, console: Console) -> None:
    from multinas_ray.oneshot import DAMAGED_FOLDER, PARETO_FILE
    from multinas_ray.runs import primary_metric
    from multinas_ray.selection import networks_table
    from multinas_ray.storage import list_files, resolve

    console.print(networks_table(run.architectures, primary_metric(run.config)))
    run_path = resolve(config.run_path)
    picture, damaged = run_path.join(PARETO_FILE), run_path.join(DAMAGED_FOLDER)
    for what, where in (("Results", run_path), ("Picture", picture), ("Curves", config.curves_path)):
        _print(console, f"{what}: {where}")
    if list_files(damaged, ".txt"):
        _print(console, f"Damaged images, each of which was replaced by another image of its class: {damaged}")


def _print(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def _started() -> list[str]:
    """The command line of this process after Python itself: a file, or a module where it was started by -m."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return [*(["-m", spec.name] if spec is not None else sys.argv[:1]), *sys.argv[1:]]
