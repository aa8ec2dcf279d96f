import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from multinas_ray.errors import StorageError
from multinas_ray.storage import (
    check_writable,
    delete_folder,
    delete_leftovers,
    exists,
    list_files,
    list_folders,
    make_folder,
    read_bytes,
    replace_folder,
    write_atomic,
)
from multinas_ray.storage import folders as folders_module
from tests.storage.conftest import needs_root


def tree(folder):
    """Everything below a local folder, hidden files too, with the content of files."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in sorted(Path(folder).rglob("*"))
    }


def test_finished_files_and_folders_are_listed(folder):
    for name in ("b.parquet", "a.parquet", "c.json", ".a.parquet", "_b.parquet"):
        write_atomic(folder.join(name), b"")
    make_folder(folder.join("d.parquet", "e"))
    assert list_files(folder, ".parquet") == ["a.parquet", "b.parquet"]
    assert list_folders(folder) == ["d.parquet"]
    assert list_files(folder.join("nowhere"), "") == list_folders(folder.join("nowhere")) == []


def test_a_folder_is_deleted_with_all_it_holds(folder):
    for _ in range(2):  # the second time there is none
        delete_folder(folder.join("a"))
        assert list_folders(folder) == []
    make_folder(folder.join("a", "b"))
    write_atomic(folder.join("a", "b", "c"), b"1")
    delete_folder(folder.join("a"))
    assert list_folders(folder) == []


@pytest.mark.parametrize("comes_again", [True, False])
def test_on_a_disk_a_folder_goes_at_once_and_a_kill_leaves_a_hidden_one_at_most(tmp_path, monkeypatch, comes_again):
    def fill():
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b").write_text("1")

    fill()
    with monkeypatch.context() as patches:
        patches.setattr(shutil, "rmtree", lambda *_: 1 / 0)  # killed after the renaming
        with pytest.raises(ZeroDivisionError):
            delete_folder(tmp_path / "a")
    assert tree(tmp_path) == {".a.old": None, ".a.old/b": "1"}
    if comes_again:
        fill()
    delete_folder(tmp_path / "a")
    assert tree(tmp_path) == {}


def test_a_folder_is_replaced_whole(folder):
    for number in range(3):
        with replace_folder(folder.join("out")) as filled:
            (filled / f"{number}").write_bytes(b"x")
            assert list_files(folder.join("out"), "") == ([str(number - 1)] if number else [])
    assert list_files(folder.join("out"), "") == ["2"]
    assert read_bytes(folder.join("out", "2")) == b"x"
    if folder.is_local:
        assert tree(folder) == {"out": None, "out/2": "x"}


def test_in_an_object_store_the_file_that_tells_of_the_others_comes_last(folder, monkeypatch):
    order = []

    def noted_write(place, data):
        order.append(place.name)
        write_atomic(place, data)

    monkeypatch.setattr(folders_module, "write_atomic", noted_write)
    with replace_folder(folder.join("out"), last="b") as filled:
        for name in "abc":
            (filled / name).write_text(name)
    assert order == ([] if folder.is_local else ["a", "c", "b"])
    assert list_files(folder.join("out"), "") == ["a", "b", "c"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("of the caller")])
def test_a_folder_that_is_not_finished_leaves_the_old_one(folder, error):
    def fill(content, last):
        with replace_folder(folder.join("out")) as filled:
            (filled / "a").write_text(content)
            if last is not None:
                raise last

    fill("old", None)
    with pytest.raises(type(error)):
        fill("new", error)
    assert read_bytes(folder.join("out", "a")) == b"old"
    assert list_folders(folder) == ["out"]


@pytest.mark.parametrize("failing", [1, 2])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_a_failed_exchange_leaves_the_old_folder(tmp_path, monkeypatch, failing, error):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("old")
    rename, calls = Path.rename, []

    def fail_once(self, target):
        calls.append(target)
        if len(calls) == failing:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)

    def fill():
        with replace_folder(tmp_path / "out") as filled:
            (filled / "a").write_text("new")

    with pytest.raises(StorageError if isinstance(error, OSError) else KeyboardInterrupt):
        fill()
    assert tree(tmp_path) == {"out": None, "out/a": "old"}


def test_what_a_kill_left_does_not_disturb(tmp_path):
    for left in (".out.partial", ".out.old"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "x").touch()
    with replace_folder(tmp_path / "out") as filled:
        (filled / "a").write_text("new")
    assert tree(tmp_path) == {"out": None, "out/a": "new"}


def test_the_files_of_a_replaced_folder_are_synced_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor):
        events.append(Path(f"/proc/self/fd/{descriptor}").resolve().name)
        fsync(descriptor)

    def noted_rename(self, target):
        events.append(f"-> {target.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    with replace_folder(tmp_path / "out") as filled:
        (filled / "a").write_text("new")
    assert events == ["a", ".out.partial", "-> out", tmp_path.name]


def test_new_folders_are_synced_into_their_parents(tmp_path, monkeypatch):
    synced: list[Path] = []
    monkeypatch.setattr(folders_module, "sync_folder", synced.append)
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_what_is_no_folder_is_never_replaced_nor_deleted(tmp_path, kind):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a").touch()
    thing = tmp_path / "thing"
    thing.touch() if kind == "file" else thing.symlink_to("other" if kind == "link" else "nowhere")
    before = tree(tmp_path)
    with pytest.raises(StorageError, match=r"thing is not a folder, and only folders are replaced or deleted"):
        delete_folder(thing)
    with (
        pytest.raises(StorageError, match=r"thing is not a folder, and only folders are replaced or deleted"),
        replace_folder(thing),
    ):
        pytest.fail("it is told before")
    assert tree(tmp_path) == before
    if kind != "link":
        with pytest.raises(StorageError, match=r"thing cannot be created \(.*thing is not a folder\): choose a place"):
            make_folder(thing)


def test_check_writable_creates_the_folder_and_leaves_nothing(folder):
    check_writable(folder.join("new", "run"))
    assert exists(folder.join("new", "run"))
    assert list_folders(folder.join("new", "run")) == []
    if folder.is_local:
        assert tree(folder) == {"new": None, "new/run": None}


def test_a_place_that_is_not_writable_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"file/run cannot be created \(.*/file is not a folder\): choose a place"):
        check_writable(tmp_path / "file" / "run")


@needs_root
def test_a_full_or_read_only_place_is_told_by_its_own_name(mount):
    folder = mount("size=4k")
    (folder / "full").write_bytes(bytes(4096))
    with pytest.raises(StorageError, match=rf"^{folder} cannot be written \(the disk is full\)") as raised:
        check_writable(folder)
    assert raised.value.errno == errno.ENOSPC
    (folder / "out").mkdir()

    def fill():
        with replace_folder(folder / "out") as filled:
            (filled / "a").write_bytes(bytes(10_000))

    with pytest.raises(StorageError, match=rf"^{folder / 'out'} cannot be written \(the disk is full\)"):
        fill()
    assert sorted(tree(folder)) == ["full", "out"]
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    for use in (check_writable, delete_folder, make_folder):
        with pytest.raises(StorageError, match=r"\(the file system is read-only\): choose a folder on another one"):
            use(folder / ("new" if use is not delete_folder else "out"))


def test_what_a_killed_writer_has_left_is_deleted_and_nothing_else(tmp_path):
    names = [".0123456789abcdef.tmp", ".hidden.tmp", "0123456789abcdef.tmp", "part.parquet"]
    for name in names:
        (tmp_path / name).touch()
    delete_leftovers(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(names[1:])
    delete_leftovers(tmp_path / "nowhere")
