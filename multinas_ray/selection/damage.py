"""A family with a damaged file is taken away, so that its networks are chosen again."""

from multinas_ray.errors import StateError
from multinas_ray.runs import ARCHITECTURES_FILE, CANDIDATES_FILE
from multinas_ray.selection.families import load_family
from multinas_ray.settings import checked_arguments
from multinas_ray.spaces import Space
from multinas_ray.storage import delete_file, resolve
from multinas_ray.supernets import load_subnet

_REMEDY = "choose the networks again"


@checked_arguments
def drop_damaged_family(run_path: str, space: Space) -> str | None:
    """Take away a run's own family if a file of it is missing or damaged: a table, or the weights of a network.

    Only the table of the networks is deleted, without which there is no family. What was trained stays for the
    networks that are chosen again.

    Args:
        run_path: `<storage_path>/<run>`, local or a URI.
        space: the run's space.

    Returns:
        The damage, as a line that names the file; None if the family is whole.
    """
    try:
        family = load_family(run_path)
        if family.candidates.empty:
            raise StateError(f"{resolve(family.path).join(CANDIDATES_FILE)} is missing: {_REMEDY}")
        for row in family.architectures.to_dict("records"):
            load_subnet(space, row["architecture"], resolve(family.path).join(row["weights_path"]), _REMEDY)
    except StateError as error:
        delete_file(resolve(run_path).join(ARCHITECTURES_FILE))
        return str(error)
    return None
