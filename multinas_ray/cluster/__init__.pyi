from .failures import LastingErrorsEnd, cause_of, own_error, would_come_again
from .head_watch import ClusterGoneError, HeadWatch
from .interrupts import EndedAtOnce, Interrupts, sigterm_as_interrupt
from .metrics import Figures, SearchMetrics
from .needs import NodeNeeds, node_notes
from .nodes import check_nodes, check_versions, check_workers, describe_nodes
from .notices import NoticedCheckpoints
from .plain_table import PlainTable
from .probe import NodeFacts, check_software, software_versions
from .progress import counted_progress, standard_console
from .ranks import check_ranks
from .ray_errors import ray_errors_told
from .resources import check_room, room_for, wait_for_room, worker_resources, workers_on_a_node
from .session import end_log_monitor, is_cluster_there, ray_session, running_cluster
from .side_callback import SideCallback
from .side_matters import SideMatters, say, show
from .spot import LAST_CHECKPOINT_SECONDS, SpotNotice, SpotWatch
from .trackers import Following, Trackers
from .trainer import GroupTrainer
from .user_code import load_module, load_object

__all__ = [
    "LAST_CHECKPOINT_SECONDS",
    "ClusterGoneError",
    "EndedAtOnce",
    "Figures",
    "Following",
    "GroupTrainer",
    "HeadWatch",
    "Interrupts",
    "LastingErrorsEnd",
    "NodeFacts",
    "NodeNeeds",
    "NoticedCheckpoints",
    "PlainTable",
    "SearchMetrics",
    "SideCallback",
    "SideMatters",
    "SpotNotice",
    "SpotWatch",
    "Trackers",
    "cause_of",
    "check_nodes",
    "check_ranks",
    "check_room",
    "check_software",
    "check_versions",
    "check_workers",
    "counted_progress",
    "describe_nodes",
    "end_log_monitor",
    "is_cluster_there",
    "load_module",
    "load_object",
    "node_notes",
    "own_error",
    "ray_errors_told",
    "ray_session",
    "room_for",
    "running_cluster",
    "say",
    "show",
    "sigterm_as_interrupt",
    "software_versions",
    "standard_console",
    "wait_for_room",
    "worker_resources",
    "workers_on_a_node",
    "would_come_again",
]
