"""The end of a search: the trained supernet in the run's folder, and read from there."""

from __future__ import annotations

import io

import torch

from multinas_ray.errors import StateError
from multinas_ray.results import resolve, write_atomic
from multinas_ray.results.storage import exists, read_bytes
from multinas_ray.spaces import NetworkSpace
from multinas_ray.supernets import Supernet

SUPERNET_FILE = "supernet.pt"
SUPERNET_VERSION = 1


def write_supernet(supernet: Supernet, run_path: str) -> None:
    """Write `supernet.pt`: version, the space's fingerprint and the weights, for torch.load(weights_only=True)."""
    buffer = io.BytesIO()
    state = {
        "version": SUPERNET_VERSION,
        "fingerprint": supernet.network_space.fingerprint,
        "weights": supernet.state_dict(),
    }
    torch.save(state, buffer)
    write_atomic(resolve(run_path).join(SUPERNET_FILE), buffer.getvalue())


def load_supernet(run_path: str, space: NetworkSpace, norm_batch_size: int) -> Supernet:
    """Read the trained supernet of a run, on the CPU.

    Args:
        run_path: the run's folder, local or a URI.
        space: its space.
        norm_batch_size: images that are normalised together.

    Raises:
        StateError: there is none, or it is damaged, of another version, or of another space.
    """
    file = resolve(run_path).join(SUPERNET_FILE)
    if not exists(file):
        raise StateError(f"{run_path} has no {SUPERNET_FILE}, its search has not ended: resume it")
    try:
        state = torch.load(io.BytesIO(read_bytes(file)), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its file's damage happens to cause
        raise StateError(f"{file} cannot be read ({error}): restore a copy") from error
    if state.get("version") != SUPERNET_VERSION:
        raise StateError(
            f"{file} is of version {state.get('version')}, this package reads {SUPERNET_VERSION}: "
            "use the version of multinas-ray that wrote it"
        )
    if state["fingerprint"] != space.fingerprint:
        raise StateError(f"{file} holds the weights of another space than {space.name!r}: restore the run's own")
    supernet = Supernet(space, norm_batch_size=norm_batch_size, seed=0)
    supernet.load_state_dict(state["weights"])
    return supernet
