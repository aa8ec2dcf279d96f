"""The networks that a method finds once its supernets are trained. The last choice is the same for all methods."""

# K targets, N networks

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.compare.evolution import Architecture, FloatArray, IntArray, LossesOf, evolve
from experiments.compare.methods import Method, evaluations_per_target, methods_of
from experiments.compare.scoring import BatchLosses, open_evaluator
from experiments.compare.settings import CANDIDATES, Settings, config_of, spent_by
from experiments.compare.truth import slice_of
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.runs import load_run
from multinas_ray.selection import (
    SLICE_SHARE,
    Candidate,
    Goal,
    Ranking,
    SearchOutcome,
    SuccessiveHalving,
    candidates_for,
    choose,
    goals_of_run,
    prior_weight,
    scaled_ranks,
)
from multinas_ray.spaces import Equivalence, NetworkSpace, skips

SELECTION_STREAM = 11
"""Keeps these draws apart from the search's, which come from the same seed."""

Figures = Mapping[str, Mapping[Architecture, float]]
"""The figure of every network by each part of the prior."""


def find_networks(
    name: str, seed: int, settings: Settings, out: Path, num_threads: int, figures: Figures
) -> pd.DataFrame:
    """The networks of a method whose supernets are trained.

    Args:
        name: The method.
        seed: The repetition.
        settings: The comparison.
        out: Its folder.
        num_threads: CPU threads.
        figures: The prior of every network.

    Returns:
        A row for each network, from small to large: `target`, `architecture` and `flops` of the searched space, and
        `evaluations` that the method spent before the last choice.
    """
    method = methods_of(settings.num_targets)[name]
    if not method.supernets:
        chosen = [_best_untrained(method, settings, target, figures, seed) for target in settings.targets]
        return _rows(settings.space, settings.targets, chosen, 0)
    targets: list[float] = []
    chosen, evaluations = [], 0
    for supernet in method.supernets:
        config = config_of(supernet, seed, settings, out, num_threads)
        goals, candidates, spent = _candidates(method, config, settings, num_threads)
        evaluations += spent
        found = _choose(method, config, goals, candidates, settings, num_threads, figures)
        targets += found
        chosen += found.values()
    return _rows(settings.space, targets, chosen, evaluations)


def _rows(
    space: NetworkSpace, targets: Sequence[float], architectures: Sequence[Architecture], evaluations: int
) -> pd.DataFrame:
    flops = space.costs["flops"](np.array(architectures)).tolist()
    columns = {"target": list(targets), "architecture": list(architectures), "flops": flops}
    return pd.DataFrame({**columns, "evaluations": evaluations})


def _best_untrained(method: Method, settings: Settings, target: float, figures: Figures, seed: int) -> Architecture:
    """The network of a slice with the best prior, or the deepest one; equal ones are drawn."""
    space = settings.space
    networks_ND = slice_of(space, target)
    if method.prior:
        rows = list(map(tuple, networks_ND.tolist()))
        values_N: FloatArray = np.sum([scaled_ranks([-each[row] for row in rows]) for each in figures.values()], axis=0)
    else:
        is_block_DC = ~skips(space)
        values_N = -is_block_DC[np.arange(networks_ND.shape[1]), networks_ND].sum(axis=1, dtype=np.float64)
    best = np.flatnonzero(values_N == values_N.min())
    rng = np.random.default_rng((seed, SELECTION_STREAM))
    return tuple(networks_ND[rng.choice(best)].tolist())


def _candidates(
    method: Method, config: OneShotSearchConfig, settings: Settings, num_threads: int
) -> tuple[list[Goal], list[Candidate], int]:
    """The goals, their pools, and the number of evaluations spent on these."""
    rng = np.random.default_rng((config.seed, SELECTION_STREAM))
    if method.pool == "record":
        run = load_run(config.run_path)
        outcome = SearchOutcome.of(run, config.space.search_space, config.costs, Equivalence.of(config.space))
        goals = goals_of_run(run)
        return goals, candidates_for(outcome, goals, CANDIDATES, SLICE_SHARE, rng), len(run.evaluations)
    goals, candidates, spent = [], [], 0
    for place, target in enumerate(settings.targets):
        if method.pool == "evolution":
            losses_of = BatchLosses(config, place, num_threads)
            networks_ND = evolved_networks(losses_of, config, target, evaluations_per_target(settings), rng)
            spent += losses_of.evaluations
        else:
            networks_ND = rng.permutation(slice_of(config.space, target))
            networks_ND = networks_ND[: CANDIDATES + evaluations_per_target(settings)]
            spent += evaluations_per_target(settings)
        goals.append(Goal(limits={"flops": target}))
        candidates += [_candidate(place, tuple(row), config) for row in networks_ND.tolist()]
    return goals, candidates, spent


def evolved_networks(
    losses_of: LossesOf, config: OneShotSearchConfig, target: float, evaluations: int, rng: np.random.Generator
) -> IntArray:
    """(N, D) the networks that an evolution within a target evaluated, the best first, at most CANDIDATES of them."""
    flops = config.costs["flops"]
    categories = config.space.search_space.num_categories
    found = evolve(losses_of, lambda rows_ND: flops(rows_ND) <= target, categories, evaluations, rng)
    canonical_ND = Equivalence.of(config.space).canonical(np.array(found))
    return np.array(list(dict.fromkeys(map(tuple, canonical_ND.tolist())))[:CANDIDATES])


def _candidate(place: int, architecture: Architecture, config: OneShotSearchConfig) -> Candidate:
    costs = {name: float(cost(np.array([architecture]))[0]) for name, cost in config.costs.items()}
    return Candidate(
        goal=place,
        origin="slice",
        architecture=architecture,
        costs=costs,
        complexity=costs[config.complexity] / config.complexity_scale,
        evaluation_id=None,
        recorded_loss=None,
        within_budget=True,
    )


def _choose(
    method: Method,
    config: OneShotSearchConfig,
    goals: Sequence[Goal],
    candidates: Sequence[Candidate],
    settings: Settings,
    num_threads: int,
    figures: Figures,
) -> dict[float, Architecture]:
    """Choose the network of each target as at the end of a search: by successive halving of its pool."""
    evaluator = open_evaluator(config, settings, num_threads)
    ranking = Ranking(
        weight=prior_weight(spent_by(config).weight_steps),
        prior=figures if method.prior else {},
        skips_DC=skips(config.space),
    )
    rungs = evaluator.rungs(max(np.bincount([each.goal for each in candidates])))
    halving = SuccessiveHalving(candidates, goals, rungs, ranking)
    halving.run(evaluator.evaluate)
    family = choose(halving.finalists, goals, halving.scores, ranking, rung=rungs[-1].number, left_out=halving.left_out)
    return {
        goal.limits["flops"]: each.candidate.architecture
        for goal, each in zip(family.goals, family.networks, strict=False)
    }
