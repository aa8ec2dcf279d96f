"""Verifying that a record is complete: its evaluations, replayed, must lead to its distributions."""

# K distributions, D variables, C categories (padded), N samples, U updates

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from multinas_ray import storage
from multinas_ray.core import Optimizer, Proposals
from multinas_ray.errors import ConfigError
from multinas_ray.runs.configuration import load_config, make_recorded_optimizer
from multinas_ray.runs.family_files import family_problems
from multinas_ray.runs.layout import ARCHITECTURES_FILE
from multinas_ray.runs.reading import Run, examine_run, proposals_of
from multinas_ray.runs.row_columns import architectures_of
from multinas_ray.runs.sessions import lost_steps
from multinas_ray.settings import Measured, checked, checked_arguments

_RTOL = 1e-9
_ATOL = 1e-12  # for entropies and probabilities that reach 0
_DIAGNOSTICS = (
    "coefficient",
    "target",
    "expected_complexity",
    "expected_loss",
    "entropy",
    "step_size",
    "effective_sample_size",
    "mode_probability",
)


@checked
@dataclass(frozen=True)
class Verification:
    """The findings of a run's check."""

    path: str
    """The run."""

    is_finished: bool
    """Whether the run has reached its end."""

    num_evaluations: int
    """Number of rows in the record."""

    num_updates: int
    """Number of updates that these evaluations make."""

    num_compared: int
    """Number of updates whose recorded distributions were compared."""

    largest_difference: Measured
    """Largest absolute difference of a probability; 0 if none was compared."""

    problems: tuple[str, ...]
    """Why the record does not hold; empty if it does."""

    notes: tuple[str, ...]
    """Facts that are worth knowing but are not problems."""

    @property
    def holds(self) -> bool:
        """Whether the record is complete and leads to the recorded distributions."""
        return not self.problems

    def summary(self) -> str:
        """Return the findings as a few lines of text."""
        state = "finished" if self.is_finished else "not finished"
        lines = [
            f"{self.path} ({state})",
            f"  {self.num_evaluations} evaluations, each recorded once, make {self.num_updates} updates"
            if self.holds
            else f"  {self.num_evaluations} rows of evaluations, enough for {self.num_updates} updates",
            f"  {self.num_compared} recorded updates were replayed; the largest difference of a probability is "
            f"{self.largest_difference:.1e}",
        ]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  PROBLEM: {problem}" for problem in self.problems]
        lines.append("The record holds." if self.holds else "The record does NOT hold.")
        return "\n".join(lines)


class _Findings:
    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        self.notes: list[str] = []

    def require(self, holds: bool, problem: str) -> None:
        """Note `problem` if `holds` is False."""
        if not holds:
            self.problems.append(problem)


@checked_arguments
def verify_run(path: storage.AnyPath) -> Verification:
    """Check that a run's record is complete and that it explains the distributions.

    Every evaluation must be there once, in an order of results without gaps. Replayed in this order through a new
    optimiser, they must lead to each recorded update: probabilities and diagnostics within a relative 1e-9, modes
    exactly. The density of each draw must agree too and, if there is a cost table, the complexity. Accuracies, times
    and sources are not used by the algorithm, so that changes of those cannot be detected. A run that was killed may
    lack its newest distribution rows; a finished run must have all. Evaluations without a known density must be there
    once; no update uses them. The networks of each family must be the chosen ones of its candidates. Of the files
    beside them (weights, trainings, exported files) those that are there must be whole.

    Args:
        path: `<storage_path>/<run>`, local or a URI. Its config.json has a section `optimizer` and may have
            `num_evaluations`, the planned total; its finished.json may have the totals `num_evaluations`,
            `num_restarts`, and `stop_reason` for a run that ended before its plan.

    Returns:
        The findings. A record that does not hold raises no exception.

    Raises:
        StateError: There is no readable run at `path`, or its configuration's `optimizer` cannot be used.
    """
    optimizer = make_recorded_optimizer(path, load_config(path))
    run, damage = examine_run(path)
    findings = _Findings(damage)
    told = _told(run)
    _check_ids(run, told, findings)
    _check_totals(run, told, optimizer.samples_per_update, findings)
    if not run.is_calibrated:
        findings.notes.append(f"{len(told)} results wait for the coefficients or the scale of the complexity")
        told = told[:0]
    num_updates = len(told) // optimizer.samples_per_update
    _check_updates(run, optimizer.num_distributions, num_updates, findings)
    _check_rounds(run, findings)
    _check_networks(run, findings)
    if (lost := lost_steps(path)) > 0:
        findings.notes.append(f"{lost} weight steps since the last checkpoint were lost by restarts")
    num_compared, difference = 0, 0.0
    if not damage:  # the checks below rely on the values
        _check_complexities(run, findings)
        num_compared, difference = _replay(run, told, optimizer, findings)
    return Verification(
        path=run.path,
        is_finished=run.is_finished,
        num_evaluations=len(run.evaluations),
        num_updates=num_updates,
        num_compared=num_compared,
        largest_difference=difference,
        problems=tuple(findings.problems),
        notes=tuple(findings.notes),
    )


