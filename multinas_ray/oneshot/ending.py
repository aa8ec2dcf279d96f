"""The end of a search: its networks are chosen, its picture is drawn, and it is marked as finished."""

from __future__ import annotations

import time

from rich.console import Console
from rich.table import Table

from multinas_ray.cluster import SideMatters, room_for
from multinas_ray.oneshot.config import OneShotSearchConfig
from multinas_ray.oneshot.views import distribution_table
from multinas_ray.report import plot_pareto
from multinas_ray.runs import Run, load_run, lost_steps, write_finished
from multinas_ray.selection import OpenedRun, SelectConfig, Selection, goals_of_run
from multinas_ray.settings import checked_arguments
from multinas_ray.storage import exists, read_bytes, resolve
from multinas_ray.supernets import check_supernet

PARETO_FILE = "pareto.png"
END_OF_PNG = b"IEND\xaeB`\x82"
"""A picture that does not end so was cut off."""


@checked_arguments
def choose_and_finish(config: OneShotSearchConfig, console: Console, restarts: int) -> None:
    """Choose the networks of a search that has done all rounds, and mark it as finished. Ray must be running.

    Args:
        config: the search.
        console: where progress and the candidates are printed.
        restarts: how often the driver was started again.
    """
    started_seconds = time.monotonic()
    run = load_run(config.run_path)
    Selection(
        opened=OpenedRun(
            run=run,
            space=config.space,
            data=config.data,
            training=config.training,
            task=config.task,
            costs=config.costs,
        ),
        run_path=config.run_path,
        supernet=check_supernet(config.run_path, config.space, config.training.norm_batch_size),
        label=None,
        goals=goals_of_run(run),
        config=SelectConfig(
            candidates_per_network=config.candidates_per_network,
            slice_share=config.slice_share,
            prior=config.prior,
            prior_weight=config.prior_weight,
            num_workers=min(config.num_workers, max(1, room_for(config.cpus_per_worker, config.use_gpu))),
            use_gpu=config.use_gpu,
            deterministic=config.deterministic,
            threads_per_worker=config.threads_per_worker,
            cpus_per_worker=config.cpus_per_worker,
        ),
        explain=False,
        console=console,
    ).run()
    finish_run(config.run_path, run.elapsed_seconds + time.monotonic() - started_seconds, restarts)
    make_picture(config.run_path, console)


def finish_run(run_path: str, elapsed_seconds: float, restarts: int) -> None:
    """Mark a run whose networks are chosen as finished.

    Args:
        run_path: the folder of the run.
        elapsed_seconds: wall time of the run over all its sessions.
        restarts: how often the driver was started again.
    """
    run = load_run(run_path)
    totals = {
        "num_evaluations": len(run.evaluations),
        "num_updates": int(run.distributions["update"].max()),
        "num_restarts": restarts,
        "lost_weight_steps": lost_steps(run_path),
    }
    write_finished(run_path, {**totals, "elapsed_seconds": elapsed_seconds})


def make_picture(run_path: str, console: Console) -> None:
    """Draw the picture of a finished run unless it is there. If it cannot be drawn, this is told and ends nothing.

    Args:
        run_path: the folder of the run.
        console: where a failure is told.
    """

    def draw() -> None:
        picture = resolve(run_path).join(PARETO_FILE)
        if not exists(picture) or not read_bytes(picture).endswith(END_OF_PNG):
            run = load_run(run_path)
            plot_pareto(run, picture, cost=run.config["complexity"]["name"])

    SideMatters(console).do(f"drawing {PARETO_FILE}", draw)


def latest_distributions_table(run: Run) -> Table | None:
    """The K distributions at the newest recorded update, for the terminal; None before the first."""
    if run.distributions.empty:
        return None
    newest = run.distributions[run.distributions["update"] == run.distributions["update"].max()]
    diagnostics = {name: newest[name].to_numpy() for name in newest}
    return distribution_table(diagnostics, run.config["complexity"]["name"], run.config["complexity"]["scale"])
