import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs as pafs

from multinas_ray.errors import ConfigError
from multinas_ray.storage import Location, places, resolve

NEVER_ASKED = "region=eu-north-1&endpoint_override=localhost:1"


def test_local_paths_become_absolute_and_open_takes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for given_path, expected in (
        ("runs/a", "runs/a"),
        ("~/b", "b"),
        (tmp_path / "c", "c"),
        (f"file://{tmp_path}/d%20e/", "d e"),
        (f"file://localhost{tmp_path}/f", "f"),
        ("./s3:/g", "s3:/g"),
        ("odd:name/h?i#j%20", "odd:name/h?i#j%20"),
    ):
        place = resolve(given_path)
        assert place.is_local
        assert str(place) == os.fspath(place) == place.path == str(tmp_path / expected)
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        with open(place, "w") as stream:  # noqa: PTH123 - what a person does
            stream.write("here")
        assert (tmp_path / expected).read_text() == "here"


def test_a_place_in_a_bucket_is_told_without_a_request(monkeypatch):
    monkeypatch.setattr(places, "check_contact", lambda _: None)
    place = resolve(f"s3://bucket/folder/run?{NEVER_ASKED}")
    assert not place.is_local
    assert str(place.join("evaluations", "a b%.parquet")) == (
        f"s3://bucket/folder/run/evaluations/a%20b%25.parquet?{NEVER_ASKED}"
    )
    file_system, path = place.join("a b%").open()
    assert isinstance(file_system, pafs.S3FileSystem)
    assert path == "bucket/folder/run/a b%"
    assert resolve("s3://bucket?region=x").open()[1] == "bucket"
    assert resolve("gs://bucket/a").open()[1] == "bucket/a"


@pytest.mark.parametrize(
    ("path", "inner", "outer", "name"),
    [
        ("/a/b", "/a/b/c/d", "/a", "b"),
        ("/", "/c/d", "/", ""),
        ("/a/b?c/", "/a/b?c/c/d", "/a", "b?c"),  # an ordinary character on a disk
        ("s3://bucket/run/", "s3://bucket/run/c/d", "s3://bucket", "run"),
        ("S3://bucket//a//run", "s3://bucket/a/run/c/d", "s3://bucket/a", "run"),
        ("s3://bucket", "s3://bucket/c/d", "s3://bucket", "bucket"),
        ("s3://bucket/run?x=h:1&y=z", "s3://bucket/run/c/d?x=h:1&y=z", "s3://bucket?x=h:1&y=z", "run"),
        ("gs://bucket/größe", "gs://bucket/gr%C3%B6%C3%9Fe/c/d", "gs://bucket", "größe"),
    ],
)  # fmt: skip
def test_places_are_joined_and_parted(path, inner, outer, name):
    place = resolve(path)
    assert str(place.join("c", "d")) == inner
    assert str(place.parent) == outer
    assert place.name == name
    assert place.join("c", "d").parent.parent == place


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in (".", "..")
)


@given(st.lists(names, min_size=1), st.sampled_from(["", "?scheme=http&endpoint_override=localhost:1"]))
def test_the_text_of_a_place_leads_back_to_it(parts, query):
    for start in ("/folder", f"s3://bucket{query}", f"gs://bucket/folder{query}"):
        place = resolve(start).join(*parts)
        assert resolve(str(place)) == place
        assert place.name == parts[-1]
        assert resolve(place) is place
        assert pickle.loads(pickle.dumps(place)) == place


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "it is empty"),
        (Path("a\0b"), "it holds a NUL character"),
        ("s3://bucket/a%00b", "it holds a NUL character"),
        ("a\udcff", "it cannot be written in UTF-8"),
        ("~no-such-user-at-all/a", "there is no such user"),
        ("s3:/x", "two slashes must follow s3:"),
        ("s3:x", "two slashes must follow s3:"),
        ("gs:/bucket/x", "two slashes must follow gs:"),
        ("s3://", "it names no bucket"),
        ("s3:///x", "it names no bucket"),
        ("s3://?region=x", "it names no bucket"),
        ("s3://bucket/a#b", "write %23 for the character #"),
        ("file:/x", "a URI of a local file begins with file:///"),
        ("file:x", "a URI of a local file begins with file:///"),
        ("file://host/x", "a URI of a local file begins with file:///"),
        ("file://relative", "a URI of a local file begins with file:///"),
        ("file://", "it names no file or folder"),
        ("file:///", "it names no file or folder"),
        ("file:///x?y", "a file:// URI has no query or fragment"),
        ("nonsense://x/y", "the scheme 'nonsense' is not known"),
        ("http://host/x", "the scheme 'http' is not known"),
        ("nonsense:/x", "the scheme 'nonsense' is not known"),
        ("://x", "the scheme '' is not known"),
    ],
)
def test_what_is_no_path_is_refused_in_a_line(path, reason):
    with pytest.raises(ConfigError, match="cannot be used as a path") as raised:
        resolve(path)
    assert f"({reason}" in str(raised.value)
    assert str(raised.value).endswith("use a local path, file:///folder, s3://bucket/folder or gs://bucket/folder")
    assert "\n" not in str(raised.value)
    assert "\0" not in str(raised.value)


@pytest.mark.parametrize("path", [None, 3, b"bytes", ["a"]])
def test_what_is_no_text_is_refused(path):
    with pytest.raises(ConfigError, match=r"a path must be text or an os.PathLike of text, not .*: give it as text"):
        resolve(path)


def test_a_relative_path_in_a_deleted_folder_is_refused(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match="the working folder cannot be found"):
        resolve("a")


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
    assert resolve(f"s3://bucket/me@home:1?{NEVER_ASKED}").path == "me@home:1"


@pytest.mark.parametrize("uri", ["s3://bucket/folder?secret_key=abc", "s3://buc ket/a?secret_key=abc"])
def test_a_query_that_is_not_understood_is_told_without_its_values(uri):
    with pytest.raises(
        ConfigError, match=r"'s3://buc ?ket' cannot be opened .*: check the name of the bucket"
    ) as raised:
        resolve(uri).open()
    assert "abc" not in str(raised.value)


def test_places_are_equal_where_they_are_the_same():
    assert resolve("s3://b/a/") == resolve("s3://b//a") == Location("a", resolve("s3://b").store)
    assert resolve("s3://b/a") != resolve("s3://b/a?region=x")
    assert len({resolve("/a"), resolve("/a/"), resolve("file:///a")}) == 1
