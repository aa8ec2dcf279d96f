import os
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import fs as pafs

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.storage import files as storage
from multinas_ray.storage.files import Location, resolve, write_atomic


def test_local_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for given, expected in (("runs/a", "runs/a"), ("~/b", "b"), (tmp_path / "c", "c")):
        file_system, path = resolve(given)
        assert isinstance(file_system, pafs.LocalFileSystem)
        assert path == str(tmp_path / expected)


def test_uris_go_through_pyarrow(tmp_path):
    file_system, path = resolve(f"file://{tmp_path}/run")
    assert isinstance(file_system, pafs.LocalFileSystem)
    assert path == f"{tmp_path}/run"
    bucket = resolve("s3://bucket/folder/run?region=eu-north-1&endpoint_override=localhost:1")
    assert isinstance(bucket.fs, pafs.S3FileSystem)
    assert bucket.join("evaluations", "part-00000.parquet").path == "bucket/folder/run/evaluations/part-00000.parquet"
    assert str(bucket) == "s3://bucket/folder/run"


@pytest.mark.parametrize("uri", ["nonsense://x/y", "file://relative"])
def test_uris_that_pyarrow_cannot_serve_are_refused(uri):
    with pytest.raises(ConfigError, match=r"cannot be opened .*: use a local path, file://, s3://bucket/folder"):
        resolve(uri)


@pytest.mark.parametrize("uri", ["s3://", "file:///"])
def test_uris_without_a_folder_are_refused(uri):
    with pytest.raises(ConfigError, match="names no bucket or folder: add one"):
        resolve(uri)


SECRETS = [
    "s3://AKIAKEY:abc+secret@bucket/folder",
    "s3://AKIAKEY:abc/secret@bucket/folder",  # a slash is common in secrets
    "gs://AKIAKEY:secret@bucket/folder",
    "s3://AKIAKEY:secret@bucket/folder?scheme=http",
]


@pytest.mark.parametrize("uri", SECRETS)
def test_a_uri_with_credentials_is_refused_without_repeating_them(uri):
    with pytest.raises(ConfigError, match="give them by the environment") as raised:
        resolve(uri)
    assert "AKIAKEY" not in str(raised.value)
    assert "secret@" not in str(raised.value)


def test_what_only_looks_like_credentials_is_not_refused():
    assert resolve("s3://bucket/me@home:1?region=eu-north-1&endpoint_override=localhost:1").path == "bucket/me@home:1"


def test_an_unknown_query_is_not_repeated():
    with pytest.raises(ConfigError, match="'s3://bucket/folder' cannot be opened") as raised:
        resolve("s3://bucket/folder?secret_key=abc")
    assert "abc" not in str(raised.value)


@pytest.mark.parametrize(
    ("path", "inner", "outer"),
    [
        ("/a/b", "/a/b/c/d", "/a"),
        ("/a/b?c/", "/a/b?c/c/d", "/a"),  # an ordinary character on a disk
        ("s3://bucket/run/", "s3://bucket/run/c/d", "s3://bucket"),
        ("s3://bucket/run?scheme=http&x=h:1", "s3://bucket/run/c/d?scheme=http&x=h:1", "s3://bucket?scheme=http&x=h:1"),
    ],
)
def test_paths_are_joined_and_parted_before_the_query(path, inner, outer):
    assert storage.below(path, "c", "d") == inner
    assert storage.parent(path) == outer
    assert storage.name_of(inner) == "d"


def test_a_location_resolves_to_itself():
    place = Location(pafs._MockFileSystem(), "a/b")
    assert resolve(place) is place


@pytest.fixture(params=["local", "subtree", "mock"])
def folder(request, tmp_path):
    """The same folder as a local disk, and as file systems on which nothing can be renamed by us."""
    if request.param == "local":
        return resolve(tmp_path)
    if request.param == "subtree":
        return Location(pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), "")
    mock = pafs._MockFileSystem()
    mock.create_dir("run")
    return Location(mock, "run")


