"""What a kubeconfig, a proxy or a server can have wrong, and the one line that says so."""

import base64
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshca.cluster_connection import Connection, UnauthorizedError, UnreachableError
from meshca.cluster_view import ClusterView
from meshca.refusals import Refused
from tests import material

FILE = Path("/etc/kubeconfig")
PROXIES = [name for name in os.environ if name.lower().endswith("_proxy")]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name)


def kubeconfig(cluster: object = None, user: object = None) -> str:
    """A kubeconfig as text."""
    return yaml.safe_dump(
        {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": cluster or {"server": "https://k.example"}}],
            "users": [{"name": "u", "user": {"token": "hush"} if user is None else user}],
        }
    )


def why_unusable(text: str, file: Path | None = FILE) -> str:
    """The line that refuses a kubeconfig."""
    with pytest.raises(Refused) as refused, Connection(text, file=file):
        pass
    line = str(refused.value)
    assert "\n" not in line
    assert "hush" not in line
    return line


@pytest.mark.parametrize(
    "text",
    ["a: 2026-99-99", "[" * 5000, "- 1", "'hush", "clusters: 1\ncontexts: 1", "a: 0o8_"],
    ids=["date", "deep", "list", "quote", "number", "octal"],
)
def test_text_of_another_kind_is_refused(text: str) -> None:
    """With the file it came from; its text is not shown."""
    assert why_unusable(text).startswith(f"kubeconfig-unusable: the kubeconfig {FILE} cannot be")


BASE64 = base64.b64encode(b"hush").decode()
ROOT = material.authority("CN=Root")
CERTIFICATE = base64.b64encode(ROOT.pem.encode()).decode()
OTHER_KEY = base64.b64encode(material.key_text(material.ec_key("other")).encode()).decode()


@pytest.mark.parametrize(
    ("cluster", "user", "told"),
    [
        ({"server": "https://k:port"}, None, "its `server` is not the URL of an API server"),
        ({"server": "k.example:6443"}, None, "its `server` is not the URL"),
        ({"server": "https://\udcff.example"}, None, "its `server` is not the URL"),
        ({"server": 7}, None, "it is not one (see `server`)"),
        ({"server": "https://k", "certificate-authority": "/none"}, None,
         "its `certificate-authority` /none cannot be read (No such file or directory)"),
        ({"server": "https://k", "certificate-authority-data": "%"}, None,
         "its `certificate-authority` holds no certificate"),
        ({"server": "https://k", "certificate-authority-data": BASE64}, None,
         "its `certificate-authority` holds no certificate that can be read"),
        (None, {"client-certificate": "/none", "client-key": "/none"},
         "its `client-certificate` /none cannot be read"),
        (None, {"client-certificate-data": CERTIFICATE},
         "it has a `client-certificate` and no `client-key`"),
        (None, {"client-certificate-data": CERTIFICATE, "client-key-data": OTHER_KEY},
         "its `client-certificate` and `client-key` do not belong together"),
    ],
)  # fmt: skip
def test_a_field_that_is_of_no_use_is_named(cluster: object, user: object, told: str) -> None:
    """Whatever the client cannot load is told by the name of its field."""
    text = kubeconfig(cluster, user).replace("\udcff", "\\udcff")
    assert why_unusable(text).startswith(
        f"kubeconfig-unusable: the kubeconfig {FILE} cannot be used: {told}"
    )


def test_files_are_sought_beside_the_kubeconfig(tmp_path: Path) -> None:
    """A relative path in a kubeconfig is relative to it, as it is for kubectl."""
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    text = kubeconfig({"server": "https://k", "certificate-authority": "ca.pem"})
    with Connection(text, file=tmp_path / "config"):
        pass


def test_only_a_kubeconfig_of_the_stack_is_corrected_in_the_stack() -> None:
    """Who gave a file is sent to the file, not to the stack's secrets."""
    assert "--kubeconfig" in why_unusable("x")
    assert "pulumi" not in why_unusable("x")
    assert "Set `cluster.kubeconfig`" in why_unusable("x", file=None)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "gopher://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """A proxy of another kind is told by its variable, and is not the kubeconfig's fault."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(UnreachableError, match="ALL_PROXY names a "):
        Connection(kubeconfig())


