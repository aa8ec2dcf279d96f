import contextlib
import errno
import os
import resource
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from multinas_ray.errors import FileTakenError, MultiNASError, StateError, StorageError, UnreadableError
from multinas_ray.storage import delete_file, exists, list_files, open_atomic, read_bytes, write_atomic
from tests.storage.conftest import limited, needs_root
from tests.support.stores import place_in_memory


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def told(reason, number, kind=StorageError):
    """What is raised is ours, a line with reason and remedy, and an OSError of this number."""
    with pytest.raises(kind) as raised:
        yield
    text = str(raised.value)
    assert f"({reason}): " in text
    assert "\n" not in text
    assert isinstance(raised.value, MultiNASError)
    assert isinstance(raised.value, OSError)
    assert raised.value.errno == number


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


def check_refused_writes(file, reason, number, size=3_000_000):
    """Each way of writing is refused; the old file stays and nothing else."""
    before = names_in(file.parent)
    with told(reason, number):
        write_atomic(file, b"x" * size)
    with told(reason, number):
        write_atomic(file.with_name("new"), b"x" * size, overwrite=False)
    with told(reason, number), open_atomic(file) as stream:
        for _ in range(100):
            stream.write(b"x" * (size // 100))
    assert names_in(file.parent) == before
    if before:
        assert file.read_bytes() == b"old"


def test_a_write_that_stops_in_the_middle_leaves_the_old_file_and_no_litter(tmp_path):
    write_atomic(tmp_path / "file", b"old")
    with limited(resource.RLIMIT_FSIZE, 1_000_000):
        check_refused_writes(tmp_path / "file", "the file is larger than this system allows", errno.EFBIG)


def test_a_refusal_is_told_whatever_its_user_makes_of_it(tmp_path):
    def write():
        with open_atomic(tmp_path / "file") as stream:
            try:
                stream.write(b"x" * 3_000_000)
            except OSError:
                raise RuntimeError("unexpected pos 768 vs 662") from None  # as torch.save does

    with limited(resource.RLIMIT_FSIZE, 1_000_000), told("the file is larger than this system allows", errno.EFBIG):
        write()
    assert names_in(tmp_path) == []


@needs_root
def test_a_full_disk_is_told(mount):
    folder = mount("size=1m")
    write_atomic(folder / "file", b"old")
    check_refused_writes(folder / "file", "the disk is full", errno.ENOSPC)
    write_atomic(folder / "file", b"it fits again")


@needs_root
def test_a_disk_without_room_for_another_file_is_told(mount):
    folder = mount("size=1m,nr_inodes=2")
    write_atomic(folder / "file", b"old")
    check_refused_writes(folder / "file", "the disk is full", errno.ENOSPC, size=100)


@needs_root
def test_a_read_only_file_system_is_told(mount):
    folder = mount("size=1m")
    write_atomic(folder / "file", b"old")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    check_refused_writes(folder / "file", "the file system is read-only", errno.EROFS)
    with told("the file system is read-only", errno.EROFS):
        delete_file(folder / "file")


@needs_root
def test_a_file_that_may_not_change_is_told(tmp_path):
    file = tmp_path / "file"
    write_atomic(file, b"old")
    if subprocess.run(["chattr", "+i", str(file)], capture_output=True, check=False).returncode:
        pytest.skip("this file system knows no immutable files")
    try:
        with told("permission denied", errno.EPERM):
            write_atomic(file, b"new")
        with told("permission denied", errno.EPERM):
            delete_file(file)
    finally:
        subprocess.run(["chattr", "-i", str(file)], check=True)
    assert names_in(tmp_path) == ["file"]
    assert file.read_bytes() == b"old"


CHILD = """
import os, sys
from multinas_ray.errors import StorageError
from multinas_ray.storage import delete_file, exists, list_files, read_bytes, write_atomic, check_writable, make_folder
folder = sys.argv[1]
if os.geteuid() == 0:  # after the imports: nobody may not even read them
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
uses = [lambda: write_atomic(f"{folder}/closed/a", b""), lambda: delete_file(f"{folder}/closed/file"),
        lambda: check_writable(f"{folder}/closed"), lambda: make_folder(f"{folder}/closed/new"),
        lambda: read_bytes(f"{folder}/file"), lambda: read_bytes(f"{folder}/shut/file"),
        lambda: exists(f"{folder}/shut/file"), lambda: list_files(f"{folder}/shut", "")]
for use in uses:
    try:
        use()
    except StorageError as error:
        print(error.errno, error)
    else:
        print("was allowed")
"""


def test_missing_rights_are_told_to_a_user_who_has_none(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o755)
    (tmp_path / "closed" / "file").write_text("may not be deleted")
    (tmp_path / "shut").mkdir(mode=0o700)
    (tmp_path / "shut" / "file").touch()
    (tmp_path / "file").touch(0o600)
    if os.geteuid() == 0:
        for folder in (tmp_path, *tmp_path.parents[:-2]):
            folder.chmod(folder.stat().st_mode | 0o055)
    else:
        (tmp_path / "closed").chmod(0o555)
        (tmp_path / "shut").chmod(0o000)
        (tmp_path / "file").chmod(0o000)
    answer = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path)], capture_output=True, text=True, check=False)
    (tmp_path / "shut").chmod(0o700)
    (tmp_path / "closed").chmod(0o755)
    lines = answer.stdout.splitlines()
    assert len(lines) == 8, answer.stderr
    for line in lines:
        assert line.startswith(f"{errno.EACCES} {tmp_path}")
        assert line.endswith(
            "(permission denied): change the rights of the file and its folders, or choose another place"
        )
    assert lines[2].startswith(f"{errno.EACCES} {tmp_path / 'closed'} cannot be written")
    assert names_in(tmp_path / "closed") == ["file"]


REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "this user's quota of the disk is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENFILE: "too many files are open",
    errno.EIO: "Input/output error",
    errno.EBUSY: "Device or resource busy",
    errno.ESTALE: os.strerror(errno.ESTALE),
}


@pytest.mark.parametrize(("number", "reason"), REASONS.items())
@pytest.mark.parametrize("stage", ["os.fsync", "os.fchmod", "pathlib.Path.replace", "pathlib.Path.stat"])
def test_each_error_of_the_system_at_each_stage_is_told_and_leaves_no_litter(
    tmp_path, monkeypatch, number, reason, stage
):
    file = tmp_path / "state.json"
    write_atomic(file, b"old")

    def fail(*_, **__):
        raise OSError(number, os.strerror(number), "/a/name/of/the/system")

    with monkeypatch.context() as patches:
        patches.setattr(stage, fail)
        with told(reason, number):
            write_atomic(file, b"new")
    assert file.read_bytes() == b"old"
    assert names_in(tmp_path) == ["state.json"]


def test_too_many_open_files_are_told(tmp_path):
    with limited(resource.RLIMIT_NOFILE, 3), told("too many files are open", errno.EMFILE):
        write_atomic(tmp_path / "a", b"1")
    assert names_in(tmp_path) == []


def test_an_object_store_is_not_begun_while_its_file_is_gathered(tmp_path, monkeypatch):
    """What does not fit on the local disk is told as of the temporary folder, and the old object stays."""
    folder = place_in_memory()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    write_atomic(folder.join("a"), b"old")
    with (
        limited(resource.RLIMIT_FSIZE, 1_000_000),
        told("the file is larger than this system allows", errno.EFBIG),
        open_atomic(folder.join("a")) as stream,
    ):
        stream.write(b"x" * 3_000_000)
    assert read_bytes(folder.join("a")) == b"old"
    assert names_in(tmp_path) == []
    with monkeypatch.context() as patches, told(f"there is no folder {tmp_path / 'no'}", errno.ENOENT):
        patches.setattr(tempfile, "tempdir", str(tmp_path / "no" / "folder"))
        with open_atomic(folder.join("a")):
            pytest.fail("it is told before")
