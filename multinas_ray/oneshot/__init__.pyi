from .config import OneShotSearchConfig
from .ending import PARETO_FILE, choose_and_finish, latest_distributions_table
from .estimate import fitted_to, told_seconds
from .figures import RoundFigures
from .job import WorkerJob
from .messages import Round, RoundResult
from .rehearsal import dry_run, rates_of, surroundings_of
from .rounds import RoundWorker, average_gradients
from .running import run_search
from .schedule import Plan, Schedule
from .views import PLAIN_INTERVAL_SECONDS
from .worker import DAMAGED_FOLDER, Outbox

__all__ = [
    "DAMAGED_FOLDER",
    "PARETO_FILE",
    "PLAIN_INTERVAL_SECONDS",
    "OneShotSearchConfig",
    "Outbox",
    "Plan",
    "Round",
    "RoundFigures",
    "RoundResult",
    "RoundWorker",
    "Schedule",
    "WorkerJob",
    "average_gradients",
    "choose_and_finish",
    "dry_run",
    "fitted_to",
    "latest_distributions_table",
    "rates_of",
    "run_search",
    "surroundings_of",
    "told_seconds",
]