class Server:
    """A server that answers every request with one status and one Date."""

    def __init__(self, status: int = 200, date: str | None = None) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response_only(status)
                if date is not None:
                    self.send_header("Date", date)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.cluster = {"server": f"http://127.0.0.1:{self._server.server_port}"}
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers, and stops them in the end."""
    made: list[Server] = []

    def start(*arguments: Any) -> Server:
        made.append(Server(*arguments))
        return made[-1]

    yield start
    for each in made:
        each.stop()


@pytest.mark.parametrize("date", [None, "soon", "Mon, 99 Jan 2026 00:00:00 GMT"])
def test_a_server_without_a_clock_is_told(serve: Callable[..., Server], date: str | None) -> None:
    """An answer without a Date that can be read is no traceback."""
    with (
        Connection(kubeconfig(serve(200, date).cluster)) as connection,
        pytest.raises(UnreachableError, match="no `Date` that tells the time"),
    ):
        ClusterView(connection).clock()


def test_credentials_that_ended_are_told_apart(serve: Callable[..., Server]) -> None:
    """401 is not 403: no right is missing, only a login."""
    with (
        Connection(kubeconfig(serve(401).cluster)) as connection,
        pytest.raises(UnauthorizedError),
    ):
        ClusterView(connection).clock()


def program(command: str, *arguments: str, version: str = "v1beta1") -> dict[str, object]:
    """A user whose credentials a program prints."""
    api = f"client.authentication.k8s.io/{version}"
    return {"exec": {"apiVersion": api, "command": command, "args": [*arguments]}}


@pytest.mark.parametrize(
    ("user", "told"),
    [
        (program("/none/kubelogin"), "its `exec` program /none/kubelogin cannot be started (No"),
        (program("echo", "hush"), "its `exec` program echo printed no JSON with a `status.token`"),
        (program("echo", '{"kind": "hush"}'), "its `exec` program echo printed no JSON with a"),
        (program("echo", '{"status": "hush"}'), "its `exec` program echo printed no JSON with a"),
        (program("echo", version="v9"), "its `exec` program: auth exec api version"),
    ],
)  # fmt: skip
def test_a_program_that_gives_no_credentials_is_named(
    serve: Callable[..., Server], user: object, told: str
) -> None:
    """The program of a kubeconfig that is not there, or prints something else, is the kubeconfig's
    fault; what it printed is not shown."""
    text = kubeconfig(serve(200).cluster, user)
    with Connection(text, file=FILE) as connection, pytest.raises(Refused) as refused:
        ClusterView(connection).may_look()
    line = str(refused.value)
    assert line.startswith(f"kubeconfig-unusable: the kubeconfig {FILE} cannot be used: {told}")
    assert "hush" not in line


def test_a_program_that_fails_says_to_log_in(serve: Callable[..., Server]) -> None:
    """What it said on standard error is not shown: it may hold a token."""
    text = kubeconfig(serve(200).cluster, program("sh", "-c", "echo hush >&2; exit 3"))
    with Connection(text) as connection, pytest.raises(UnreachableError) as failed:
        ClusterView(connection).may_look()
    assert "program sh of the kubeconfig ended with 3; log in again" in str(failed.value)
    assert "hush" not in str(failed.value)


def test_a_program_is_asked_once(serve: Callable[..., Server], tmp_path: Path) -> None:
    """For the typed client and for the other one, and its token is kept."""
    asked = tmp_path / "asked"
    printed = '{"status": {"token": "t"}}'
    user = program("sh", "-c", f"echo x >>{asked}; echo '{printed}'")
    with Connection(kubeconfig(serve(200, "Tue, 24 Nov 2026 18:00:00 GMT").cluster, user)) as made:
        view = ClusterView(made)
        view.clock()
        with pytest.raises(UnreachableError, match="no Kubernetes object"):
            view.istiods()
    assert asked.read_text() == "x\n"
