"""The cost of a search, and what K separate searches would have cost."""

# K networks, N evaluations of an update, U updates

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from multinas_ray.report.wording import Column, Table, number, plural, seconds
from multinas_ray.runs import Run, format_count


@dataclass(frozen=True)
class Accounting:
    """A table of the cost, and how its figures were obtained."""

    table: Table
    measured: list[str]
    extrapolated: list[str]


@dataclass(frozen=True)
class _Spent:
    """The worker seconds of the recorded rounds."""

    training: float
    evaluating: float
    num_steps: int
    """Rounds with a weight step."""
    num_split: int
    """Rounds that trained and evaluated. Their seconds were split by the mean of the rounds that only trained."""
    is_split_known: bool
    """Whether there were rounds that only trained."""


def accounting_of(run: Run) -> Accounting | None:
    """Account for a run: the recorded figures, and their multiples for K searches of one network each.

    A separate search is assumed to do what this one did for one of its networks: to train a supernet of its own with
    as many weight steps, and to make as many updates. The number of evaluations that it would need has two bounds. The
    lower one is the N / K evaluations of an update that this search drew from that network's own distribution; the
    upper one is all N, from which every distribution learned here.

    Returns:
        The account; None as long as nothing was evaluated.
    """
    settings = run.config.get("optimizer", {})
    num_networks = run.num_distributions
    ran = run.evaluations[run.evaluations["reused_id"].isna()] if "reused_id" in run.evaluations else run.evaluations
    if (run.rounds.empty and ran.empty) or num_networks == 0:
        return None
    num_evaluations, samples = len(ran), int(settings.get("samples_per_update", num_networks))
    spent = None if run.rounds.empty else _spent(run)
    rows = [] if spent is None else [_training_row(spent, num_networks)]
    rows.append(
        [
            "Trials" if run.kind == "tune" else "Evaluations",
            f"{num_evaluations:,}",
            f"{num_evaluations:,} to {num_networks * num_evaluations:,}",
        ]
    )
    if spent is not None and spent.is_split_known:
        rows += _seconds_rows(spent, num_networks)
    columns = [
        Column("", is_number=False, wraps=True),
        Column("This search"),
        Column(f"{plural(num_networks, 'separate search', 'separate searches')} (extrapolated)"),
    ]
    return Accounting(
        Table(columns, rows), _measured(run, spent, num_evaluations), _extrapolated(run, spent, num_networks, samples)
    )


def _spent(run: Run) -> _Spent:
    rounds, workers = run.rounds, num_workers(run)
    trains, evaluates = rounds["train_loss"].notna(), rounds["num_evaluations"] > 0
    taken = workers * rounds["compute_seconds"].astype(float)
    alone, both = taken[trains & ~evaluates], taken[trains & evaluates]
    step = float(alone.mean()) if len(alone) else 0.0
    in_both = float(both.clip(upper=step).sum())
    training = float(alone.sum()) + in_both
    is_known = not len(both) or bool(len(alone))
    return _Spent(training, float(taken.sum()) - training, int(trains.sum()), len(both), is_known)


def num_workers(run: Run) -> int:
    """Number of workers that held the supernet."""
    return int(run.config.get("settings", {}).get("num_workers") or 1)


def _training_row(spent: _Spent, count: int) -> list[str]:
    return ["Weight steps", f"{spent.num_steps:,}", f"{count * spent.num_steps:,}"]


def _seconds_rows(spent: _Spent, count: int) -> list[list[str]]:
    training, evaluating = spent.training, spent.evaluating
    total = training + evaluating
    least = count * training + evaluating
    about = "about " if spent.num_split else ""
    return [
        ["Weight training, worker time", about + seconds(training), about + seconds(count * training)],
        ["Evaluations, worker time", about + seconds(evaluating), _between(evaluating, count * evaluating)],
        ["Total, worker time", seconds(total), _between(least, count * total)],
        ["Total, relative to this search", "1", f"{number(least / total)} to {count}" if total else ""],
    ]


def _between(least: float, most: float) -> str:
    return f"{seconds(least)} to {seconds(most)}"


def _measured(run: Run, spent: _Spent | None, num_evaluations: int) -> list[str]:
    if spent is None:
        reused = len(run.evaluations) - num_evaluations
        again = f"; {plural(reused, 'further result')} repeated earlier trials and cost nothing" if reused else ""
        return [f"Each evaluation is a trial that was run{again}. The record does not say how long the trials took."]
    workers = num_workers(run)
    rounds = run.rounds
    trained = int((rounds["num_evaluations"] == 0).sum())
    times = "The worker time is the recorded compute time of all rounds on the first worker"
    texts = [
        f"{plural(len(rounds), 'round')} are recorded: {trained:,} only trained weights, "
        f"{len(rounds) - trained:,} evaluated subnets.",
        times + (f", times the {workers} workers." if workers > 1 else ". There was one worker."),
    ]
    if workers > 1:
        reduced, saved = (format_count(float(rounds[name].sum())) for name in ("reduced_bytes", "saved_bytes"))
        texts.append(
            f"Every worker contributed {reduced}B of gradients to the sums over all workers; another {saved}B were not "
            "sent, because no subnet of their round used those parameters."
        )
    if spent.num_split and spent.is_split_known:
        texts.append(
            f"{plural(spent.num_split, 'round')} did both. A weight step in them is assumed to have taken the mean "
            "time of the rounds that only trained; the rest of their time is counted as evaluation."
        )
    if not spent.is_split_known:
        texts.append("Every round trained and evaluated. The time of the two cannot be told apart, so it is left out.")
    return texts


def _extrapolated(run: Run, spent: _Spent | None, count: int, samples: int) -> list[str]:
    own = samples // count
    if run.kind == "tune":
        equal = f"as many updates of {own} or {samples} trials each"
    else:
        equal = (
            "a supernet of its own, trained with as many weight steps of the same cost, and as many updates of "
            f"{own} or {samples} evaluations each"
        )
    searches = plural(count, "search", "searches")
    texts = [
        f"No separate search was run. The right column multiplies the figures of this one: it stands for {searches} "
        f"for one network each, each with {equal}.",
        f"The lower bound gives each separate search only the {plural(own, 'evaluation')} of an update that this "
        f"search drew from one distribution; the upper bound gives it all {samples}, from which each distribution "
        "learned here.",
    ]
    if spent is not None:
        texts.append("Choosing, retraining and exporting the networks are needed in both cases and are not counted.")
    return texts


def wall_seconds(run: Run) -> float | None:
    """Wall time of the run over all its sessions, in seconds; None if it is not recorded."""
    if run.finished is not None and "elapsed_seconds" in run.finished:
        return float(run.finished["elapsed_seconds"])
    tables: list[pd.DataFrame] = [table for table in (run.evaluations, run.rounds) if len(table)]
    return max((float(table["wall_time_seconds"].max()) for table in tables), default=None)
