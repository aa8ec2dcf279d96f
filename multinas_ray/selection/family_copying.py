"""A family under another label: the same networks with the same inherited weights, without their trainings."""

from __future__ import annotations

from multinas_ray import storage
from multinas_ray.errors import ConfigError
from multinas_ray.runs import ARCHITECTURES_FILE, CANDIDATES_FILE, record_retrained
from multinas_ray.selection.families import Family, family_path, load_family


def copy_family(run_path: str, label: str | None, new_label: str) -> Family:
    """Copy a family of a run, so that its networks can be trained once more by another recipe.

    A copy that was made before stays as it is, with its trainings.

    Args:
        run_path: `<storage_path>/<run>`, local or a URI.
        label: the label of the family that is copied; None for the run's own.
        new_label: the label of the copy.

    Raises:
        ConfigError: another family has the new label.
        StateError: there is no such family, or a file is damaged.
    """
    source, target = storage.resolve(family_path(run_path, label)), storage.resolve(family_path(run_path, new_label))
    family = load_family(run_path, label)
    table = family.architectures
    if storage.exists(target.join(ARCHITECTURES_FILE)):
        copied = load_family(run_path, new_label)
        if copied.architectures["architecture"].tolist() != table["architecture"].tolist():
            raise ConfigError(f"the label {new_label!r} is that of a family of other networks: choose another label")
        return copied
    storage.make_folder(target)
    for weights in table["weights_path"].dropna():
        file = target.join(str(weights))
        storage.make_folder(file.parent)
        storage.write_atomic(file, storage.read_bytes(source.join(str(weights))))
    for name in (CANDIDATES_FILE, ARCHITECTURES_FILE):  # the last says that the others are there
        if storage.exists(source.join(name)):
            storage.write_atomic(target.join(name), storage.read_bytes(source.join(name)))
    record_retrained(str(target), dict.fromkeys(table["network"].tolist()))
    return load_family(run_path, new_label)
