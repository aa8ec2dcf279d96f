"""Whether the files beside the record are whole, without torch: the supernet, and all that is kept of each network."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from multinas_ray import storage
from multinas_ray.errors import StateError, StorageError
from multinas_ray.runs.layout import (
    ARCHITECTURE_FILE,
    CHECKSUMS_FILE,
    EXPORT_FOLDER,
    FAMILIES_FOLDER,
    NETWORKS_FOLDER,
    RETRAINED_FILE,
    WEIGHTS_FILE,
)
from multinas_ray.runs.reading import SELECT_ANEW, read_architectures, read_candidates
from multinas_ray.runs.retrained import load_retraining, read_training
from multinas_ray.settings import checked_arguments
from multinas_ray.supernets import SUPERNET_FILE

_SELECT_OVER = "choose the networks again by `multinas-ray select RUN`"
_EXPORT_AGAIN = "write it again by `multinas-ray export RUN`"
_COUNT = "# files: {}"
_WEIGHTS = {
    SUPERNET_FILE: "restore a copy; where a checkpoint is left, resuming writes it again",
    WEIGHTS_FILE: _SELECT_OVER,
    RETRAINED_FILE: "restore a copy, or train the network anew by `multinas-ray retrain RUN --overwrite`",
}


def family_problems(run: storage.AnyPath, config: Mapping[str, Any]) -> list[str]:
    """What is wrong with the supernet and the families of a run.

    Every file is read: weights have checksums within them, exported files in a list of their own. A file that is not
    there is no problem, since a record can be copied without its weights; one that a list names must be there. The
    networks of each family must be the chosen ones of its candidates, and those that its folders describe.

    Args:
        run: `<storage_path>/<run>`, local or a URI.
        config: The run's configuration.

    Returns:
        A line for each problem, which names the file and the remedy.
    """
    place = storage.resolve(run)
    labels = storage.list_folders(place.join(FAMILIES_FOLDER))
    problems = list(_damaged_archives(place, SUPERNET_FILE))
    for family in (place, *(place.join(FAMILIES_FOLDER, label) for label in labels)):
        problems += _problems_of(family, config)
    return problems


def _problems_of(family: storage.Location, config: Mapping[str, Any]) -> Iterator[str]:
    networks: dict[str, tuple[int, ...]] = {}
    try:
        table = read_architectures(family, config)
        networks = {str(row["network"]): row["architecture"] for row in table.to_dict("records")}
        if networks and not _are_chosen(table, read_candidates(family, config)):
            yield f"the networks of {family} are not the chosen ones of its candidates: {SELECT_ANEW}"
    except StorageError:
        raise
    except StateError as error:
        yield str(error)
    for name in storage.list_folders(family.join(NETWORKS_FOLDER)):
        folder = family.join(NETWORKS_FOLDER, name)
        yield from _damaged_archives(folder, WEIGHTS_FILE, RETRAINED_FILE)
        yield from _told(load_retraining, folder)
        yield from _told(read_training, folder)
        if name in networks:
            yield from _wrong_description(folder.join(ARCHITECTURE_FILE), networks[name])
        yield from _wrong_exports(folder.join(EXPORT_FOLDER))


def _are_chosen(networks: pd.DataFrame, candidates: pd.DataFrame) -> bool:
    chosen = candidates[candidates["chosen"]]
    return all(chosen[name].tolist() == networks[name].tolist() for name in ("network", "architecture"))


def _told(read: Callable[[storage.AnyPath], object], folder: storage.Location) -> Iterator[str]:
    try:
        read(folder)
    except StorageError:
        raise
    except StateError as error:
        yield str(error)


def _damaged_archives(folder: storage.Location, *names: str) -> Iterator[str]:
    """Files of weights that are no whole zip archives, as torch writes them."""
    for name in names:
        content = _content(folder.join(name))
        if content is not None and _is_damaged(content):
            yield f"{folder.join(name)} is damaged: {_WEIGHTS[name]}"


def _is_damaged(archive: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return opened.testzip() is not None
    except Exception:  # zipfile raises what the damage happens to cause
        return True


def _wrong_description(file: storage.Location, architecture: tuple[int, ...]) -> Iterator[str]:
    if not storage.exists(file):
        return
    try:
        described = tuple(storage.read_plain(file)["indices"])
    except StorageError:
        raise
    except (StateError, KeyError, TypeError):
        described = None
    if described != architecture:
        yield f"{file} does not describe the network of its family's table: {_SELECT_OVER}"


def _wrong_exports(folder: storage.Location) -> Iterator[str]:
    listed = _content(folder.join(CHECKSUMS_FILE))
    if listed is None:
        return
    try:
        sums = _listed_checksums(listed)
    except ValueError:
        yield f"{folder.join(CHECKSUMS_FILE)} is damaged: {_EXPORT_AGAIN}"
        return
    for name, expected in sums.items():
        content = _content(folder.join(name))
        if content is None:
            yield f"{folder.join(name)} is missing: {_EXPORT_AGAIN}"
        elif hashlib.sha256(content).hexdigest() != expected:
            yield f"{folder.join(name)} has changed since it was written: {_EXPORT_AGAIN}"


@checked_arguments
def list_checksums(contents: Mapping[str, bytes]) -> bytes:
    """The content of SHA256SUMS for some files, in the form that `sha256sum --check` reads.

    A comment with the number of files comes first, by which a list that was cut is noticed.

    Args:
        contents: The files' contents by name.
    """
    lines = [f"{hashlib.sha256(contents[name]).hexdigest()}  {name}" for name in sorted(contents)]
    return "".join(f"{line}\n" for line in (_COUNT.format(len(lines)), *lines)).encode()


def _listed_checksums(content: bytes) -> dict[str, str]:
    """The checksums that SHA256SUMS lists, by name of the file; raises ValueError where it is damaged."""
    first, *lines = content.decode("utf-8").splitlines() or [""]
    sums = {}
    for line in lines:
        checksum, name = line.split("  ", maxsplit=1)
        if len(bytes.fromhex(checksum)) != hashlib.sha256().digest_size or "/" in name:
            raise ValueError(f"not a line of {CHECKSUMS_FILE}: {line!r}")
        sums[name] = checksum
    if first != _COUNT.format(len(sums)):
        raise ValueError(f"{CHECKSUMS_FILE} lists {len(sums)} files and begins with {first!r}")
    return sums


def _content(file: storage.Location) -> bytes | None:
    return storage.read_bytes(file) if storage.exists(file) else None
