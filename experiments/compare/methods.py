"""The methods by which K networks are found; the final choice is made in the same way for all."""

# K targets

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.compare.evolution import Architecture, Keeps, LossesOf, evolve, random_within
from experiments.compare.scoring import BatchLosses, open_evaluator
from experiments.compare.settings import CANDIDATES, Budget, Settings, config_of, spent_by
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
)
from multinas_ray.spaces import Equivalence

MATCHED_SHARE = 0.9
"""Random architectures are matched in complexity: above this share of a target and at most the target. [ours]"""
SELECTION_STREAM = 11
"""Keeps these draws independent of the search's, which use the same seed."""


@dataclass(frozen=True)
class Method:
    """A way to find K networks."""

    title: str
    supernets: tuple[str, ...]
    """Names of the supernets that it trains, see `config_of`; methods share supernets of the same name."""
    kind: str
    """How networks are then found: "record" (in the searches' records), "evolution" or "random"."""


def methods_of(num_targets: int) -> dict[str, Method]:
    """All methods by name."""
    separate, full = (tuple(f"{name}-{k}" for k in range(num_targets)) for name in ("separate", "full"))
    return {
        "ours": Method(f"MultiNAS, K = {num_targets}, weights and distributions together", ("ours",), "record"),
        "ours-first": Method(f"MultiNAS, K = {num_targets}, weights first", ("uniform",), "record"),
        "separate": Method(f"{num_targets} separate searches, same total cost", separate, "record"),
        "spos": Method("Uniform supernet, then evolution (SPOS)", ("uniform",), "evolution"),
        "random": Method("Uniform supernet, then best of random", ("uniform",), "random"),
        "separate-full": Method(f"{num_targets} separate searches, {num_targets} times the cost", full, "record"),
    }


def expected_budget(method: Method, settings: Settings, out: Path) -> Budget:
    """The budget of a method before its final choice: its searches, and its evaluations of a fixed supernet."""
    total = Budget(weight_steps=0, evaluations=0)
    for supernet in method.supernets:
        total += spent_by(config_of(supernet, 0, settings, out, 1))
    if method.kind != "record":  # only the weights are used
        return replace(total, evaluations=settings.num_targets * evaluations_per_target(settings))
    return total


def evaluations_per_target(settings: Settings) -> int:
    """Number of evaluations for each target in a search of a fixed supernet."""
    return settings.budget.evaluations // settings.num_targets


def find_networks(name: str, seed: int, settings: Settings, out: Path, num_threads: int) -> pd.DataFrame:
    """The networks of a method whose supernets are trained.

    Returns:
        A row for each network, from small to large: `target`, `architecture`, `flops` in the searched space, `loss` and
        `accuracy` with the supernet's weights on all validation images, and the total `evaluations` of the method.
    """
    method = methods_of(settings.num_targets)[name]
    frames, evaluations = [], 0
    for supernet in method.supernets:
        config = config_of(supernet, seed, settings, out, num_threads)
        goals, candidates, spent = _candidates(method, config, settings, num_threads)
        evaluations += spent
        frames.append(_choose(config, goals, candidates, settings, num_threads))
    return pd.concat(frames, ignore_index=True).assign(evaluations=evaluations)


def _candidates(
    method: Method, config: OneShotSearchConfig, settings: Settings, num_threads: int
) -> tuple[list[Goal], list[Candidate], int]:
    """The goals, their candidates, and the number of evaluations that were spent."""
    rng = np.random.default_rng((config.seed, SELECTION_STREAM))
    if method.kind == "record":
        run = load_run(config.run_path)
        outcome = SearchOutcome.of(run, config.space.search_space, config.costs, Equivalence.of(config.space))
        goals = goals_of_run(run)
        return goals, candidates_for(outcome, goals, CANDIDATES, SLICE_SHARE, rng), len(run.evaluations)
    goals, candidates, spent = [], [], 0
    for place, target in enumerate(settings.targets):
        losses_of = BatchLosses(config, place, num_threads)
        found = search_fixed(method.kind, losses_of, config, target, evaluations_per_target(settings), rng)
        goals.append(Goal(limits={"flops": target}))
        candidates += [_candidate(place, each, config) for each in found[:CANDIDATES]]
        spent += losses_of.evaluations
    return goals, candidates, spent


def search_fixed(
    kind: str,
    losses_of: LossesOf,
    config: OneShotSearchConfig,
    target: float,
    evaluations: int,
    rng: np.random.Generator,
) -> list[Architecture]:
    """Search a trained supernet within a target; returns all evaluated architectures, the best first."""
    categories = config.space.search_space.num_categories
    if kind == "evolution":
        return evolve(losses_of, within(config, 0.0, target), categories, evaluations, rng)
    drawn = random_within(within(config, MATCHED_SHARE * target, target), categories, evaluations, (), rng)
    order = np.argsort(losses_of(np.array(drawn)), kind="stable")
    return [drawn[place] for place in order]


def within(config: OneShotSearchConfig, above: float, target: float) -> Keeps:
    """Whether architectures have more FLOPs than `above` and at most `target`."""
    flops = config.costs["flops"]
    return lambda rows_ND: (flops(rows_ND) <= target) & (flops(rows_ND) > above)


def _candidate(place: int, architecture: Architecture, config: OneShotSearchConfig) -> Candidate:
    costs = {name: float(cost(np.array([architecture]))[0]) for name, cost in config.costs.items()}
    return Candidate(
        goal=place,
        origin="evaluated",
        architecture=architecture,
        costs=costs,
        complexity=costs[config.complexity] / config.complexity_scale,
        evaluation_id=None,
        recorded_loss=None,
        within_budget=True,
    )


def _choose(
    config: OneShotSearchConfig,
    goals: Sequence[Goal],
    candidates: Sequence[Candidate],
    settings: Settings,
    num_threads: int,
) -> pd.DataFrame:
    """Score the candidates and take the best within each target."""
    evaluator = open_evaluator(config, settings, num_threads)
    rungs = evaluator.rungs(CANDIDATES)
    halving = SuccessiveHalving(candidates, goals, rungs, Ranking())
    halving.run(evaluator.evaluate)
    family = choose(halving.finalists, goals, halving.scores, rung=rungs[-1].number, left_out=halving.left_out)
    rows = [
        (goal.limits["flops"], each.candidate.architecture, each.candidate.costs["flops"], *each.score[:2])
        for goal, each in zip(family.goals, family.networks, strict=False)
    ]
    return pd.DataFrame(rows, columns=["target", "architecture", "flops", "loss", "accuracy"])
