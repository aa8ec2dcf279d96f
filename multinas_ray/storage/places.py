"""Places of files: local paths and URIs of object stores. An object store is opened when it is first used."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, unquote

from pyarrow import fs as pafs

from multinas_ray.errors import ConfigError, first_line
from multinas_ray.storage.contact import check_contact

AnyPath = str | os.PathLike[str]
"""A local path (`~` is the home folder) or a URI such as `s3://bucket/folder`, as text, `Path` or `Location`."""

_OBJECT_STORES = ("s3", "gs", "gcs", "abfs", "abfss")
_URI = re.compile(rf"([^/]*):/|({'|'.join((*_OBJECT_STORES, 'file'))}):")
"""The beginning of a URI, well formed or not. A local path whose first folder ends in a colon needs ./ before it."""
_CREDENTIALS = re.compile(r"s3://[^/?]*:[^?]*@|\w+://[^/?@]*:[^/?@]*@")
"""The beginning of a URI with a key and its secret; secrets of S3 may have a slash."""
_SAFE_IN_URI = "/!$&'()*+,;=:@~"
MOST_CHARACTERS = 4096
"""Characters of a path; no file system that we know takes longer ones."""
_GCS_RETRY_SECONDS = 60
"""How long requests to Google's store are repeated [ours]; its client's own limit is 15 minutes."""


@dataclass(frozen=True)
class ObjectStore:
    """A bucket, with the options of the connection to it."""

    root: str
    """Scheme and bucket, such as `s3://bucket`."""
    query: str = ""
    """Options of the connection, such as `?region=eu-north-1`; empty for the defaults."""

    def open(self) -> tuple[pafs.FileSystem, str]:
        """The file system of pyarrow, and the bucket's path on it; opened once in a process, at its first answer.

        Raises:
            ConfigError: Pyarrow does not understand the address.
            OSError: The store does not answer; that is told within seconds.
        """
        return _open_store(self.root, self.query)


@dataclass(frozen=True)
class Location(os.PathLike[str]):
    """A file or folder on a local disk or in an object store.

    `str` and `os.fspath` give its path or URI, from which `resolve` makes an equal location.
    """

    path: str
    """On a local disk the absolute path, in an object store the path within the bucket."""
    store: ObjectStore | None = None
    """None: the local disk."""

    @property
    def is_local(self) -> bool:
        """Whether it lies in the file system of this machine, so that the builtin `open` can open it."""
        return self.store is None

    @property
    def name(self) -> str:
        """The last name of the path; the bucket's where the path is empty."""
        return (self.path or (self.store.root if self.store else "")).rpartition("/")[2]

    @property
    def parent(self) -> "Location":
        """The folder of the file or folder."""
        return Location(str(Path(self.path).parent) if self.is_local else self.path.rpartition("/")[0], self.store)

    def join(self, *names: str) -> "Location":
        """The location of `names` below this folder."""
        below = [self.path.rstrip("/")] if self.path or self.is_local else []
        return Location("/".join([*below, *names]), self.store)

    def open(self) -> tuple[pafs.FileSystem, str]:
        """The pyarrow file system of the place, and the path on it; raises as `ObjectStore.open`."""
        if self.store is None:
            return _local_disk(), self.path
        file_system, bucket = self.store.open()
        return file_system, f"{bucket}/{self.path}".rstrip("/")

    def __fspath__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if self.store is None:
            return self.path
        return f"{self.store.root}/{quote(self.path, _SAFE_IN_URI)}".rstrip("/") + self.store.query


def resolve(path: AnyPath) -> Location:
    """Turn a path or URI into the location that it names, without opening anything.

    Args:
        path: A local path (`~` is the home folder), `file:///folder`, or a URI of an object store that pyarrow
            opens, such as `s3://bucket/folder?region=eu-north-1` or `gs://bucket/folder`. A `Location` comes back
            unchanged.

    Returns:
        The location; a local path is made absolute.

    Raises:
        ConfigError: It is not a path or URI, or the URI holds credentials.
    """
    if isinstance(path, Location):
        return path
    text = _checked_text(path)
    uri = _URI.match(text)
    if uri is None:
        return _local(text, text)
    scheme = (uri[1] or uri[2] or "").lower()
    if scheme == "file":
        return _local(_path_of_file_uri(text), text)
    if scheme not in _OBJECT_STORES:
        _refuse(text, f"the scheme {scheme!r} is not known")
    return _in_store(scheme, text)


