"""The one-shot search: `run_search` leads from a configuration to K networks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from multinas_ray.cluster import HeadWatch, Trackers, ray_errors_told, ray_session, say, standard_console
from multinas_ray.data import image_counts
from multinas_ray.errors import exits_told
from multinas_ray.oneshot.checkpoints import newest_weights
from multinas_ray.oneshot.config import OneShotSearchConfig
from multinas_ray.oneshot.driver import Driver
from multinas_ray.oneshot.ending import choose_and_finish, make_picture
from multinas_ray.oneshot.preflight import check_cluster, check_data, check_resources, check_run_folder, tell_images
from multinas_ray.oneshot.start import new_description
from multinas_ray.runs import (
    ARCHITECTURES_FILE,
    FINISHED_FILE,
    SETTINGS_FILE,
    Run,
    RunSession,
    load_run,
    repair_damage,
    repair_run,
    write_config,
    write_images,
)
from multinas_ray.selection import drop_damaged_family
from multinas_ray.settings import checked_arguments
from multinas_ray.storage import delete_file, exists, resolve, write_yaml
from multinas_ray.supernets import SUPERNET_FILE, is_supernet_damaged

SETTINGS_COMMENT = """The settings of this search, as its last session was started.
Give the file to the same experiment by --config, whole or with lines left out; flags go over it."""

GO_ON = "resume the run to go on with what is recorded"


@exits_told()
@checked_arguments
def run_search(
    config: OneShotSearchConfig,
    *,
    resume: bool = False,
    trackers: Trackers | None = None,
    console: Console | None = None,
) -> Run:
    """Search, and return the run with its K networks, all evaluations and the history of the distributions.

    All settings are written to config.yaml in the run's folder, which --config of an experiment takes.

    Starts Ray, or joins the cluster that RAY_ADDRESS or a running head node names. Ctrl-C once lets the rounds in
    flight finish, saves everything and returns the run unfinished; it can be resumed, as after any crash.

    Args:
        config: the search.
        resume: go on with the run of this name and folder. A finished run is returned unchanged.
        trackers: services that follow the search; None: none but TensorBoard.
        console: where progress is printed; None: the standard output.

    Raises:
        MissingPackageError: the package of a tracker is not installed.
        ConfigError, DataError, StateError: the settings, the images or the folder of the run break a rule.
        RunError: the cluster lacks resources, or workers or trials failed more often than allowed.
    """
    console = console or standard_console()
    trackers = trackers or Trackers()
    trackers.check()
    check_run_folder(config, resume)
    if resume and (finished := _finished_run(config, console)) is not None:
        return finished
    if not resume:
        write_config(config.run_path, new_description(config, console))
    write_yaml(resolve(config.run_path).join(SETTINGS_FILE), config.to_settings(), comment=SETTINGS_COMMENT)
    splits = check_data(config)
    write_images(config.run_path, image_counts(splits))
    tell_images(splits, console)
    with ray_errors_told(GO_ON), ray_session() as head:
        check_resources(config, console)
        check_cluster(config, console)
        _search_and_choose(config, trackers, console, head)
    return load_run(config.run_path)


def _finished_run(config: OneShotSearchConfig, console: Console) -> Run | None:
    """Return the run if it is finished, after damaged files that can be made again have been made again.

    Where its networks are damaged it is not finished: they are chosen again.
    """
    if not exists(resolve(config.run_path).join(FINISHED_FILE)):
        return None
    _print_all(repair_damage(config.run_path), console)
    if _is_family_dropped(config, console):
        return None
    make_picture(config.run_path, console)
    return load_run(config.run_path)


def _is_family_dropped(config: OneShotSearchConfig, console: Console) -> bool:
    """Tell of a damaged file of the chosen networks, if there is one, and take them away."""
    damage = drop_damaged_family(config.run_path, config.space)
    if damage is not None:
        say(console, f"The networks are chosen again, since they are not whole. {damage}")
    return damage is not None


def _print_all(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        say(console, line)


def _search_and_choose(config: OneShotSearchConfig, trackers: Trackers, console: Console, head: HeadWatch) -> None:
    """Search unless all rounds are done; then choose the networks and mark the run as finished."""
    session = RunSession.begin(config.run_path)
    supernet = resolve(config.run_path).join(SUPERNET_FILE)
    if is_supernet_damaged(config.run_path) and newest_weights(config.run_path).name is not None:
        say(console, f"{supernet} is damaged. It is written again from the newest checkpoint.")
        delete_file(supernet)
    if exists(supernet):
        _print_all(repair_run(session), console)
    elif not Driver(config, session, trackers, console, head).run():
        return
    if exists(resolve(config.run_path).join(ARCHITECTURES_FILE)):
        _is_family_dropped(config, console)
    try:
        choose_and_finish(config, console, restarts=session.number)
    except KeyboardInterrupt:
        if exists(resolve(config.run_path).join(FINISHED_FILE)):
            say(console, "Interrupted after the networks were chosen. A start with --resume draws the picture.")
        else:
            say(console, "Interrupted while the networks were being chosen. All rounds are done and recorded.")
