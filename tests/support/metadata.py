"""An instance's metadata server, as AWS's and Google's documents describe them."""

import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer


class FakeMetadata:
    """Serves the metadata of one instance at `url` while its context lasts; a `notice` is what it answers then."""

    def __init__(self, cloud):
        self.notice = None
        self.asked = []
        self._server = HTTPServer(("127.0.0.1", 0), _handler(self, CLOUDS[cloud]))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def aws_time(seconds_from_now):
    at = datetime.now(timezone.utc) + timedelta(seconds=seconds_from_now)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def aws_notice_of(seconds_from_now):
    return f'{{"action": "terminate", "time": "{aws_time(seconds_from_now)}"}}'


def aws(metadata, method, path, headers):
    """IMDSv2: no token, no answer."""
    if (method, path) == ("PUT", "/latest/api/token"):
        has_time_to_live = 1 <= int(headers.get("X-aws-ec2-metadata-token-ttl-seconds", 0)) <= 21600
        return (200, "the token") if has_time_to_live else (400, "")
    if headers.get("X-aws-ec2-metadata-token") != "the token":
        return 401, ""
    if path == "/latest/meta-data/spot/instance-action" and metadata.notice is not None:
        return 200, metadata.notice
    return 404, ""


def google(metadata, method, path, headers):
    if headers.get("Metadata-Flavor") != "Google":
        return 403, ""
    if (method, path) == ("GET", "/computeMetadata/v1/instance/preempted"):
        return 200, "TRUE" if metadata.notice else "FALSE"
    return 404, ""


def anything(metadata, method, path, headers):
    """A network's log-in page."""
    return 200, metadata.notice


CLOUDS = {"aws": aws, "google": google, "anything": anything}


def _handler(metadata, answer):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            metadata.asked.append((self.command, self.path))
            status, text = answer(metadata, self.command, self.path, self.headers)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        do_PUT = do_GET

        def log_message(self, format, *arguments):
            pass

    return Handler
