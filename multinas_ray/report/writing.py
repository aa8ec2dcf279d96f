"""From a run on disk to its report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from multinas_ray import storage
from multinas_ray.errors import StateError
from multinas_ray.latency import LatencyValidation
from multinas_ray.report import about, drawings, tables
from multinas_ray.report.accounting import accounting_of
from multinas_ray.report.diagram import diagram_of
from multinas_ray.report.figures.curves import smoothing_window
from multinas_ray.report.figures.look import DARK, LIGHT, colour_of, network_keys
from multinas_ray.report.heatmaps import heat_maps
from multinas_ray.report.images import images_of
from multinas_ray.report.networks import ReportedFamily, load_reported_family
from multinas_ray.report.positions import positions_of
from multinas_ray.runs import Run, load_run, primary_metric
from multinas_ray.selection import family_path, spent_text
from multinas_ray.settings import checked_arguments

REPORT_FILE = "report.html"
LATENCY_FILE = "latency_validation.parquet"
_SECTIONS = {
    "networks": "Networks",
    "pareto": "Pareto picture",
    "blocks": "Blocks",
    "convergence": "Convergence",
    "maps": "Probabilities",
    "cost": "Cost",
    "choice": "Choice",
    "latency": "Latency",
    "training": "Retraining",
    "about": "Configuration",
}


@checked_arguments
def write_report(
    run_path: storage.AnyPath, *, output: storage.AnyPath | None = None, label: str | None = None
) -> storage.Location:
    """Write the report of a run: one HTML file that holds all its figures and needs no internet connection.

    The run may still be going on. The report then shows what is recorded so far and names what is missing.

    Args:
        run_path: `<storage_path>/<run>`, local or a URI such as `s3://bucket/folder/run`.
        output: The HTML file; None: report.html in the folder of the run, or of the family. It is written completely or
            not at all.
        label: The family that the report is about, such as one chosen for other budgets; None: the run's own.

    Returns:
        Where it was written.

    Raises:
        StateError: There is no readable run, or no such family.
        ConfigError: The label is not a plain folder name.
    """
    path = os.fspath(run_path)
    page = render_report(path, label=label)
    default = storage.resolve(family_path(path, label)).join(REPORT_FILE)
    place = default if output is None else storage.resolve(output)
    storage.make_folder(place.parent)
    storage.write_atomic(place, page.encode())
    return place


def render_report(path: str, *, label: str | None = None) -> str:
    """Return the report as HTML. Arguments and errors are those of `write_report`."""
    run = load_run(path)
    family = load_reported_family(run, path, label)
    loader = jinja2.PackageLoader("multinas_ray.report", package_path="")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(_content(run, path, family))


def _content(run: Run, path: str, family: ReportedFamily) -> dict[str, Any]:
    positions, metric = positions_of(run), primary_metric(run.config)
    configs = tables.chosen_configs(run)
    chosen = configs if run.kind == "tune" else family.networks
    validation, unreadable = _latency_validation(path)
    images, unreadable_images = images_of(path)
    content = {
        "name": about.name_of(run),
        "path": run.path,
        "label": family.label,
        "kind": run.kind,
        "state": about.state_of(run),
        "lead": about.lead_of(run, len(chosen)),
        "summary": about.summary_of(run, positions, len(chosen)),
        "palettes": _palettes([len(chosen), run.distributions["distribution"].nunique(), 2]),
        "networks": tables.configs_table(run, configs) if run.kind == "tune" else tables.networks_table(run, family),
        "front": tables.front_table(run),
        "diagram": diagram_of(chosen.iloc[:0] if run.kind == "tune" else chosen, positions),
        "pareto": drawings.pareto_drawing(run, chosen),
        "convergence": drawings.convergence_drawing(run, family.networks),
        "smoothing": smoothing_window(run),
        "is_targeted": bool(run.distributions["target"].notna().any()),
        "maps": heat_maps(run, family.networks, positions),
        "accounting": accounting_of(run),
        "candidates": tables.candidate_groups(family, positions, metric),
        "metric": metric,
        "spent": "" if family.candidates.empty else spent_text(family.candidates, metric),
        "latency": None if validation is None else drawings.latency_drawing(validation.to_arrow().to_pandas()),
        "latency_text": "" if validation is None else validation.summary(),
        "training": drawings.training_drawing(family),
        "configuration": about.configuration_of(run),
        "sessions": about.sessions_of(run, path),
        "images": images,
        "unreadable": family.unreadable + unreadable + unreadable_images,
    }
    return {**content, "sections": _sections(content)}


def _sections(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The ids and titles of the sections of the page."""
    left_out = {"blocks", "choice", "training"} if content["kind"] == "tune" else set()
    if content["latency"] is None:
        left_out.add("latency")
    return [(name, title) for name, title in _SECTIONS.items() if name not in left_out]


def _palettes(counts: Sequence[int]) -> list[tuple[str, dict[str, str]]]:
    """The variables of the style sheet for a light and a dark page, with colours for so many networks."""
    keys = sorted({key for count in counts for key in network_keys(count)})
    return [
        (scheme, {**vars(palette), **{f"network-{key}": colour_of(key, on_dark=palette is DARK) for key in keys}})
        for scheme, palette in (("light", LIGHT), ("dark", DARK))
    ]


def _latency_validation(path: str) -> tuple[LatencyValidation | None, tuple[str, ...]]:
    """The predicted and measured latencies if the run has them, or the reason why they cannot be read."""
    file = storage.resolve(path).join(LATENCY_FILE)
    if not storage.exists(file):
        return None, ()
    try:
        return LatencyValidation.read(file), ()
    except StateError as error:
        return None, (str(error),)
