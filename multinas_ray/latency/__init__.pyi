from .config import ProfileSettings
from .foreign_tables import read_latency_table, read_proxyless_table
from .kit import KIT_NETWORKS, make_kit
from .model_table import ModelLatencyTable, TermLatency
from .models import ModelLatency, profile_model
from .profiling import profile_space, validate_table
from .table import TABLE_FILE, BlockLatency, LatencyConditions, LatencyTable, blocks_of, describe_block
from .timing import OnPass
from .validation import LatencyValidation, validation_file

__all__ = [
    "KIT_NETWORKS",
    "TABLE_FILE",
    "BlockLatency",
    "LatencyConditions",
    "LatencyTable",
    "LatencyValidation",
    "ModelLatency",
    "ModelLatencyTable",
    "OnPass",
    "ProfileSettings",
    "TermLatency",
    "blocks_of",
    "describe_block",
    "make_kit",
    "profile_model",
    "profile_space",
    "read_latency_table",
    "read_proxyless_table",
    "validate_table",
    "validation_file",
]