def _told(run: Run) -> pd.DataFrame:
    """The evaluations that updates use; the others have no known density and -1 as `tell_order`."""
    frame = run.evaluations.assign(complexity=run.complexities)
    is_told = frame["tell_order"] >= 0
    return frame if is_told.all() else frame[is_told]


def _check_ids(run: Run, told: pd.DataFrame, findings: _Findings) -> None:
    """Check that every evaluation is there once: ids and the order of results have no repeats or gaps."""
    ids = np.sort(run.evaluations["id"].to_numpy())
    repeated = np.unique(ids[1:][ids[1:] == ids[:-1]])
    findings.require(not len(repeated), f"ids recorded more than once: {_some(repeated)}")
    missing = np.setdiff1d(np.arange(ids.max(initial=-1) + 1), ids)  # negative ids may have gaps
    if len(missing):
        text = f"ids that were drawn but never recorded: {_some(missing)}"
        if run.finished is None:
            findings.notes.append(f"{text} (in flight, or lost with a killed driver)")
        elif run.finished.get("num_restarts", 0) > 0:
            findings.notes.append(f"{text} (in flight when the driver was restarted)")
        else:
            findings.problems.append(text)
    order = np.sort(told["tell_order"].to_numpy())
    wrong = np.flatnonzero(order != np.arange(len(order)))
    if len(wrong):
        findings.problems.append(
            f"tell_order is not 0, 1, 2, ... without gap or repeat: {order[wrong[0]]} at place {wrong[0]}"
        )


def _check_totals(run: Run, frame: pd.DataFrame, samples_per_update: int, findings: _Findings) -> None:
    """Check the planned total, the total at the end, the completeness of rounds, and the update of each row."""
    planned = run.config.get("num_evaluations")
    if run.finished is not None:
        total = run.finished.get("num_evaluations", len(frame))
        findings.require(total == len(frame), f"the run ended with {total} evaluations, {len(frame)} are recorded")
        reason = run.finished.get("stop_reason")
        if planned is not None and planned != len(frame):
            text = f"{len(frame)} of {planned} planned evaluations"
            (findings.notes if reason else findings.problems).append(f"{text} ({reason or 'no stop_reason'})")
    elif planned is not None:
        findings.require(len(frame) <= planned, f"{len(frame)} evaluations are more than the {planned} planned")
        findings.notes.append(f"{len(frame)} of {planned} planned evaluations so far")
    sizes = frame.groupby("round").size()
    long, short = sizes.index[sizes > samples_per_update], sizes.index[sizes < samples_per_update]
    findings.require(not len(long), f"rounds of more than {samples_per_update} evaluations: {_some(long)}")
    if len(short):
        text = f"rounds of fewer than {samples_per_update} evaluations: {_some(short)}"
        (findings.problems if run.is_finished else findings.notes).append(text)
    late = frame["id"].to_numpy()[frame["drawn_at_update"] >= frame["update"]]
    findings.require(not len(late), f"ids drawn after the update that used them: {_some(late)}")
    expected = frame["tell_order"].to_numpy() // samples_per_update + 1
    wrong = frame["id"].to_numpy()[frame["update"].to_numpy() != expected]
    findings.require(not len(wrong), f"ids with a wrong `update`: {_some(wrong)}")