def refuse_credentials(text: str) -> None:
    """Check that a path or URI holds no key and secret: it is recorded beside the results.

    Raises:
        ConfigError: It does; the message does not repeat them.
    """
    if _CREDENTIALS.match(text):
        raise ConfigError(
            f"a URI {text.partition(':')[0]}://KEY:SECRET@... would bring its secret into logs and results: leave both "
            "out, and give them by the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role)"
        )


def _checked_text(path: AnyPath) -> str:
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str):
        raise ConfigError(f"a path must be text or an os.PathLike of text, not {path!r}: give it as text")
    refuse_credentials(text)
    if not text:
        _refuse(text, "it is empty")
    if len(text) > MOST_CHARACTERS:
        _refuse(f"{text[:20]}...", f"it has {len(text)} characters, more than {MOST_CHARACTERS}")
    if "\0" in text:
        _refuse(text, "it holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        _refuse(text, "it cannot be written in UTF-8")
    return text


def _local(path: str, given: str) -> Location:
    try:
        return Location(str(Path(path).expanduser().absolute()))
    except RuntimeError:
        _refuse(given, "there is no such user whose home folder it could name")
    except OSError as error:  # a relative path in a working folder that is deleted
        _refuse(given, f"the working folder cannot be found: {error.strerror}")


def _path_of_file_uri(text: str) -> str:
    host, slash, path = text[len("file://") :].partition("/")
    if not text[len("file:") :].startswith("//") or host not in ("", "localhost"):
        _refuse(text, "a URI of a local file begins with file:///")
    if not path.strip("/"):
        _refuse(text, "it names no file or folder")
    if "?" in path or "#" in path:
        _refuse(text, "a file:// URI has no query or fragment")
    return _checked_text(slash + unquote(path))


def _in_store(scheme: str, text: str) -> Location:
    address, mark, query = text[len(scheme) + 1 :].partition("?")
    if not address.startswith("//"):
        _refuse(text, f"two slashes must follow {scheme}:")
    bucket, _, path = address[2:].partition("/")
    if not bucket:
        _refuse(text, "it names no bucket")
    if "#" in address:
        _refuse(text, "write %23 for the character # in a name")
    names: Sequence[str] = [name for name in _checked_text(unquote(f"{path}/")).split("/") if name]
    return Location("/".join(names), ObjectStore(f"{scheme}://{bucket}", mark + query))


def _refuse(text: str, reason: str) -> NoReturn:
    raise ConfigError(
        f"{text.partition('?')[0]!r} cannot be used as a path ({reason}): use a local path, file:///folder, "
        "s3://bucket/folder or gs://bucket/folder"
    )


@lru_cache(maxsize=1)
def _local_disk() -> pafs.LocalFileSystem:
    return pafs.LocalFileSystem()


@lru_cache(maxsize=32)
def _open_store(root: str, query: str) -> tuple[pafs.FileSystem, str]:
    if root.startswith(("gs:", "gcs:")) and "retry_limit_seconds" not in query:
        query = f"{query or '?'}{'&' if query else ''}retry_limit_seconds={_GCS_RETRY_SECONDS}"
    try:
        check_contact(root + query)
        file_system, bucket = pafs.FileSystem.from_uri(root + query)
    except ValueError as error:  # its text may repeat the whole query
        what = first_line(error).replace(root + query, root)
        raise ConfigError(
            f"{root!r} cannot be opened ({what}): check the name of the bucket and what follows the question mark, "
            "such as ?region=eu-north-1"
        ) from error
    return file_system, bucket
