"""The numbers of a search's images in its record: found, used and left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multinas_ray.runs.documents import read_document, write_document
from multinas_ray.storage import AnyPath, exists, resolve

IMAGES_FILE = "images.json"


def write_images(run_path: AnyPath, counts: Mapping[str, Any]) -> None:
    """Write the numbers of the images beside the record, in place of those of an earlier session.

    Args:
        run_path: the folder of the run.
        counts: see `data.image_counts`.
    """
    write_document(resolve(run_path).join(IMAGES_FILE), counts)


def read_images(run_path: AnyPath) -> dict[str, Any] | None:
    """Read the numbers of the images; None if none are recorded, as in a Tune search.

    Raises:
        StateError: the file is damaged.
    """
    file = resolve(run_path).join(IMAGES_FILE)
    return read_document(file, "resume the search to have it written anew") if exists(file) else None
