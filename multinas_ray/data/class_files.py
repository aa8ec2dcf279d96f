"""The image files below one folder, and the files there that are no images of it. No file is opened."""

# n files

import errno
import os
import stat
import unicodedata
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multinas_ray.errors import DataError

IMAGE_EXTENSIONS = tuple(
    ".jpg .jpeg .jpe .jfif .jp2 .png .gif .bmp .dib .ppm .pgm .pbm .pnm .tif .tiff .tga .webp".split()  # noqa: SIM905
)
"""Extensions, in lower case, of the files that are read as images."""

SYSTEM_NAMES = frozenset(
    {"@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "__macosx", "__pycache__"}
    | {"system volume information", "lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
)
"""Names, in lower case, of the folders and files that storage boxes, systems and tools leave."""

HIDDEN, REACHED_TWICE, SAME_NAME, LEADS_BACK, LEADS_NOWHERE, NO_FILE, BESIDE, DAMAGED, OVER_LIMIT = (
    "hidden or left by a system",
    "reached twice by links",
    "of another's name in another Unicode form",
    "links that lead back",
    "links that lead nowhere",
    "neither a file nor a folder",
    "beside the class folders",
    "damaged",
    "over max_train_images",
)
"""Why files are left out; files of another kind have a reason by their extension."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or left by a system and not by the user."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def composed(name: str) -> str:
    """A name in the Unicode form in which names of classes and files are compared and recorded, NFC.

    Systems write an accented letter as one character (NFC) or as a letter and its accent (NFD, macOS); both look alike.
    """
    return unicodedata.normalize("NFC", name)


def shown(name: str) -> str:
    """A name of a file as text that any terminal and file takes: what cannot be printed is escaped."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


@dataclass(frozen=True, eq=False)
class ClassFiles:
    """The image files below a folder, and how many others are there."""

    names: list[bytes]
    """(n,) sorted paths of the images below the root, in the file system's encoding."""

    keys: npt.NDArray[np.uint64]
    """(n, 2) device and number of each image's inode: equal ones may be one file."""

    linked: npt.NDArray[np.bool_]
    """(n,) whether a link leads to the image."""

    left_out: Counter[str]
    """Number of files that are left out, by reason."""


@dataclass(eq=False)
class _Walk:
    """What was found so far below one folder."""

    root: Path
    top: str  # the real path of the folder
    waiting: deque[tuple[str, bool]]  # folders, and whether a link leads to them
    found: list[tuple[bytes, int, int, bool]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    seen: set[tuple[int, int]] = field(default_factory=set)


def list_class(root: Path, folder: Path) -> ClassFiles:
    """List the images anywhere below a folder, following links; each folder is entered once, the real ones first.

    Raises:
        DataError: A folder cannot be read.
    """
    walk = _Walk(root, os.path.realpath(folder), deque([(str(folder), folder.is_symlink())]))
    while walk.waiting:
        where, linked = walk.waiting.popleft()
        _enter(walk, where, linked=linked)
    walk.found.sort()
    _leave_out_same_names(walk)
    keys = np.array([(device, inode) for _, device, inode, _ in walk.found], dtype=np.uint64).reshape(-1, 2)
    links = np.array([is_linked for *_, is_linked in walk.found], dtype=bool)
    return ClassFiles([name for name, *_ in walk.found], keys, links, walk.left_out)


def _leave_out_same_names(walk: _Walk) -> None:
    """Keep the first of files whose paths differ in their Unicode form only, as copies made on another system do."""
    kept, known = [], set[str]()
    for file in walk.found:
        if not file[0].isascii():
            name = composed(os.fsdecode(file[0]))
            if name in known:
                walk.left_out[SAME_NAME] += 1
                continue
            known.add(name)
        kept.append(file)
    walk.found = kept


def _enter(walk: _Walk, where: str, *, linked: bool) -> None:
    """Sort the entries of one folder."""
    device, inode = _identity(where)
    if (device, inode) in walk.seen:
        walk.left_out[REACHED_TWICE] += 1
        return
    walk.seen.add((device, inode))
    below = Path(where).relative_to(walk.root)
    for entry in entries(where):
        is_link = entry.is_symlink()
        if is_hidden(entry.name):
            walk.left_out[HIDDEN] += _count_hidden(entry)
        elif is_folder(entry):
            if is_link and _leads_back(entry.path, where, walk.top):
                walk.left_out[LEADS_BACK] += 1
            elif is_link:
                walk.waiting.append((entry.path, True))
            else:
                walk.waiting.appendleft((entry.path, linked))
        elif (reason := _no_file(entry)) is not None:
            walk.left_out[reason] += 1
        elif not entry.name.lower().endswith(IMAGE_EXTENSIONS):
            walk.left_out[_kind(entry.name)] += 1
        else:
            key = _identity(entry.path) if is_link else (device, entry.inode())
            walk.found.append((os.fsencode(below / entry.name), *key, linked or is_link))


def count_images(folder: Path) -> int:
    """Number of image files below a folder that is not used; no link is followed, and unreadable folders have none."""
    count = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        count += sum(name.lower().endswith(IMAGE_EXTENSIONS) and not is_hidden(name) for name in files)
    return count


def count_beside(folder: Path) -> Counter[str]:
    """Number of image files, of hidden files and of links to nothing in a folder of class folders, by reason."""
    counts: Counter[str] = Counter()
    for entry in entries(str(folder)):
        if is_hidden(entry.name):
            counts[HIDDEN] += _count_hidden(entry)
        elif is_folder(entry):
            continue
        elif (reason := _no_file(entry)) is not None:
            counts[reason] += 1
        elif entry.name.lower().endswith(IMAGE_EXTENSIONS):
            counts[BESIDE] += 1
    return counts


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones and those that systems leave.

    Raises:
        DataError: The folder cannot be read.
    """
    return [folder / entry.name for entry in entries(str(folder)) if not is_hidden(entry.name) and is_folder(entry)]


def entries(where: str) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted, so that it does not depend on the disk which of two links is followed.

    Raises:
        DataError: The folder cannot be read.
    """
    try:
        with os.scandir(where) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"the folder {shown(where)} cannot be read ({error.strerror}): check its rights") from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # links in a ring
        return False


def _no_file(entry: os.DirEntry[str]) -> str | None:
    """Why an entry that is no folder is no file either, such as a pipe, or a link to a device; None for a file.

    An image to which a link leads in vain counts as a damaged one, which a strict run names.
    """
    if not entry.is_symlink():  # its kind is known without asking the disk again
        return None if entry.is_file() else NO_FILE
    try:
        return None if stat.S_ISREG(entry.stat().st_mode) else NO_FILE
    except OSError as error:
        if error.errno == errno.ELOOP:
            return LEADS_BACK
        return None if entry.name.lower().endswith(IMAGE_EXTENSIONS) else LEADS_NOWHERE


def _leads_back(link: str, where: str, top: str) -> bool:
    """Whether a link leads to a folder above itself or above the class's folder, or to one of these."""
    target = Path(os.path.realpath(link))
    return any(Path(below).is_relative_to(target) for below in (os.path.realpath(where), top))


def _identity(path: str) -> tuple[int, int]:
    """Device and inode of what a path leads to; those of the link itself if it leads nowhere."""
    try:
        found = Path(path).stat()
    except OSError:
        found = Path(path).lstat()
    return found.st_dev, found.st_ino


def _kind(name: str) -> str:
    extension = Path(name).suffix.lower()
    return f"of kind {shown(extension)}" if extension else "without extension"


def _count_hidden(entry: os.DirEntry[str]) -> int:
    """Number of files in a hidden folder, at least 1; 1 for a file, a link, or what cannot be read."""
    if entry.is_symlink() or not is_folder(entry):
        return 1
    return max(1, sum(len(files) for _, _, files in os.walk(entry.path)))
