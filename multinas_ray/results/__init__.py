"""The record of a search on disk: written durably while it runs, read by anyone."""

from multinas_ray.results.choices import best_configs, pareto_front
from multinas_ray.results.run import Run, load_config, load_run, write_config, write_finished
from multinas_ray.results.schema import (
    SCHEMA_VERSION,
    architectures_schema,
    candidates_schema,
    config_metadata,
    consuming_update,
    distribution_columns,
    distributions_schema,
    evaluation_columns,
    evaluations_schema,
    rounds_schema,
    tune_evaluations_schema,
)
from multinas_ray.results.selection import Family, family_labels, family_path, load_family
from multinas_ray.results.snapshot import load_snapshot, save_snapshot
from multinas_ray.results.storage import check_writable, resolve, write_atomic
from multinas_ray.results.verify import Verification, verify_run
from multinas_ray.results.writer import TableWriter, write_table

__all__ = [
    "SCHEMA_VERSION",
    "Family",
    "Run",
    "TableWriter",
    "Verification",
    "architectures_schema",
    "best_configs",
    "candidates_schema",
    "check_writable",
    "config_metadata",
    "consuming_update",
    "distribution_columns",
    "distributions_schema",
    "evaluation_columns",
    "evaluations_schema",
    "family_labels",
    "family_path",
    "load_config",
    "load_family",
    "load_run",
    "load_snapshot",
    "pareto_front",
    "resolve",
    "rounds_schema",
    "save_snapshot",
    "tune_evaluations_schema",
    "verify_run",
    "write_atomic",
    "write_config",
    "write_finished",
    "write_table",
]
