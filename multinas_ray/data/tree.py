"""A tree of image files with a folder for each class, listed without opening an image."""

# n files

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multinas_ray.data.class_files import (
    IMAGE_EXTENSIONS,
    REACHED_TWICE,
    ClassFiles,
    composed,
    count_beside,
    count_images,
    list_class,
    shown,
    subfolders,
)
from multinas_ray.data.left_out import LeftOut
from multinas_ray.data.listing import ImageListing
from multinas_ray.data.tree_layout import find_layout, some
from multinas_ray.errors import DataError
from multinas_ray.storage import resolve

_SCAN_THREADS = 16  # a shared disk answers many requests at once
_Key = tuple[str, str]  # split, class


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
        """Return the path of file `index`; what cannot be printed is escaped."""
        return shown(str(self._path(index)))

    def read(self, index: int) -> bytes:
        """Return the content of file `index`.

        Raises:
            OSError: The file cannot be read.
        """
        return self._path(index).read_bytes()

    def _path(self, index: int) -> Path:
        return Path(self.root, os.fsdecode(self.names[index]))

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
    images; `train`, `val` and `test`, where architectures are judged on `val` [ours]; or `<class>/*` alone. Other
    usual names of splits are known too (see `split_names`). Images may be anywhere below their class's folder. Hidden
    files, those that systems leave, other kinds of files, files that links reach a second time and folders beside the
    splits are left out and counted.

    Raises:
        DataError: There is no such tree, a folder cannot be read or has a name that is no UTF-8, it is not clear which
            folders are splits, a class has too few images, or splits differ in their classes.
    """
    root = Path(resolve(path).path)
    if not root.is_dir():
        raise DataError(f"{shown(path)} is not a folder: give the folder that holds a folder for each class")
    layout = find_layout(root)
    splits = layout.splits or {"": root}
    class_folders = {split: _class_folders(folder) for split, folder in splits.items()}
    class_names = _class_names(splits, class_folders)
    keys = [(split, name) for split in splits for name in class_names]
    with ThreadPoolExecutor(_SCAN_THREADS) as pool:
        listed = list(pool.map(lambda key: list_class(root, class_folders[key[0]][key[1]]), keys))
    listed = _without_twice(root, listed)
    for (split, name), files in zip(keys, listed, strict=True):
        _check_count(class_folders[split][name], files, least=2 if split in ("", "train") else 1)
    parts = [_joined(root, listed[i : i + len(class_names)]) for i in range(0, len(keys), len(class_names))]
    of_split = dict(zip(splits, parts, strict=True))
    left_out = (*_left_out(keys, listed), *_beside(root, splits, layout.beside))
    if not layout.splits:
        return ImageListing(of_split[""], None, None, class_names, left_out)
    if "test" not in of_split:  # if there are only two splits, the second one has the test images
        return ImageListing(of_split["train"], None, of_split.get("validation"), class_names, left_out)
    return ImageListing(of_split["train"], of_split.get("validation"), of_split["test"], class_names, left_out)


def _class_folders(folder: Path) -> dict[str, Path]:
    """The folder of each class in a split's folder, by the class's name.

    Raises:
        DataError: Names cannot be told apart when they are read.
    """
    found: dict[str, Path] = {}
    for each in subfolders(folder):
        name = composed(each.name)
        if shown(name) != name:
            raise DataError(
                f"the name of a class folder must be printable text in UTF-8, '{shown(name)}' in {shown(str(folder))} "
                "is not: rename the folder"
            )
        if name in found:
            raise DataError(
                f"each class must have one folder, {shown(str(folder))} has two named '{name}' in two Unicode forms "
                f"({found[name].name!a} and {each.name!a}): put their images into one of them"
            )
        found[name] = each
    return found


def _class_names(splits: Mapping[str, Path], class_folders: Mapping[str, Mapping[str, Path]]) -> tuple[str, ...]:
    """The names of the classes, which are those of the first split and the same in all, sorted."""
    (first, names), *others = class_folders.items()
    if len(names) < 2:
        raise DataError(
            f"{shown(str(splits[first]))} must have a folder for each of at least two classes, it has {len(names)} "
            "folder(s): put the images of each class into a folder with its name"
        )
    for other, own in others:
        for where, lacking in ((other, names.keys() - own.keys()), (first, own.keys() - names.keys())):
            if lacking:
                names_shown = some(sorted(lacking))
                raise DataError(
                    f"{shown(str(splits[first]))} and {shown(str(splits[other]))} must have the same classes, "
                    f"{shown(str(splits[where]))} lacks {names_shown}: add the folders, or move the others away"
                )
    return tuple(sorted(names))


def _check_count(folder: Path, files: ClassFiles, *, least: int) -> None:
    if len(files.names) >= least:
        return
    has = f"has {len(files.names)}" if files.names else "has none"
    left_out = "; ".join(f"{count} {reason}" for reason, count in files.left_out.most_common())
    without = f" (left out: {left_out})" if left_out else ""
    raise DataError(
        f"a class folder must have at least {least} image(s) ({', '.join(IMAGE_EXTENSIONS)}), {shown(str(folder))} "
        f"{has}{without}: add images, or remove the folder"
    )


def _without_twice(root: Path, listed: Sequence[ClassFiles]) -> list[ClassFiles]:
    """Keep each file once: where no link leads to it, else where it comes first."""
    keys = np.concatenate([files.keys for files in listed])
    linked = np.concatenate([files.linked for files in listed])
    names = [name for files in listed for name in files.names]
    order = np.lexsort((np.arange(len(keys)), linked, keys[:, 1], keys[:, 0]))
    keep = np.ones(len(keys), dtype=bool)
    kept = -1
    for place in np.flatnonzero((keys[order][1:] == keys[order][:-1]).all(axis=1)).tolist():
        before, number = int(order[place]), int(order[place + 1])
        kept = before if keep[before] else kept
        keep[number] = not _is_same(root, names[kept], names[number])
    result, start = [], 0
    for files in listed:
        own = keep[start : start + len(files.names)]
        start += len(files.names)
        chosen = np.flatnonzero(own)
        twice = len(own) - len(chosen)
        left_out = files.left_out + Counter({REACHED_TWICE: twice} if twice else {})
        result.append(
            ClassFiles([files.names[i] for i in chosen.tolist()], files.keys[chosen], files.linked[chosen], left_out)
        )
    return result


def _is_same(root: Path, one: bytes, other: bytes) -> bool:
    """Whether two paths with equal numbers lead to one file; some file systems give a number twice."""
    first, second = (Path(root, os.fsdecode(name)) for name in (one, other))
    if os.path.realpath(first) == os.path.realpath(second):
        return True
    try:
        return first.stat().st_nlink > 1 and first.samefile(second)
    except OSError:
        return False


def _joined(root: Path, listed: Sequence[ClassFiles]) -> ImageFiles:
    labels = np.repeat(np.arange(len(listed)), [len(files.names) for files in listed])
    return ImageFiles(str(root), np.array([name for files in listed for name in files.names]), labels.astype(np.int64))


def _left_out(keys: Sequence[_Key], listed: Sequence[ClassFiles]) -> list[LeftOut]:
    return [
        LeftOut(split, name, reason, count)
        for (split, name), files in zip(keys, listed, strict=True)
        for reason, count in files.left_out.most_common()
    ]


def _beside(root: Path, splits: Mapping[str, Path], folders: Sequence[Path]) -> list[LeftOut]:
    """The images and hidden files that are in no class folder."""
    places = {"": root, **splits}
    strays = [
        LeftOut(split, "", reason, count)
        for split, folder in places.items()
        for reason, count in count_beside(folder).most_common()
    ]
    return strays + [_folder_beside(each) for each in folders]


def _folder_beside(folder: Path) -> LeftOut:
    """What a folder beside the splits is, with the number of its images; of a link, which is not followed, one link."""
    if folder.is_symlink():
        return LeftOut("", "", f"link '{shown(folder.name)}' to another folder, beside the splits", 1)
    return LeftOut("", "", f"in the folder '{shown(folder.name)}' beside the splits", count_images(folder))
