"""A proxy before object storage that lets a request of each place in the package fail.

A place is the line of the package at which the main thread waits while a request comes in, so that
no list of places is written by hand.
"""

import http.client
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import osteo_ray

_PACKAGE = str(Path(osteo_ray.__file__).parent)
_OF_A_HOP = ("content-length", "transfer-encoding", "connection", "expect")
_SLOW_S = 1.0
_PASSES_AFTER = 2
_BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_FORBIDDEN = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
Kind = Literal["slow", "throttled", "refused", "hangs up", "loses a write"]
PASSING: tuple[Kind, ...] = ("slow", "throttled")
"""After which a command ends as if nothing had happened: the client tries again."""
WRITING = ("PUT", "POST", "DELETE")
"""Methods of requests that a store can lose after it has confirmed them."""
LASTING: tuple[Kind, ...] = ("refused", "hangs up")
"""Which last, whatever the client does."""


class Request(NamedTuple):
    """A line of the package that sends a request of some kind."""

    file: str
    line: int
    method: str


@dataclass
class StorageFaults:
    """What is watched, and what is to fail.

    Attributes:
        seen: The requests so far, in the order in which they first came.
        target: The request that fails; None to watch only.
        kind: How it fails.
        struck: How often it did.
    """

    seen: dict[Request, None] = field(default_factory=dict)
    target: Request | None = None
    kind: Kind = "refused"
    struck: int = 0

    def choose(self, method: str) -> Kind | None:
        """Note a request, and say how it is to fail."""
        request = _find_request(method)
        if request is None:
            return None
        self.seen.setdefault(request)
        if request != self.target:
            return None
        self.struck += 1
        most = {"slow": 1, "throttled": _PASSES_AFTER}.get(self.kind)
        return self.kind if most is None or self.struck <= most else None


def _find_request(method: str) -> Request | None:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_PACKAGE):
            return Request(file.removeprefix(_PACKAGE), frame.f_lineno, method)
        frame = frame.f_back
    return None


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, storage: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.storage = urlsplit(storage).netloc
        self.faults = StorageFaults()

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that have gone away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        body = self._read_body()
        kind = self.server.faults.choose(self.command)
        if kind == "slow":
            time.sleep(_SLOW_S)
        if kind == "throttled":
            return self._answer(503, {}, _BUSY)
        if kind == "refused":
            return self._answer(403, {}, _FORBIDDEN)
        if kind == "loses a write" and self.command in WRITING:
            return self._answer(200, {"ETag": '"lost"'}, b"")
        if kind == "hangs up":
            self.close_connection = True
            return None
        there = http.client.HTTPConnection(self.server.storage)
        headers = {n: value for n, value in self.headers.items() if n.lower() not in _OF_A_HOP}
        there.request(self.command, self.path, body, headers)
        answer = there.getresponse()
        content = answer.read()
        self._answer(answer.status, dict(answer.getheaders()), content)
        there.close()
        return None

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # what follows the last part
            pass
        return b"".join(parts)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _OF_A_HOP:
                self.send_header(name, value)
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve


@contextmanager
def start_proxy(storage: str) -> Iterator[tuple[str, _Proxy]]:
    """Start a proxy before a server that speaks S3; give its address, and the proxy."""
    proxy = _Proxy(storage)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}", proxy
    finally:
        proxy.shutdown()
        proxy.server_close()


def fail_requests(proxy: _Proxy, target: Request | None = None, kind: Kind = "refused") -> None:
    """Begin to watch, and let one request fail."""
    proxy.faults = StorageFaults(target=target, kind=kind)
