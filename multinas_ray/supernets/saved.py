"""Writing the trained supernet to the run's folder at the end of a search, and reading it from there."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import torch
from torch import nn

from multinas_ray.errors import StateError, StorageError, first_line
from multinas_ray.settings import checked_arguments
from multinas_ray.spaces import Space
from multinas_ray.storage import AnyPath, Location, exists, read_bytes, resolve, write_atomic
from multinas_ray.supernets.file_names import SUPERNET_FILE
from multinas_ray.supernets.kinds import build_subnet, make_supernet
from multinas_ray.supernets.supernet import Supernet

SUPERNET_VERSION = 1


@checked_arguments
def write_supernet(supernet: Supernet, run_path: str) -> None:
    """Write `supernet.pt`: version, the space's fingerprint and the weights, for torch.load(weights_only=True)."""
    buffer = io.BytesIO()
    state = {
        "version": SUPERNET_VERSION,
        "fingerprint": supernet.space.fingerprint,
        "weights": supernet.state_dict(),
    }
    torch.save(state, buffer)
    write_atomic(resolve(run_path).join(SUPERNET_FILE), buffer.getvalue())


@checked_arguments
def load_supernet(run_path: str, space: Space, norm_batch_size: int) -> Supernet:
    """Read the trained supernet of a run, on the CPU.

    Args:
        run_path: the run's folder, local or a URI.
        space: the run's space.
        norm_batch_size: images that are normalised together.

    Raises:
        StateError: There is no supernet, or it is damaged, of another version, or of another space.
    """
    return _supernet_of(_read_file(run_path), resolve(run_path).join(SUPERNET_FILE), space, norm_batch_size)


@checked_arguments
def check_supernet(run_path: str, space: Space, norm_batch_size: int) -> str:
    """Load the trained supernet of a run once, so that damage is reported before any actor starts.

    Args:
        run_path: the run's folder, local or a URI.
        space: the run's space.
        norm_batch_size: images that are normalised together.

    Returns:
        The SHA-256 digest of its file.

    Raises:
        StateError: As in `load_supernet`.
    """
    content = _read_file(run_path)
    _supernet_of(content, resolve(run_path).join(SUPERNET_FILE), space, norm_batch_size)
    return hashlib.sha256(content).hexdigest()


def is_supernet_damaged(run_path: str) -> bool:
    """Whether the file of the trained supernet is there and is no file of torch."""
    file = resolve(run_path).join(SUPERNET_FILE)
    if not exists(file):
        return False
    try:
        torch.load(io.BytesIO(read_bytes(file)), map_location="cpu", weights_only=True)
    except StorageError:
        raise
    except Exception:  # torch's exception depends on the kind of damage
        return True
    return False


@checked_arguments
def load_subnet(space: Space, architecture: Sequence[int], file: AnyPath, remedy: str) -> nn.Module:
    """Build a network with the weights of a file, on the CPU.

    Args:
        space: The space of the network.
        architecture: (D,) the choices of the network.
        file: Its state dict, as `torch.save` writes it.
        remedy: What to do about a damaged file.

    Raises:
        StateError: The file is missing, damaged, or holds the weights of another network.
    """
    network, place = build_subnet(space, architecture), resolve(file)
    content = read_bytes(place)
    try:
        network.load_state_dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises what its file's damage happens to cause
        raise StateError(
            f"{place} does not hold the weights of this network ({first_line(error)}): {remedy}"
        ) from error
    return network


def _read_file(run_path: str) -> bytes:
    file = resolve(run_path).join(SUPERNET_FILE)
    if not exists(file):
        raise StateError(
            f"{run_path} has no {SUPERNET_FILE}: resume its search, which writes the file at its end, or restore a copy"
        )
    return read_bytes(file)


def _supernet_of(content: bytes, file: Location, space: Space, norm_batch_size: int) -> Supernet:
    supernet = make_supernet(space, norm_batch_size, seed=0)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        version, fingerprint, weights = state["version"], state["fingerprint"], state["weights"]
        if version == SUPERNET_VERSION and fingerprint == space.fingerprint:
            supernet.load_state_dict(weights)
    except Exception as error:  # torch's exception depends on the kind of damage
        raise StateError(f"{file} cannot be read ({first_line(error)}): restore a copy") from error
    if version != SUPERNET_VERSION:
        raise StateError(
            f"{file} is of version {version}, this package reads {SUPERNET_VERSION}: "
            "use the version of multinas-ray that wrote it"
        )
    if fingerprint != space.fingerprint:
        raise StateError(f"{file} holds the weights of another space than {space.name!r}: restore the run's own file")
    return supernet
