"""A real S3 client against moto's server, and against servers that refuse."""

import http.server
import socket
import threading
from types import SimpleNamespace

import boto3
import pytest

from multinas_ray.errors import MultiNASError, StorageError
from multinas_ray.storage import (
    RowGroupReader,
    check_writable,
    contact,
    delete_file,
    delete_folder,
    exists,
    list_files,
    make_folder,
    open_atomic,
    places,
    read_bytes,
    replace_folder,
    resolve,
    write_atomic,
)


@pytest.fixture(scope="module", autouse=True)
def _credentials():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="module")
def moto_query(_credentials):
    moto_server = pytest.importorskip("moto.server")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    yield f"?scheme=http&endpoint_override={host}:{port}&region=us-east-1"
    server.stop()


def test_a_bucket_is_used_like_a_disk(moto_query):
    folder = resolve(f"s3://bucket/a%20folder{moto_query}")
    check_writable(folder)
    write_atomic(folder.join("größe %41"), b"1")
    with open_atomic(str(folder.join("large"))) as stream:
        for _ in range(12):
            stream.write(bytes(1_000_000))
    with pytest.raises(FileExistsError):
        write_atomic(folder.join("large"), b"", overwrite=False)
    assert list_files(folder, "") == ["größe %41", "large"]
    assert read_bytes(folder.join("größe %41")) == b"1"
    assert len(read_bytes(folder.join("large"))) == 12_000_000
    with replace_folder(folder.join("out")) as filled:
        (filled / "b").write_bytes(b"2")
    assert read_bytes(folder.join("out", "b")) == b"2"
    delete_folder(folder.join("out"))
    delete_file(folder.join("large"))
    delete_file(folder.join("large"))
    assert not exists(folder.join("out"))
    assert list_files(folder, "") == ["größe %41"]


class _Refuses(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_PUT = do_POST = do_HEAD = do_DELETE = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def refusing_query():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refuses)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"?scheme=http&endpoint_override=127.0.0.1:{server.server_port}&region=us-east-1"
    server.shutdown()
    thread.join()
    server.server_close()


def use_stream(place):
    with open_atomic(place) as stream:
        stream.write(b"1")


def use_folder(place):
    with replace_folder(place) as folder:
        (folder / "a").write_bytes(b"1")


WRITES = [lambda place: write_atomic(place, b"1"), use_stream, use_folder, check_writable, make_folder]
USES = [*WRITES, exists, read_bytes, delete_file, delete_folder, lambda place: list_files(place, "")]


@pytest.mark.parametrize("use", USES)
def test_credentials_that_are_refused_are_told(refusing_query, use):
    with pytest.raises(StorageError, match="the store does not accept the credentials") as raised:
        use(resolve(f"s3://bucket/folder/a{refusing_query}"))
    assert str(raised.value).startswith("s3://bucket/folder/a?scheme=http")
    assert str(raised.value).endswith("check the credentials in the environment and what they allow")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("use", WRITES)
def test_a_bucket_that_does_not_exist_is_told(moto_query, use):
    with pytest.raises(StorageError, match=r"\(the bucket does not exist\): create it, or check its name and region"):
        use(resolve(f"s3://no-such-bucket/folder/a{moto_query}"))


def test_in_a_bucket_that_does_not_exist_nothing_is_found(moto_query):
    place = resolve(f"s3://no-such-bucket/folder{moto_query}")
    assert not exists(place)
    assert list_files(place, "") == []
    with pytest.raises(StorageError, match=r"cannot be read \(it is missing\): check the path"):
        read_bytes(place)
    with pytest.raises(StorageError, match=r"cannot be read \(it is missing\): check the path"):
        read_bytes(f"s3://bucket/nothing{moto_query}")


@pytest.fixture
def silent_query():
    """A server that takes connections and never answers, as behind a firewall."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"?scheme=http&endpoint_override=127.0.0.1:{server.getsockname()[1]}&region=us-east-1"


@pytest.mark.parametrize("use", [exists, RowGroupReader, check_writable])
def test_a_store_that_is_silent_is_told_soon_and_nothing_goes_on(silent_query, monkeypatch, use):
    opened: list[str] = []
    monkeypatch.setattr(contact, "ANSWER_SECONDS", 0.5)
    client = SimpleNamespace(from_uri=opened.append)
    monkeypatch.setattr(places, "pafs", SimpleNamespace(FileSystem=client))
    what = r"\(the store gave no answer within 10 seconds\): check the network, the credentials"
    for _ in range(2):  # who tells of it may ask again
        with pytest.raises(StorageError, match=what):
            use(resolve(f"s3://bucket/folder{silent_query}"))
        monkeypatch.setattr("subprocess.Popen", None)
    assert not opened, "a client in this process would try for minutes, and keep the process from ending"


def test_a_bucket_is_asked_once(moto_query, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(places, "check_contact", asked.append)
    place = resolve(f"s3://bucket/asked{moto_query}&tls_ca_file_path=")
    for _ in range(3):
        exists(place)
    assert asked == [f"s3://bucket{moto_query}&tls_ca_file_path="]


def test_a_busy_machine_is_not_taken_for_a_silent_store(moto_query, monkeypatch):
    slow = contact._QUESTION.replace("from pyarrow", "import time\ntime.sleep(2.2)\nfrom pyarrow")
    monkeypatch.setattr(contact, "_QUESTION", slow)
    monkeypatch.setattr(contact, "ANSWER_SECONDS", 2.0)
    contact.check_contact(f"s3://bucket{moto_query}&allow_bucket_creation=false")


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_told():
    """Nothing listens there; the client asks for some seconds."""
    with pytest.raises(StorageError, match=r"\(the store cannot be reached\): check the network, the region and the"):
        exists("s3://bucket/a?scheme=http&endpoint_override=127.0.0.1:1&region=us-east-1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("google::cloud::Status(UNAVAILABLE: Retry policy exhausted, with a last message of Could not create a OAuth2 "
         "access token to authenticate the request. PerformWork() - CURL error [6]", "no credentials were found"),
        ("google::cloud::Status(UNAVAILABLE: Retry policy exhausted, with a last message of PerformWork() - CURL error "
         "[7]=Could not connect to server", "the store cannot be reached"),
        ("google::cloud::Status(PERMISSION_DENIED: x)", "the store does not accept the credentials"),
        ("Unknown error: failed: N5Azure4Core11Credentials23AuthenticationExceptionE: Failed to get token from "
         "DefaultAzureCredential.\nSee", "no credentials were found"),
        ("When resolving region for bucket 'b': AWS Error NETWORK_CONNECTION during HeadBucket operation: curlCode: 6",
         "the store cannot be reached"),
        ("Bucket 'b' not found", "the bucket does not exist"),
        ("something new\nand more of it", "something new"),
    ],
)  # fmt: skip
def test_each_stores_words_become_a_reason(monkeypatch, text, reason):
    class Store:
        """Refuses with an error as recorded from the store (pyarrow 26)."""

        def get_file_info(self, _):
            raise OSError(text)

    place = resolve("gs://bucket/a")
    monkeypatch.setattr(type(place.store), "open", lambda _: (Store(), "bucket"))
    with pytest.raises(StorageError) as raised:
        exists(place)
    assert str(raised.value).startswith(f"gs://bucket/a cannot be read ({reason}): ")
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, MultiNASError)
