"""Names of the files and folders of a run, so that what is written in one place is found in another."""

EVALUATIONS, DISTRIBUTIONS, ROUNDS = "evaluations", "distributions", "rounds"
SESSIONS = "sessions"
CONFIG_FILE, FINISHED_FILE, STATE_FILE = "config.json", "finished.json", "state.json"
SETTINGS_FILE = "config.yaml"
"""The settings that a search or a training was started with, to be handed back by --config."""
ARCHITECTURES_FILE, CANDIDATES_FILE = "architectures.parquet", "candidates.parquet"

ARCHITECTURE_FILE, WEIGHTS_FILE = "architecture.json", "weights.pt"
"""In a network's folder: its choices, and the weights it has from the supernet."""
RETRAINED_FILE, TRAINING_FILE, RETRAINING_FILE = "retrained.pt", "training.parquet", "retraining.json"
CHECKPOINT_FILE = "checkpoint.pt"
EXPORT_FOLDER = "export"
"""Folder of a network's exported files, below its own; its trainings remove those of earlier weights."""


def network_path(network: int) -> str:
    """Folder of a network's files, relative to its family's."""
    return f"networks/{network}"
