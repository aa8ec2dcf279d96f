"""Whether the files of weights in a run are whole, without torch: each is a zip archive with checksums."""

import io
import zipfile

from multinas_ray import storage
from multinas_ray.errors import StorageError
from multinas_ray.runs.layout import FAMILIES_FOLDER, NETWORKS_FOLDER, RETRAINED_FILE, WEIGHTS_FILE
from multinas_ray.supernets import SUPERNET_FILE

_REMEDIES = {
    SUPERNET_FILE: "restore a copy; where a checkpoint is left, resuming writes it again",
    WEIGHTS_FILE: "choose the networks again by `multinas-ray select RUN`",
    RETRAINED_FILE: "restore a copy, or train the network anew by `multinas-ray retrain RUN --overwrite`",
}


def damaged_weights(run: storage.AnyPath) -> list[str]:
    """What is wrong with the files of weights that a run has: of its supernet, and of the networks of its families.

    Every file is read. One that is not there is no damage, since a record can be copied without its weights.

    Returns:
        A line for each damaged file, with the remedy.
    """
    place = storage.resolve(run)
    labels = storage.list_folders(place.join(FAMILIES_FOLDER))
    families = [place, *(place.join(FAMILIES_FOLDER, label) for label in labels)]
    files = [place.join(SUPERNET_FILE)]
    for family in families:
        networks = family.join(NETWORKS_FOLDER)
        for network in storage.list_folders(networks):
            files += [networks.join(network, name) for name in (WEIGHTS_FILE, RETRAINED_FILE)]
    return [f"{file} is damaged: {_REMEDIES[file.name]}" for file in files if _is_damaged(file)]


def _is_damaged(file: storage.Location) -> bool:
    if not storage.exists(file):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(storage.read_bytes(file))) as archive:
            return archive.testzip() is not None
    except StorageError:
        raise
    except Exception:  # zipfile raises what the damage happens to cause
        return True
