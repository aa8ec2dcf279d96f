from .config_space import (ConfigSpace, Path, Slot)
from .fronts import (best_subset, nondominated)
from .layout import (ARCHITECTURES_FILE, ARCHITECTURE_FILE, CANDIDATES_FILE, CHECKPOINT_FILE, CONFIG_FILE, DISTRIBUTIONS, EVALUATIONS, EXPORT_FOLDER, RETRAINED_FILE, ROUNDS, WEIGHTS_FILE, network_path)
from .numbers import (format_count, gigabytes)
from .reading import (Run, load_config, load_run, proposals_of, read_table, write_config, write_finished)
from .retrained import (Retrained, RetrainingRecord, adopt_retrained, clear_retraining, drop_export, load_retraining, record_retrained, training_schema, write_retraining, write_training)
from .schema import (architectures_schema, candidates_schema, config_metadata, consuming_update, distribution_columns, distributions_schema, evaluation_columns, evaluations_schema, journal_header, rounds_schema, tune_evaluations_schema)
from .sessions import (RunSession, was_started)
from .snapshots import (load_snapshot, save_snapshot)
from .verification import (Verification, verify_run)

__all__ = [
    "ARCHITECTURES_FILE",
    "ARCHITECTURE_FILE",
    "CANDIDATES_FILE",
    "CHECKPOINT_FILE",
    "CONFIG_FILE",
    "ConfigSpace",
    "DISTRIBUTIONS",
    "EVALUATIONS",
    "EXPORT_FOLDER",
    "Path",
    "RETRAINED_FILE",
    "ROUNDS",
    "Retrained",
    "RetrainingRecord",
    "Run",
    "RunSession",
    "Slot",
    "Verification",
    "WEIGHTS_FILE",
    "adopt_retrained",
    "architectures_schema",
    "best_subset",
    "candidates_schema",
    "clear_retraining",
    "config_metadata",
    "consuming_update",
    "distribution_columns",
    "distributions_schema",
    "drop_export",
    "evaluation_columns",
    "evaluations_schema",
    "format_count",
    "gigabytes",
    "journal_header",
    "load_config",
    "load_retraining",
    "load_run",
    "load_snapshot",
    "network_path",
    "nondominated",
    "proposals_of",
    "read_table",
    "record_retrained",
    "rounds_schema",
    "save_snapshot",
    "training_schema",
    "tune_evaluations_schema",
    "verify_run",
    "was_started",
    "write_config",
    "write_finished",
    "write_retraining",
    "write_training",
]
