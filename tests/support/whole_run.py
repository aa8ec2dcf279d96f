"""What a tiny search must have left that came to its end."""

from pathlib import Path

import torch

from multinas_ray.runs import Run, verify_run
from multinas_ray.selection import load_family
from multinas_ray.supernets import build_subnet
from tests.support.tiny_search import tiny_space


def check_whole(run: Run, warmup_rounds: int = 5, search_rounds: int = 30) -> None:
    """Every planned evaluation once, the distributions that replaying them gives, and K networks whose weights load."""
    assert run.is_finished
    rows = run.evaluations
    assert rows["tell_order"].tolist() == list(range(6 * search_rounds))
    assert rows["id"].is_unique
    assert sorted(set(rows["round"])) == list(range(warmup_rounds, warmup_rounds + search_rounds))
    assert verify_run(run.path).holds
    assert len(run.architectures) == 3
    assert run.architectures["params"].is_monotonic_increasing
    for network in run.architectures.to_dict("records"):
        weights = torch.load(Path(run.path) / network["weights_path"], weights_only=True)
        build_subnet(tiny_space(), network["architecture"]).load_state_dict(weights)
    candidates = load_family(run.path).candidates
    assert candidates[candidates["chosen"]]["architecture"].tolist() == run.architectures["architecture"].tolist()
