import errno
import os
import socket
import stat
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from multinas_ray.errors import FileTakenError, StateError, StorageError, UnreadableError
from multinas_ray.storage import delete_file, exists, list_files, open_atomic, read_bytes, write_atomic
from tests.storage.conftest import names_in, needs_root, told


def test_files_are_written_replaced_and_read(folder):
    for name, content in (("b", b"1"), ("a", b"2"), ("a", b"3")):
        write_atomic(folder.join(name), content)
    assert list_files(folder, "") == ["a", "b"]
    assert read_bytes(folder.join("a")) == b"3"
    assert exists(folder.join("b"))
    assert not exists(folder.join("c"))
    write_atomic(folder.join("buffer"), pa.py_buffer(b"xyz"))
    assert read_bytes(folder.join("buffer")) == b"xyz"
    for _ in range(2):  # the second time there is none
        delete_file(folder.join("a"))
        assert list_files(folder, "") == ["b", "buffer"]


@pytest.mark.parametrize("pieces", [[], [b"", b"abc"], [bytes([n]) * 700_000 for n in range(5)]])
def test_a_large_file_is_written_piece_by_piece_and_appears_at_the_end(folder, pieces):
    write_atomic(folder.join("a"), b"old")
    with open_atomic(folder.join("a")) as stream:
        for piece in pieces:
            stream.write(piece)
        assert read_bytes(folder.join("a")) == b"old"
    assert read_bytes(folder.join("a")) == b"".join(pieces)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("of the caller")])
def test_a_large_file_that_is_not_finished_leaves_what_was_there(folder, error):
    def write_half():
        with open_atomic(folder.join("a")) as stream:
            stream.write(b"x" * 3_000_000)
            raise error

    write_atomic(folder.join("a"), b"old")
    with pytest.raises(type(error)):
        write_half()
    assert read_bytes(folder.join("a")) == b"old"
    if folder.is_local:
        assert names_in(Path(folder)) == ["a"]


def test_an_existing_file_can_be_protected(folder):
    write_atomic(folder.join("a"), b"1", overwrite=False)
    with pytest.raises(FileTakenError, match="a exists already: delete it, or choose another name") as raised:
        write_atomic(folder.join("a"), b"2", overwrite=False)
    assert isinstance(raised.value, FileExistsError)
    assert read_bytes(folder.join("a")) == b"1"


def test_without_hard_links_a_file_is_protected_all_the_same(tmp_path, monkeypatch):
    def no_links(self, target):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("pathlib.Path.hardlink_to", no_links)
    write_atomic(tmp_path / "a", b"1", overwrite=False)
    with pytest.raises(FileTakenError):
        write_atomic(tmp_path / "a", b"2", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"1"
    assert names_in(tmp_path) == ["a"]


def test_readers_see_the_old_or_the_new_file_whole(tmp_path):
    file = tmp_path / "part"
    write_atomic(file, bytes(200_000))
    stop = threading.Event()

    def write():
        for turn in range(300):
            write_atomic(file, bytes([turn % 256]) * (100_000 + 1000 * (turn % 100)))
        stop.set()

    thread = threading.Thread(target=write)
    thread.start()
    num_read = 0
    while not stop.is_set():
        content = read_bytes(file)
        assert len(content) >= 100_000
        assert content == content[:1] * len(content)
        num_read += 1
    thread.join()
    assert num_read > 10


def test_both_folders_and_files_are_synced_before_the_return(tmp_path, monkeypatch):
    synced = []
    real = os.fsync

    def noted(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").is_dir())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    write_atomic(tmp_path / "a", b"1")
    with open_atomic(tmp_path / "b") as stream:
        stream.write(b"2")
    assert synced == [False, True] * 2


def test_a_replaced_file_keeps_its_rights_and_a_new_one_gets_the_usual(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "new", b"1")
    finally:
        os.umask(before)
    (tmp_path / "secret").touch(0o600)
    write_atomic(tmp_path / "secret", b"2")
    rights = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "secret")}
    assert rights == {"new": 0o640, "secret": 0o600}


def make_device(path):
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))  # the null device


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path))


KINDS = [
    pytest.param(make_device, "device", marks=needs_root),
    (os.mkfifo, "named pipe"),
    (make_socket, "socket"),
    (os.mkdir, "folder"),
]


