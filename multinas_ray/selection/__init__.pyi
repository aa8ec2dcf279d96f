from .choice import choose
from .config import CANDIDATES_PER_NETWORK, PRIOR, SLICE_SHARE, SelectConfig
from .damage import drop_damaged_family
from .evaluation import CandidateEvaluator, CandidateJob
from .families import Family, family_labels, family_path, load_family
from .family_copying import copy_family
from .goals import Goal, goals_of_run
from .halving import Rung, SuccessiveHalving, choice_passes, plan_rungs
from .opening import OpenedRun, open_run
from .outcome import SearchOutcome
from .pool import Candidate, candidates_for
from .prior import PriorPart, check_prior, make_parts, prior_weight, register_prior
from .promising import best_by_prior, promising_networks
from .ranking import Ranking, scaled_ranks
from .scores import Score
from .selecting import Selection, select_networks
from .tables import networks_table, rung_counts, spent_text

__all__ = [
    "CANDIDATES_PER_NETWORK",
    "PRIOR",
    "SLICE_SHARE",
    "Candidate",
    "CandidateEvaluator",
    "CandidateJob",
    "Family",
    "Goal",
    "OpenedRun",
    "PriorPart",
    "Ranking",
    "Rung",
    "Score",
    "SearchOutcome",
    "SelectConfig",
    "Selection",
    "SuccessiveHalving",
    "best_by_prior",
    "candidates_for",
    "check_prior",
    "choice_passes",
    "choose",
    "copy_family",
    "drop_damaged_family",
    "family_labels",
    "family_path",
    "goals_of_run",
    "load_family",
    "make_parts",
    "networks_table",
    "open_run",
    "plan_rungs",
    "prior_weight",
    "promising_networks",
    "register_prior",
    "rung_counts",
    "scaled_ranks",
    "select_networks",
    "spent_text",
]
