"""The kubelet's HTTPS endpoint for logs, so that `pods/log` of the real API server works.

Only `/containerLogs/NAMESPACE/POD/CONTAINER`, and only for the API server's client certificate.
"""

import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from lab.mesh.credentials import Pair
from lab.mesh.network import KUBELET_PORT

Find = Callable[[str, str], Path | None]
"""(namespace, pod) -> its log file."""


class LogServer:
    """Serves the logs of the node's pods."""

    def __init__(self, address: str, pair: Pair, authority: Path, find: Find) -> None:
        """Listen at `address` with certificate `pair`; `authority` signs those who may ask."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED
        handler = type("Handler", (_Handler,), {"find": staticmethod(find)})
        self._server = ThreadingHTTPServer((address, KUBELET_PORT), handler)
        self._server.daemon_threads = True
        # The handshake happens in the request's own thread, so that nobody can block the others.
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="kubelet logs", daemon=True
        )

    def start(self) -> None:
        """Start to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    find: Find
    timeout = 30

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        log = self.find(parts[1], parts[2]) if len(parts) == 4 else None
        if parts[0] != "containerLogs" or log is None or not log.is_file():
            self.send_error(404, "no such container here")
            return
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        body = select(log.read_bytes(), query)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the API server's requests are its own business."""


def select(content: bytes, query: dict[str, str]) -> bytes:
    """Return the part of a log that was asked for: tailLines, sinceSeconds, sinceTime."""
    lines = content.splitlines(keepends=True)
    since: datetime | None = None
    if "sinceTime" in query:
        since = datetime.fromisoformat(query["sinceTime"])
    elif "sinceSeconds" in query:
        since = datetime.now(UTC) - timedelta(seconds=int(query["sinceSeconds"]))
    if since is not None:
        lines = _after(lines, since)
    if "tailLines" in query:
        wanted = int(query["tailLines"])
        lines = lines[-wanted:] if wanted else []
    return b"".join(lines)


def _after(lines: list[bytes], since: datetime) -> list[bytes]:
    """The lines from the first one on whose own time, at its start, is not before `since`."""
    for number, line in enumerate(lines):
        try:
            written = datetime.fromisoformat(line.split(None, 1)[0].decode("ascii"))
        except (ValueError, IndexError, UnicodeDecodeError):
            continue
        if written.tzinfo is not None and written >= since:
            return lines[number:]
    return []
