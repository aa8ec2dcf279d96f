"""Choosing the networks of a trained supernet: at the end of a search, and later for any other budgets."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console

from multinas_ray.cluster import (
    NodeNeeds,
    check_room,
    check_workers,
    counted_progress,
    ray_errors_told,
    ray_session,
    standard_console,
)
from multinas_ray.errors import StateError, exits_told
from multinas_ray.runs import load_trainings, network_path, primary_metric
from multinas_ray.selection.choice import Choice, choose
from multinas_ray.selection.config import SelectConfig
from multinas_ray.selection.evaluation import CandidateJob, EvaluatorGroup
from multinas_ray.selection.families import Family, family_path, load_family
from multinas_ray.selection.family_writing import FamilyWriter
from multinas_ray.selection.goals import Goal, check_limits, goals_of_limits, goals_of_run, label_of
from multinas_ray.selection.halving import Rung, SuccessiveHalving
from multinas_ray.selection.kept_scores import KeptScores
from multinas_ray.selection.opening import OpenedRun, open_run
from multinas_ray.selection.outcome import Architecture, SearchOutcome
from multinas_ray.selection.pool import Candidate, candidates_for
from multinas_ray.selection.prior import check_prior, prior_weight
from multinas_ray.selection.ranking import Ranking
from multinas_ray.selection.scores import Score
from multinas_ray.selection.tables import candidate_tables, spent_text
from multinas_ray.settings import checked, checked_arguments
from multinas_ray.storage import GivenCode, GivenPath, resolve
from multinas_ray.supernets import check_supernet

SELECTION_STREAM = 7
"""Keeps the draws of a selection independent of those of the search, which has the same seed."""


@exits_told()
@checked_arguments
def select_networks(
    run_path: GivenPath,
    config: SelectConfig | None = None,
    *,
    label: str | None = None,
    overwrite: bool = False,
    data_path: GivenPath | None = None,
    imports: Sequence[GivenCode] = (),
    console: Console | None = None,
) -> Family:
    """Choose networks of a finished search again, for the search's own goals or for any budgets.

    No search is run. Candidates come from the distributions, the record and the last part of each budget. They are
    evaluated with the supernet's weights by successive halving, the last ones on all validation images, and the one
    within the budget that loss and prior rank best becomes the network, see `selection.choice.choose`.

    Args:
        run_path: `<storage_path>/<run>`, local or a URI.
        config: the limits, the candidates and the workers; None: its defaults, with the goals that the search had.
        label: name of the new family, and of its folder in `<run>/families`. None: the family is named after the
            limits; where there are none, it is the run's own.
        overwrite: allow networks to be replaced that have been retrained.
        data_path: where the images are now; None: where they were during the search.
        imports: modules or .py files that define your own blocks.
        console: where progress and candidates are printed; None: the standard output.

    Returns:
        The family that was written: its networks and all their candidates.

    Raises:
        ConfigError: a limit names no cost of the run or lies outside the range of the space, lists differ in length, or
            a part of the prior is not known.
        StateError: the run is not a finished supernet search, or retrained networks would be lost.
        RunError: the cluster lacks resources, or an evaluation failed.
    """
    config = config or SelectConfig()
    opened = open_run(run_path, data_path=data_path, imports=imports)
    if not opened.run.is_finished:
        raise StateError(
            f"{run_path} is not finished: resume its search with --resume; at its end the networks are chosen"
        )
    check_prior(config.prior)
    goals = goals_of_run(opened.run) if config.limits is None else goals_of_limits(config.limits)
    for goal in goals:
        check_limits(goal.limits, opened.costs)
    selection = Selection(
        opened=opened,
        run_path=run_path,
        supernet=check_supernet(run_path, opened.space, opened.training.norm_batch_size),
        label=label_of(config.limits) if config.limits is not None and label is None else label,
        goals=goals,
        config=config,
        overwrite=overwrite,
        console=console or standard_console(),
    )
    with ray_errors_told("give the same command again to go on"), ray_session():
        check_room(config.num_workers, cpus_per_worker=config.cpus_per_worker, use_gpu=config.use_gpu)
        check_workers(run_path, opened.data.path, _needs_of(config, opened), selection.console)
        return selection.run()


def _needs_of(config: SelectConfig, opened: OpenedRun) -> NodeNeeds:
    """What the actors need of their nodes, which evaluate without each other."""
    training, data = opened.training, opened.data
    images = max(training.batch_size, training.validation_batch_size)  # of an actor's streams, which take turns
    return NodeNeeds(
        num_workers=config.num_workers,
        cpus_per_worker=config.cpus_per_worker,
        use_gpu=config.use_gpu,
        bfloat16=training.precision == "bfloat16",
        decoded_bytes=data.decoded_bytes(images, opened.space.inputs),
        decode_processes=data.decode_processes,
    )


@checked
@dataclass(frozen=True, kw_only=True)
class Selection:
    """The selection of one family: it collects candidates, has them evaluated, chooses networks and writes them."""

    opened: OpenedRun
    run_path: str
    supernet: str
    """Digest of the supernet's weights, see `check_supernet`."""
    label: str | None
    goals: Sequence[Goal]
    config: SelectConfig
    """How candidates are collected and evaluated. Its limits are not read."""
    overwrite: bool = False
    explain: bool = True
    """Print every candidate and why it was chosen or not. The report shows this too."""
    console: Console

    def run(self) -> Family:
        """Choose the networks and write the family. Ray must be running.

        Raises:
            StateError: networks that have been retrained would be lost.
            RunError: an evaluation failed.
        """
        space, path = self.opened.space, family_path(self.run_path, self.label)
        outcome = SearchOutcome.of(self.opened.run, space.search_space, self.opened.costs, space.equivalence)
        rng = np.random.default_rng((self.opened.seed, SELECTION_STREAM))
        candidates = candidates_for(
            outcome, self.goals, self.config.candidates_per_network, self.config.slice_share, rng
        )
        with EvaluatorGroup(self._job(candidates), self.config.cpus_per_worker) as evaluators:
            rungs = evaluators.rungs(max(Counter(each.goal for each in candidates).values()))
            kept = KeptScores(path, self._conditions(rungs))
            ranking = self._ranking(evaluators, candidates)
            halving = SuccessiveHalving(candidates, self.goals, rungs, ranking)
            halving.run(lambda rung, networks: self._evaluate(evaluators, rung, networks, kept))
            finalists, scores, last = halving.finalists, halving.scores, rungs[-1].number
            family = choose(finalists, self.goals, scores, ranking, rung=last, left_out=halving.left_out)
            writer = FamilyWriter(path, self.opened.run, outcome, space.name, family, load_trainings(path))
            if not self.overwrite:
                self._check_retrained(writer.dropped())
            writer.clear()
            writer.write(self._finish(evaluators, path, family.networks))
        kept.remove()
        written = load_family(self.run_path, self.label)
        metric = primary_metric(self.opened.run.config)
        self.console.print(spent_text(written.candidates, metric), soft_wrap=True, highlight=False, markup=False)
        if self.explain:
            self.console.print(candidate_tables(written, metric))
        for message in family.unmet:
            self.console.print(f"No network: {message}.", soft_wrap=True, highlight=False, markup=False)
        return written

    def _job(self, candidates: Sequence[Candidate]) -> CandidateJob:
        return CandidateJob(
            run_path=self.run_path,
            space=self.opened.space,
            data=self.opened.data,
            training=self.opened.training,
            task=self.opened.task,
            seed=self.opened.seed,
            num_threads=self.config.threads_per_worker,
            num_workers=min(self.config.num_workers, len({each.architecture for each in candidates})),
            use_gpu=self.config.use_gpu,
            deterministic=self.config.deterministic,
            images_per_pass=self.config.images_per_pass,
        )

    def _ranking(self, evaluators: EvaluatorGroup, candidates: Sequence[Candidate]) -> Ranking:
        """How candidates are ranked, with the prior of each."""
        names, weight = self.config.prior, self.config.prior_weight
        networks = sorted({each.architecture for each in candidates})  # neighbours begin alike
        figures: list[list[float]] = [[] for _ in names]
        if names:
            with counted_progress(self.console) as progress:
                task = progress.add_task(f"prior: {', '.join(names)}", total=len(networks))
                for part in evaluators.prior(names, networks):
                    for known, values in zip(figures, part, strict=True):
                        known += values
                    progress.advance(task, len(part[0]))
        return Ranking(
            skips_DC=self.opened.space.skips_DC,
            weight=prior_weight(self.opened.weight_steps) if weight is None else weight,
            prior={name: dict(zip(networks, known, strict=True)) for name, known in zip(names, figures, strict=True)},
        )

    def _conditions(self, rungs: Sequence[Rung]) -> dict[str, Any]:
        """What the scores of the rungs depend on."""
        images = [[rung.number, rung.images, rung.recalibration_images] for rung in rungs]
        return {"supernet": self.supernet, "data": dataclasses.asdict(self.opened.data), "rungs": images}

    def _evaluate(
        self, evaluators: EvaluatorGroup, rung: Rung, networks: Sequence[Architecture], kept: KeptScores
    ) -> list[Score]:
        """Evaluate networks in a rung, except those that an interrupted selection has evaluated there."""
        missing = [each for each in networks if (rung.number, each) not in kept.scores]
        text = f"rung {rung.number}: {len(missing)} networks on {rung.images_text}"
        with counted_progress(self.console) as progress:
            task, done = progress.add_task(text, total=len(missing)), 0
            for scores in evaluators.evaluate(rung, missing):
                kept.add(rung.number, missing[done : done + len(scores)], scores)
                done += len(scores)
                progress.update(task, completed=done)
        return [kept.scores[rung.number, each] for each in networks]

    def _finish(self, evaluators: EvaluatorGroup, path: str, networks: Sequence[Choice]) -> list[float]:
        """Save the weights of the networks; returns their accuracies on the test images, which chose nothing."""
        folders: dict[Architecture, list[str]] = {}
        for each in networks:
            folders.setdefault(each.candidate.architecture, []).append(
                str(resolve(path).join(network_path(each.network)))
            )
        with counted_progress(self.console) as progress:
            text = f"testing and saving {len(folders)} chosen networks"
            accuracies = list(progress.track(evaluators.finish(list(folders.items())), len(folders), description=text))
        tested = dict(zip(folders, accuracies, strict=True))
        return [tested[each.candidate.architecture] for each in networks]

    def _check_retrained(self, dropped: Sequence[int]) -> None:
        if dropped:
            numbers = ", ".join(f"#{network}" for network in dropped)
            raise StateError(
                f"this selection would replace the networks {numbers} of {family_path(self.run_path, self.label)} and "
                "delete their retraining: give --label NAME to write another family, or --overwrite to lose it"
            )
