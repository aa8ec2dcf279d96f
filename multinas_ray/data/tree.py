"""A tree of image files with a folder for each class, listed without opening an image."""

# n files

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torchvision.datasets.folder import IMG_EXTENSIONS

from multinas_ray.data.listing import ImageListing
from multinas_ray.errors import DataError

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Folder names that stand for a split and not for a class."""
_SCAN_THREADS = 16  # a shared disk answers many requests at once
_NAMES_SHOWN = 5


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Labelled image files that are not opened yet; a million of them take about 50 MB."""

    root: str
    """Folder to which all names are relative."""

    names: npt.NDArray[np.bytes_]
    """(n,) paths below `root`, in the file system's encoding."""

    labels: npt.NDArray[np.int64]
    """(n,) class of each image, from 0."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def groups(self) -> None:
        """Files are read one by one, in any order."""

    def name(self, index: int) -> str:
        """Return the path of file `index`."""
        return str(Path(self.root, os.fsdecode(self.names[index])))

    def read(self, index: int) -> bytes:
        """Return the content of file `index`.

        Raises:
            OSError: The file cannot be read.
        """
        return Path(self.name(index)).read_bytes()

    def select(self, index: npt.NDArray[np.int64]) -> "ImageFiles":
        """Return the files at `index`, in its order."""
        return ImageFiles(self.root, self.names[index], self.labels[index])

    def join(self, other: "ImageFiles") -> "ImageFiles":
        """Return these files, then the others of the same tree."""
        names, labels = np.concatenate([self.names, other.names]), np.concatenate([self.labels, other.labels])
        return ImageFiles(self.root, names, labels)


def scan_tree(path: str) -> ImageListing:
    """List a tree's files.

    A tree may have three forms: `train/<class>/*` with `val` or `test` beside it, whose images are then the test
    images; `train`, `val` and `test`, where architectures are judged on `val` [ours]; or `<class>/*` alone. `valid`,
    `validation` and `training` are accepted as other names. Images may be anywhere below their class's folder. Hidden
    files and other kinds of files are ignored, and so is a `test` folder without class folders, as ImageNet has one.

    Raises:
        DataError: There is no such tree, a folder cannot be read, a class has too few images, or splits differ in
            their classes.
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder: give the folder that holds a folder for each class")
    folders = _subfolders(root)
    splits = _split_folders(root, folders)
    if not splits:
        class_names = _class_names(root, folders)
        return ImageListing(_list_files(root, root, class_names, least=2), None, None, class_names)
    class_names = _class_names(splits["train"], _subfolders(splits["train"]))
    files: dict[str, ImageFiles] = {}
    for split, folder in splits.items():
        _check_classes(folder, class_names, splits["train"])
        files[split] = _list_files(root, folder, class_names, least=2 if split == "train" else 1)
    if "test" not in files:  # if there are only two splits, the second one has the test images
        return ImageListing(files["train"], None, files.get("validation"), class_names)
    return ImageListing(files["train"], files.get("validation"), files["test"], class_names)


def _split_folders(root: Path, folders: Sequence[Path]) -> dict[str, Path]:
    """The folders that are splits, training first; none if the folders are classes."""
    splits: dict[str, Path] = {}
    for folder in folders:
        split = SPLIT_FOLDERS.get(folder.name.lower())
        if split == "test" and not _subfolders(folder):
            continue  # images without labels
        if split is not None and split in splits:
            raise DataError(f"{splits[split]} and {folder} are names of the same split: keep one of them")
        if split is not None:
            splits[split] = folder
    if "train" in splits:
        return {"train": splits["train"], **splits}
    if splits and len(splits) == len(folders):
        raise DataError(f"{root} has {next(iter(splits.values())).name} but no train folder: name one 'train'")
    return {}


def _class_names(folder: Path, folders: Sequence[Path]) -> tuple[str, ...]:
    if len(folders) < 2:
        raise DataError(
            f"{folder} must have a folder for each of at least two classes, it has {len(folders)} folder(s): "
            "put the images of each class into a folder with its name"
        )
    return tuple(each.name for each in folders)


def _check_classes(folder: Path, class_names: tuple[str, ...], train_folder: Path) -> None:
    others = {each.name for each in _subfolders(folder)}
    for where, names in (
        (folder, sorted(set(class_names) - others)),
        (train_folder, sorted(others - set(class_names))),
    ):
        if names:
            raise DataError(
                f"{train_folder} and {folder} must have the same classes, {where} lacks {_some(names)}: "
                "add the folders, or move the others away"
            )


def _list_files(root: Path, folder: Path, class_names: tuple[str, ...], *, least: int) -> ImageFiles:
    with ThreadPoolExecutor(_SCAN_THREADS) as pool:
        listed = list(pool.map(lambda name: sorted(_image_names(root, folder / name)), class_names))
    for name, files in zip(class_names, listed, strict=True):
        if len(files) < least:
            has = f"has {len(files)}" if files else "has none"
            raise DataError(
                f"a class folder must have at least {least} image(s) ({', '.join(IMG_EXTENSIONS)}), {folder / name} "
                f"{has}: add images, or remove the folder"
            )
    labels = np.repeat(np.arange(len(class_names)), [len(files) for files in listed])
    return ImageFiles(str(root), np.array([name for files in listed for name in files]), labels.astype(np.int64))


def _image_names(root: Path, folder: Path) -> Iterator[bytes]:
    """Names of a class's images below the root."""

    def refuse(error: OSError) -> None:
        raise DataError(f"the folder {error.filename} cannot be read ({error.strerror}): check its rights") from error

    for where, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(where).relative_to(root)
        for name in files:
            if name.lower().endswith(IMG_EXTENSIONS) and not name.startswith("."):
                yield os.fsencode(below / name)


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read ({error.strerror}): check its rights") from error


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(repr(name) for name in names[:_NAMES_SHOWN]) + more
