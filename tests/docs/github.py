"""GitHub's comments on one pull request, as much of the REST API as `comment.py` uses.

Paths, status codes and paging follow docs.github.com/rest/issues/comments; a request without the
token is answered as there.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TOKEN = "token-of-a-test"
REPOSITORY = "example/mesh"
ITSELF = {"login": "github-actions[bot]", "type": "Bot"}


@dataclass
class Comments:
    """The comments of pull request 7, and where they are served."""

    url: str = ""
    held: list[dict[str, object]] = field(default_factory=list)

    def add(self, body: str, *, user: dict[str, str] = ITSELF) -> None:
        """A comment that is there already."""
        self.held.append({"id": 1000 + len(self.held), "body": body, "user": user})

    @property
    def bodies(self) -> list[object]:
        """The text of every comment, oldest first."""
        return [comment["body"] for comment in self.held]


@contextmanager
def served(comments: Comments) -> Iterator[Comments]:
    """Serves the comments on a port of this machine's loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            asked = {key: int(value[0]) for key, value in parse_qs(url.query).items()}
            if url.path != f"/repos/{REPOSITORY}/issues/7/comments":
                return self.answer(404, {"message": "Not Found"})
            size = min(asked.get("per_page", 30), 100)
            start = (asked.get("page", 1) - 1) * size
            return self.answer(200, comments.held[start : start + size])

        def do_POST(self) -> None:
            if self.path != f"/repos/{REPOSITORY}/issues/7/comments":
                return self.answer(404, {"message": "Not Found"})
            comments.add(self.given()["body"])
            return self.answer(201, comments.held[-1])

        def do_PATCH(self) -> None:
            found = re.fullmatch(rf"/repos/{REPOSITORY}/issues/comments/(\d+)", self.path)
            chosen = [one for one in comments.held if found and one["id"] == int(found[1])]
            if not chosen:
                return self.answer(404, {"message": "Not Found"})
            chosen[0]["body"] = self.given()["body"]
            return self.answer(200, chosen[0])

        def given(self) -> dict[str, str]:
            length = int(self.headers["Content-Length"])
            return dict(json.loads(self.rfile.read(length)))

        def answer(self, status: int, body: object) -> None:
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                status, body = 401, {"message": "Bad credentials"}
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        comments.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield comments
        finally:
            server.shutdown()
            thread.join()
