from .config_space import ConfigSpace, Path, Slot
from .configuration import Kind, load_config, make_recorded_optimizer, write_config
from .documents import read_document, write_document
from .fronts import best_subset, nondominated
from .layout import (
    ARCHITECTURE_FILE,
    ARCHITECTURES_FILE,
    CANDIDATES_FILE,
    CHECKPOINT_FILE,
    CONFIG_FILE,
    EXPORT_FOLDER,
    FINISHED_FILE,
    RETRAINED_FILE,
    SESSIONS,
    SETTINGS_FILE,
    WEIGHTS_FILE,
    network_path,
)
from .mending import mend_config, mend_damage, mend_run
from .numbers import format_count, gigabytes
from .reading import Run, load_run, proposals_of, read_architectures, read_candidates, write_finished
from .recording import Results, RunRecord
from .resuming import ResumedRun, resume_run
from .retrained import (
    Retrained,
    RetrainingRecord,
    adopt_retrained,
    clear_retraining,
    drop_export,
    load_retraining,
    read_training,
    record_retrained,
    training_schema,
    write_retraining,
    write_training,
)
from .schema import architectures_schema, candidates_schema, config_metadata, evaluations_schema
from .sessions import RunSession, was_started
from .verification import Verification, verify_run

__all__ = [
    "ARCHITECTURES_FILE",
    "ARCHITECTURE_FILE",
    "CANDIDATES_FILE",
    "CHECKPOINT_FILE",
    "CONFIG_FILE",
    "EXPORT_FOLDER",
    "FINISHED_FILE",
    "RETRAINED_FILE",
    "SESSIONS",
    "SETTINGS_FILE",
    "WEIGHTS_FILE",
    "ConfigSpace",
    "Kind",
    "Path",
    "Results",
    "ResumedRun",
    "Retrained",
    "RetrainingRecord",
    "Run",
    "RunRecord",
    "RunSession",
    "Slot",
    "Verification",
    "adopt_retrained",
    "architectures_schema",
    "best_subset",
    "candidates_schema",
    "clear_retraining",
    "config_metadata",
    "drop_export",
    "evaluations_schema",
    "format_count",
    "gigabytes",
    "load_config",
    "load_retraining",
    "load_run",
    "make_recorded_optimizer",
    "mend_config",
    "mend_damage",
    "mend_run",
    "network_path",
    "nondominated",
    "proposals_of",
    "read_architectures",
    "read_candidates",
    "read_document",
    "read_training",
    "record_retrained",
    "resume_run",
    "training_schema",
    "verify_run",
    "was_started",
    "write_config",
    "write_document",
    "write_finished",
    "write_retraining",
    "write_training",
]
