"""Names of the files and folders of a run, shared by those that write and those that read them."""

from multinas_ray.settings import checked_arguments

EVALUATIONS, DISTRIBUTIONS, ROUNDS = "evaluations", "distributions", "rounds"
SESSIONS = "sessions"
CHECKPOINTS = "checkpoints"
"""Folder of a one-shot search with its newest weights."""
CONFIG_FILE, FINISHED_FILE, STATE_FILE = "config.json", "finished.json", "state.json"
SETTINGS_FILE = "config.yaml"
"""The settings with which a search or a training was started; --config accepts the file."""
ARCHITECTURES_FILE, CANDIDATES_FILE = "architectures.parquet", "candidates.parquet"

ARCHITECTURE_FILE, WEIGHTS_FILE = "architecture.json", "weights.pt"
"""Files in a network's folder: its choices, and its weights from the supernet."""
RETRAINED_FILE, TRAINING_FILE, RETRAINING_FILE = "retrained.pt", "training.parquet", "retraining.json"
CHECKPOINT_FILE = "checkpoint.pt"
EXPORT_FOLDER = "export"
"""Folder of a network's exported files, below its own. A training removes the files of earlier weights."""
CHECKSUMS_FILE = "SHA256SUMS"
"""In the folder of exported files: the checksum of each other file, for `sha256sum --check` and for `verify_run`."""
FAMILIES_FOLDER = "families"
"""Folder of a run in which its further families have a folder each, named by its label."""
NETWORKS_FOLDER = "networks"
"""Folder of a family in which each network has a folder, named by its number."""
RETRAINING_FOLDER = "retraining"
"""Folder of a family in which Tune keeps the curves of trainings and the worker groups their files."""


@checked_arguments
def network_path(network: int) -> str:
    """Folder of a network's files, relative to its family's."""
    return f"{NETWORKS_FOLDER}/{network}"
