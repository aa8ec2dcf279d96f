"""Which folders of a tree are splits, which are classes, and which are neither."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from multinas_ray.data.class_files import BESIDE, composed, count_beside, shown, subfolders
from multinas_ray.data.split_names import KNOWN_SPLIT_NAMES, read_split_name
from multinas_ray.errors import DataError

_SPLITS: tuple[str, ...] = ("train", "validation", "test")  # their order
_NAMES_SHOWN = 5


@dataclass(frozen=True)
class TreeLayout:
    """The parts of a tree."""

    splits: Mapping[str, Path]
    """Folder of each split, which has the class folders, training first; empty if the tree makes no splits."""

    beside: tuple[Path, ...]
    """Folders beside the splits, which are not used."""


def find_layout(root: Path) -> TreeLayout:
    """Tell splits from classes by the names of the folders and by what is in them.

    A folder with the name of a split is one if it has folders itself, so that a class of trains can be named `train`.
    A name that says more, such as `birds_train`, needs another split whose name says the same.

    Raises:
        DataError: A folder cannot be read, splits have no training images or one split has two folders, or folders
            look like splits and have other names, or like classes and have the name of a split.
    """
    folders = subfolders(root)
    inner = {folder: subfolders(folder) for folder in folders}
    named = _named_splits(folders)
    splits: dict[str, Path] = {}
    for folder, split in named.items():
        if not inner[folder]:
            continue  # images without labels, or a class
        if split in splits:
            raise DataError(
                f"{shown(str(splits[split]))} and {shown(folder.name)} are names of the same split: keep one of them"
            )
        splits[split] = folder
    if "train" not in splits:
        _check_classes_are_meant(root, named, inner)
        return TreeLayout({}, ())
    validation = [folder for folder, split in named.items() if split == "validation" and split not in splits]
    if validation:
        raise DataError(
            f"a validation split must have a folder for each class, {shown(str(validation[0]))} has none: put its "
            "images into class folders, or move it away"
        )
    used = {split: _without_doubling(splits[split]) for split in _SPLITS if split in splits}
    return TreeLayout(used, tuple(folder for folder in folders if folder not in splits.values()))


def some(names: Sequence[str]) -> str:
    """The first few of some names, for a message."""
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(f"'{shown(name)}'" for name in names[:_NAMES_SHOWN]) + more


def _named_splits(folders: Iterable[Path]) -> dict[Path, str]:
    """The folders with names of splits. Names that say more must do so for two splits."""
    read = {folder: name for folder in folders if (name := read_split_name(folder.name)) is not None}
    splits_of: dict[str, set[str]] = {}
    for name in read.values():
        splits_of.setdefault(name.rest, set()).add(name.split)
    return {folder: name.split for folder, name in read.items() if not name.rest or len(splits_of[name.rest]) > 1}


def _without_doubling(folder: Path) -> Path:
    """A split's folder, or the only folder in it if that has the name of the same split, as in seg_train/seg_train."""
    own, inner = read_split_name(folder.name), subfolders(folder)
    while len(inner) == 1 and not count_beside(folder)[BESIDE] and (name := read_split_name(inner[0].name)) is not None:
        if own is None or name.split != own.split or not subfolders(inner[0]):
            break
        folder, inner = inner[0], subfolders(inner[0])
    return folder


def _check_classes_are_meant(root: Path, named: Mapping[Path, str], inner: Mapping[Path, Sequence[Path]]) -> None:
    """Refuse folders that are hardly classes; there is no training split with class folders.

    Raises:
        DataError: They look like splits.
    """
    folders = list(inner)
    deep = [folder for folder in named if inner[folder]]
    if len(set(named.values())) > 1 or (named and len(named) == len(folders)):
        first = (deep or list(named))[0]
        if "train" in named.values():
            train = next(folder for folder, split in named.items() if split == "train")
            raise DataError(
                f"a training split must have a folder for each class, {shown(str(train))} has none: put the images of "
                "each class into a folder with its name"
            )
        raise DataError(f"{shown(str(root))} has {shown(first.name)} but no train folder: name one 'train'")
    _check_same_folders(root, inner)
    for folder, split in named.items():
        if split != "train" and not inner[folder]:
            raise DataError(
                f"a folder beside class folders must not have the name of a split, {shown(str(folder))} has: move it "
                "away if its images have no class, or move all class folders into a folder 'train' if it is a class"
            )


def _check_same_folders(root: Path, inner: Mapping[Path, Sequence[Path]]) -> None:
    """Refuse folders that hold the same folders as another, or as the root, since these are the classes."""
    names = {folder: {_spelling(each.name) for each in below} for folder, below in inner.items() if len(below) > 1}
    siblings = {_spelling(folder.name) for folder in inner}
    for folder, own in names.items():
        same = sorted(own & siblings - {_spelling(folder.name)})
        if _is_shared(same, own):
            raise DataError(
                f"a class folder must not hold folders with the names of other classes, {shown(str(folder))} holds "
                f"{some(same)}: move it away if it is a copy"
            )
    for one, other in combinations(names, 2):
        same = sorted(names[one] & names[other])
        if not _is_shared(same, min(names[one], names[other], key=len)):
            continue
        if any(read_split_name(name) is not None for name in same):
            raise DataError(
                f"split folders must be above the class folders, {shown(str(one))} and {shown(other.name)} both hold "
                f"{some(same)}: move the images to <split>/<class>"
            )
        raise DataError(
            f"folders that hold the same class folders must have the names of splits ({KNOWN_SPLIT_NAMES}), "
            f"{shown(str(one))} and {shown(other.name)} both hold {some(same)}: name the one for training 'train' and "
            "the others 'val' and 'test', or move them into a folder 'train' if they are the classes"
        )
    only = next(iter(inner), None)
    if len(inner) == 1 and only is not None and inner[only]:
        raise DataError(
            f"{shown(str(root))} must have a folder for each of at least two classes, it has 1 folder(s): give "
            f"{shown(str(only))} if that holds the classes or the splits"
        )


def _is_shared(same: Collection[str], names: Collection[str]) -> bool:
    """Whether so many of some names are shared that it is no accident: two, or half of them [ours]."""
    return len(same) > 1 or 2 * len(same) >= len(names)


def _spelling(name: str) -> str:
    """A name in which case and the form of accents make no difference."""
    return composed(name).casefold()
