from .failures import LastingErrorsEnd, cause_of, own_error, would_come_again
from .joining import is_cluster_there
from .metrics import Figures, SearchMetrics
from .nodes import check_nodes, check_other_nodes, check_versions, describe_nodes
from .notices import NoticedCheckpoints
from .probe import NodeFacts
from .progress import counted_progress
from .resources import check_room, room_for, wait_for_room, worker_resources
from .session import ray_session
from .spot import LAST_CHECKPOINT_SECONDS, SpotNotice, SpotWatch
from .trainer import GroupTrainer
from .user_code import load_module, load_object

__all__ = [
    "LAST_CHECKPOINT_SECONDS",
    "Figures",
    "GroupTrainer",
    "LastingErrorsEnd",
    "NodeFacts",
    "NoticedCheckpoints",
    "SearchMetrics",
    "SpotNotice",
    "SpotWatch",
    "cause_of",
    "check_nodes",
    "check_other_nodes",
    "check_room",
    "check_versions",
    "counted_progress",
    "describe_nodes",
    "is_cluster_there",
    "load_module",
    "load_object",
    "own_error",
    "ray_session",
    "room_for",
    "wait_for_room",
    "worker_resources",
    "would_come_again",
]