def _check_complexities(run: Run, findings: _Findings) -> None:
    """Check complexities against the raw cost divided by the scale, and against the cost table if there is one."""
    frame = run.evaluations.assign(complexity=run.complexities)
    is_known = np.isfinite(frame["complexity"].to_numpy())
    frame = frame[is_known]
    if frame.empty:
        return
    ids, complexities = frame["id"].to_numpy(), frame["complexity"].to_numpy()
    if run.complexity_scales:
        scaled = run.raw_complexities[is_known]
        wrong = ids[~np.isclose(complexities, scaled, rtol=_RTOL, atol=_ATOL)]
        rule = ", ".join(f"{name} / {scale:g}" for name, scale in run.complexity_scales.items())
        rule = rule if len(run.complexity_scales) == 1 else f"the largest of {rule}"
        findings.require(not len(wrong), f"ids whose complexity is not {rule}: {_some(wrong)}")
    settings = run.config["optimizer"]
    if settings.get("cost_table") is not None:
        table_DC = np.asarray(settings["cost_table"], dtype=np.float64)
        architectures_ND = architectures_of(frame["architecture"])
        if architectures_ND.shape[1] != len(table_DC) or architectures_ND.max() >= table_DC.shape[1]:
            return  # the replay reports it
        summed = table_DC[np.arange(len(table_DC)), architectures_ND].sum(axis=1) + settings.get("base_cost", 0)
        wrong = ids[~np.isclose(complexities, summed, rtol=_RTOL, atol=_RTOL)]
        findings.require(not len(wrong), f"ids whose complexity is not the sum of the cost table: {_some(wrong)}")


def _check_updates(run: Run, num_distributions: int, num_updates: int, findings: _Findings) -> None:
    """Check that every update is recorded once for each distribution; only an unfinished run may lack the newest."""
    keys = run.distributions[["update", "distribution"]]
    repeated = keys[keys.duplicated()]["update"].unique()
    findings.require(not len(repeated), f"updates recorded more than once: {_some(repeated)}")
    strange = keys["update"][~keys["distribution"].between(0, num_distributions - 1)].unique()
    findings.require(not len(strange), f"updates of distributions that do not exist: {_some(strange)}")
    counts = keys.groupby("update").size()
    partial = counts.index[counts < num_distributions]
    findings.require(not len(partial), f"updates that lack distributions: {_some(partial)}")
    beyond = counts.index[counts.index > num_updates]
    findings.require(not len(beyond), f"updates without their evaluations: {_some(beyond)}")
    missing = np.setdiff1d(np.arange(1, num_updates + 1), counts.index.to_numpy())
    newest = counts.index.max() if len(counts) else 0
    if len(missing) and (run.is_finished or missing[0] < newest):
        findings.problems.append(f"updates that were not recorded: {_some(missing)}")
    elif len(missing):
        findings.notes.append(f"the newest updates are not recorded yet: {_some(missing)}")


def _check_rounds(run: Run, findings: _Findings) -> None:
    """Check that every round of a one-shot search is recorded once, with the number of its evaluations.

    Figures of the warm-up cannot be rebuilt, so that rounds of it may be missing.
    """
    if run.kind != "oneshot":
        return
    recorded = run.rounds["round"]
    findings.require(
        recorded.is_unique, f"rounds recorded more than once: {_some(recorded[recorded.duplicated()].to_numpy())}"
    )
    sizes = run.evaluations.groupby("round").size()
    counts = run.rounds.set_index("round")["num_evaluations"]
    both = sizes.index.intersection(counts.index)
    wrong = both[sizes[both].to_numpy() != counts[~counts.index.duplicated()][both].to_numpy()]
    findings.require(not len(wrong), f"rounds recorded with another number of evaluations: {_some(wrong)}")
    missing = sizes.index.difference(counts.index)
    newest = missing[:0] if run.is_finished else missing[missing > recorded.max() if len(recorded) else missing >= 0]
    if len(newest):
        findings.notes.append(f"the figures of the newest rounds are not recorded yet: {_some(newest)}")
    missing = missing.difference(newest)
    text = f"rounds that are not recorded: {_some(missing)}; `multinas-ray verify RUN --repair` rebuilds them"
    findings.require(not len(missing), text)
    gaps = np.setdiff1d(np.arange(recorded.max() + 1 if len(recorded) else 0), recorded.to_numpy())
    if len(gaps := np.setdiff1d(gaps, sizes.index.to_numpy())):
        findings.notes.append(f"rounds of the warm-up whose figures are lost: {_some(gaps)}")


def _check_networks(run: Run, findings: _Findings) -> None:
    """Tell whether the networks of a search that has ended are missing; check that those of all families are whole."""
    if run.kind == "oneshot" and run.is_finished and run.architectures.empty:
        file = storage.resolve(run.path).join(ARCHITECTURES_FILE)
        findings.notes.append(
            f"the search has ended, but {file} is missing: its command with --resume chooses the networks again"
        )
    findings.problems += family_problems(run.path, run.config)


