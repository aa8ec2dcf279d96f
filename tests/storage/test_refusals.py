"""What the system refuses is told in a line, and leaves the old file and no litter."""

import errno
import os
import resource
import subprocess
import sys
import tempfile

import pytest

from multinas_ray.storage import delete_file, open_atomic, read_bytes, write_atomic
from tests.storage.conftest import limited, names_in, needs_root, told
from tests.support.stores import place_in_memory


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