@pytest.mark.parametrize("through_a_link", [False, True])
@pytest.mark.parametrize(("make", "kind"), KINDS)
def test_what_is_no_regular_file_is_never_replaced_nor_deleted(tmp_path, make, kind, through_a_link):
    thing = tmp_path / "thing"
    try:
        make(thing)
    except PermissionError:
        pytest.skip("this container makes no devices")
    before = thing.lstat()
    path = tmp_path / "link" if through_a_link else thing
    if through_a_link:
        path.symlink_to("thing")
    for write in (write_atomic, lambda *each: write_atomic(*each, overwrite=False)):
        with pytest.raises(StorageError, match=f"{path} is a {kind}, and only regular files are replaced or deleted"):
            write(path, b"content")
    with pytest.raises(StorageError, match=f"is a {kind}"), open_atomic(path):
        pytest.fail("it is told before anything is written")
    if not through_a_link:
        with pytest.raises(StorageError, match=f"is a {kind}"):
            delete_file(path)
    after = thing.lstat()
    assert (before.st_ino, before.st_mode, before.st_rdev) == (after.st_ino, after.st_mode, after.st_rdev)
    assert names_in(tmp_path) == sorted({"thing", path.name})


@pytest.mark.parametrize(("make", "kind"), KINDS[:3])
def test_what_may_have_no_end_is_not_read(tmp_path, make, kind):
    try:
        make(tmp_path / "thing")
    except PermissionError:
        pytest.skip("this container makes no devices")
    (tmp_path / "link").symlink_to("thing")
    for name in ("thing", "link"):
        with pytest.raises(UnreadableError, match=f"{name} is a {kind}, and only regular files are read"):
            read_bytes(tmp_path / name)


@pytest.mark.parametrize("is_dangling", [False, True])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_link_stays_and_its_target_is_written(tmp_path, is_dangling, overwrite):
    (tmp_path / "deep").mkdir()
    (tmp_path / "other").mkdir()
    target = tmp_path / "deep" / "target"
    (tmp_path / "other" / "second").symlink_to("../deep/target")
    (tmp_path / "first").symlink_to("other/second")
    if not is_dangling:
        target.write_bytes(b"old")
    if not overwrite and not is_dangling:
        with pytest.raises(FileTakenError):
            write_atomic(tmp_path / "first", b"new", overwrite=False)
    else:
        write_atomic(tmp_path / "first", b"new", overwrite=overwrite)
        assert target.read_bytes() == b"new"
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "other" / "second").is_symlink()
    assert not target.is_symlink()
    assert names_in(tmp_path / "deep") == ["target"]
    assert names_in(tmp_path / "other") == ["second"]
    delete_file(tmp_path / "first")  # the link, not what it leads to
    assert target.exists()
    assert names_in(tmp_path) == ["deep", "other"]


def test_links_that_lead_nowhere_are_told(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with told("its symbolic links lead in a circle", errno.ELOOP):
        write_atomic(tmp_path / "a", b"1")
    (tmp_path / "c").symlink_to("missing/file")
    with told("it is a symbolic link to missing/file, which is missing", errno.ENOENT):
        write_atomic(tmp_path / "c", b"1")
    with told("it is a symbolic link to missing/file, which is missing", errno.ENOENT, UnreadableError):
        read_bytes(tmp_path / "c")
    assert names_in(tmp_path) == ["a", "b", "c"]


def test_paths_that_lead_to_no_file_are_told(tmp_path):
    (tmp_path / "file").touch()
    with told(f"{tmp_path / 'file'} is not a folder", errno.ENOTDIR):
        write_atomic(tmp_path / "file" / "a" / "b", b"1")
    with told(f"{tmp_path / 'file'} is not a folder", errno.ENOTDIR, UnreadableError):
        read_bytes(tmp_path / "file" / "a")
    assert not exists(tmp_path / "file" / "a")
    delete_file(tmp_path / "file" / "a")
    with told(f"there is no folder {tmp_path / 'no'}", errno.ENOENT):
        write_atomic(tmp_path / "no" / "a", b"1")
    with told(f"there is no folder {tmp_path / 'no'}", errno.ENOENT, UnreadableError):
        read_bytes(tmp_path / "no" / "a")
    with told("it is missing", errno.ENOENT, UnreadableError):
        read_bytes(tmp_path / "a")
    with told("it is a folder", None, UnreadableError):
        read_bytes(tmp_path)
    assert issubclass(UnreadableError, StateError)  # what a record's reader expects


def test_names_may_be_as_long_as_the_file_system_allows_and_no_longer(tmp_path):
    longest = "ä" * 127 + "x"
    write_atomic(tmp_path / longest, b"1")
    write_atomic(tmp_path / longest, b"2")
    write_atomic(tmp_path / longest[:-1], b"3", overwrite=False)
    assert read_bytes(tmp_path / longest) == b"2"
    for use in (lambda path: write_atomic(path, b"1"), read_bytes, exists, delete_file):
        with told("a name in it is longer than the file system allows", errno.ENAMETOOLONG):
            use(tmp_path / f"{longest}y")
        with told("a name in it is longer than the file system allows", errno.ENAMETOOLONG):
            use(tmp_path / f"{longest}y" / "a")
    assert len(names_in(tmp_path)) == 2