def _replay(run: Run, frame: pd.DataFrame, optimizer: Optimizer, findings: _Findings) -> tuple[int, float]:
    """Replay every evaluation; return the number of updates compared and the largest difference of a probability."""
    step = optimizer.samples_per_update
    recorded = _Positions(run.distributions["update"].to_numpy())
    drawn = _Positions(frame["drawn_at_update"].to_numpy())
    losses, complexities = frame["loss"].to_numpy(), frame["complexity"].to_numpy(dtype=np.float64)
    num_compared, largest, wrong_ids = 0, 0.0, []
    try:
        proposals = proposals_of(frame) if len(frame) else Proposals.empty(optimizer.probs.shape[1])
        for update in range(len(frame) // step + 1):
            if update > 0:
                rows = slice((update - 1) * step, update * step)
                optimizer.tell(proposals[rows], losses[rows], complexities[rows])
            wrong_ids += _wrong_densities(proposals[drawn.of(update)], optimizer)
            if len(rows_now := recorded.of(update)):
                wrong, difference = _differences(run.distributions.iloc[rows_now], optimizer)
                num_compared, largest = num_compared + 1, max(largest, difference)
                if wrong:
                    findings.problems.append(
                        f"update {update} in the replay differs from the record in {', '.join(wrong)}; "
                        "later updates were not compared"
                    )
                    break
    except (ConfigError, ValueError) as error:
        findings.problems.append(f"an evaluation cannot be replayed: {error}")
    findings.require(not wrong_ids, f"ids whose log_q is not the density at the draw: {_some(wrong_ids)}")
    return num_compared, largest


class _Positions:
    """Where each value stands in an array, in the order of the array."""

    def __init__(self, values: npt.NDArray[np.int64]) -> None:
        self._order = values.argsort(kind="stable")
        self._sorted = values[self._order]

    def of(self, value: int) -> npt.NDArray[np.int64]:
        """The positions of a value."""
        first, stop = np.searchsorted(self._sorted, [value, value + 1])
        return self._order[first:stop]


def _wrong_densities(drawn_now: Proposals, optimizer: Optimizer) -> list[int]:
    """Return the ids whose recorded log density is not that of the mixture at their draw."""
    if not len(drawn_now):
        return []
    computed = optimizer.log_density(drawn_now.architectures)
    is_wrong = ~np.isclose(drawn_now.log_q, computed, rtol=_RTOL, atol=_RTOL)
    return [int(number) for number in drawn_now.ids[is_wrong]]


def _differences(rows: pd.DataFrame, optimizer: Optimizer) -> tuple[list[str], float]:
    """Name the columns of one update that differ, and the largest difference of a probability."""
    diagnostics: Mapping[str, npt.NDArray[Any]] = optimizer.diagnostics()
    which = rows["distribution"].to_numpy()
    if not np.isin(which, np.arange(optimizer.num_distributions)).all():
        return ["distribution"], 0.0
    wrong = [name for name in _DIAGNOSTICS if not _close(rows[name].to_numpy(dtype=float), diagnostics[name][which])]
    modes = [tuple(int(choice) for choice in mode) for mode in diagnostics["mode"][which]]
    if modes != rows["mode"].tolist():
        wrong.append("mode")
    probs_KDC = optimizer.probs[which]
    recorded = [_padded(row, probs_KDC.shape[1:]) for row in rows["probs"]]
    fitting = [each for each in recorded if each is not None]
    if len(fitting) < len(recorded):
        return [*wrong, "probs (number of variables or categories)"], 0.0
    recorded_KDC = np.array(fitting).reshape(probs_KDC.shape)
    if not _close(recorded_KDC, probs_KDC):
        wrong.append("probs")
    return wrong, float(np.max(np.abs(recorded_KDC - probs_KDC), initial=0.0))


def _padded(row: Sequence[Sequence[float]], shape_DC: tuple[int, ...]) -> npt.NDArray[np.float64] | None:
    """Recorded probabilities as (D, C), zero in the padding; None where they do not fit."""
    if len(row) != shape_DC[0] or any(len(given) > shape_DC[1] for given in row):
        return None
    padded_DC = np.zeros(shape_DC)
    for d, given in enumerate(row):
        padded_DC[d, : len(given)] = given
    return padded_DC


def _close(recorded: npt.NDArray[np.float64], computed: npt.NDArray[np.float64]) -> bool:
    return np.allclose(recorded, computed, rtol=_RTOL, atol=_ATOL, equal_nan=True)


def _some(values: Sequence[Any] | npt.NDArray[Any] | pd.Index) -> str:
    """Name the first few values and the number of the rest."""
    shown = ", ".join(str(value) for value in list(values)[:5])
    return shown if len(values) <= 5 else f"{shown} and {len(values) - 5} more"
