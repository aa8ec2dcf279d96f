from .choice import choose
from .config import CANDIDATES_PER_NETWORK, SLICE_SHARE, SelectConfig
from .evaluation import CandidateEvaluator, CandidateJob
from .families import Family, family_labels, family_path, load_family
from .goals import Goal, goals_of_run
from .opening import OpenedRun, open_run
from .outcome import SearchOutcome
from .pool import Candidate, candidates_for
from .selecting import Selection, select_networks
from .tables import networks_table

__all__ = [
    "CANDIDATES_PER_NETWORK",
    "SLICE_SHARE",
    "Candidate",
    "CandidateEvaluator",
    "CandidateJob",
    "Family",
    "Goal",
    "OpenedRun",
    "SearchOutcome",
    "SelectConfig",
    "Selection",
    "candidates_for",
    "choose",
    "family_labels",
    "family_path",
    "goals_of_run",
    "load_family",
    "networks_table",
    "open_run",
    "select_networks",
]