def test_files_are_written_replaced_listed_and_read(folder):
    for name, content in (("b.parquet", b"1"), ("a.parquet", b"2"), ("a.parquet", b"3"), ("c.json", b"{}")):
        write_atomic(folder.join(name), content)
    for name in (".a.parquet", "_b.parquet"):
        write_atomic(folder.join(name), b"hidden")
    assert storage.list_files(folder, ".parquet") == ["a.parquet", "b.parquet"]
    assert storage.read_bytes(folder.join("a.parquet")) == b"3"
    assert storage.exists(folder.join("c.json"))
    assert not storage.exists(folder.join("d.json"))
    write_atomic(folder.join("buffer"), pa.py_buffer(b"xyz"))
    assert storage.read_bytes(folder.join("buffer")) == b"xyz"


def test_a_folder_is_deleted_with_all_it_holds(folder):
    for _ in range(2):  # the second time there is none
        storage.delete_folder(folder.join("a"))
        assert storage.list_folders(folder) == []
    storage.make_folder(folder.join("a", "b"))
    write_atomic(folder.join("a", "b", "c"), b"1")
    storage.delete_folder(folder.join("a"))
    assert storage.list_folders(folder) == []


def test_on_a_disk_a_folder_goes_at_once_and_a_kill_leaves_a_hidden_one_at_most(tmp_path, monkeypatch):
    def fill():
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b").write_text("1")

    fill()
    with monkeypatch.context() as patches:
        patches.setattr(storage.Location, "__new__", lambda *arguments: 1 / 0)  # killed after the renaming
        with pytest.raises(ZeroDivisionError):
            storage.delete_folder(Location._make((pafs.LocalFileSystem(), str(tmp_path / "a"))))
    assert [path.name for path in tmp_path.iterdir()] == [".a.old"]
    fill()
    storage.delete_folder(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_can_be_protected(folder):
    write_atomic(folder.join("a"), b"1", overwrite=False)
    with pytest.raises(FileExistsError):
        write_atomic(folder.join("a"), b"2", overwrite=False)
    assert storage.read_bytes(folder.join("a")) == b"1"


def test_missing_files_and_folders(folder):
    assert storage.list_files(folder.join("nowhere"), "") == []
    with pytest.raises(StateError, match=r"nowhere.*cannot be read .*: check that the file is there"):
        storage.read_bytes(folder.join("nowhere"))


def test_check_writable_creates_the_folder_and_leaves_nothing(folder):
    storage.check_writable(folder.join("new", "run"))
    assert storage.exists(folder.join("new", "run"))
    infos = folder.fs.get_file_info(pafs.FileSelector(folder.join("new", "run").path))
    assert infos == []


def test_a_place_that_is_not_writable_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"file/run is not writable .*: choose another storage_path"):
        storage.check_writable(tmp_path / "file" / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_the_right_to_write_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="is not writable"):
        storage.check_writable(tmp_path)


@pytest.mark.parametrize("broken", ["fsync", "replace", "write"])
def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, broken):
    file = tmp_path / "state.json"
    write_atomic(file, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    if broken == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    elif broken == "replace":
        monkeypatch.setattr("pathlib.Path.replace", fail)
    data = b"new" if broken != "write" else "text is no bytes"
    with pytest.raises(TypeError if broken == "write" else OSError):
        write_atomic(file, data)
    monkeypatch.undo()
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_without_hard_links_a_file_is_protected_all_the_same(tmp_path, monkeypatch):
    def no_links(self, target):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("pathlib.Path.hardlink_to", no_links)
    write_atomic(tmp_path / "a", b"1", overwrite=False)
    with pytest.raises(FileExistsError):
        write_atomic(tmp_path / "a", b"2", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


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
        content = storage.read_bytes(file)
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
    assert synced == [False, True]
