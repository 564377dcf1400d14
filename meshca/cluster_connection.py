"""The connection to a cluster: clients from a kubeconfig, and errors that a caller can act on.

Every error of the network and of the API server becomes one line; kubeconfigs are never shown.
"""

import re
import ssl
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import httpx2
import msgspec
import yaml
from lightkube import ApiError, Client, KubeConfig
from lightkube.config import client_adapter
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import FileStr, UserExec
from lightkube.core.exceptions import ConfigError

from meshca.refusals import Refusal, Refused

PAGE: Final = 500
"""Objects in one page of a list, as kubectl asks for them."""

SECONDS: Final = 20.0
"""How long one request may take."""


class UnreachableError(ConnectionError):
    """The API server does not answer, or answers that it cannot now; trying again may help."""


class ForbiddenError(Exception):
    """The API server refuses a request, and will again; its text is the API server's."""


class UnauthorizedError(ForbiddenError):
    """401: the API server does not take the credentials, or no longer."""


class MissingError(ForbiddenError):
    """404: there is no such object."""


class ChangedError(ForbiddenError):
    """409 or 422: the object is not, or no longer, what the request assumed."""


class Connection:
    """The clients of one cluster. A context manager: leaving it closes its connections."""

    def __init__(
        self, kubeconfig: str, *, context: str | None = None, file: Path | None = None
    ) -> None:
        """Read a kubeconfig (YAML text) and pick its current context, or the one named.

        `file` is where the text comes from; None: out of the stack. Raises Refused
        (`kubeconfig-unusable`), or UnreachableError when there is no way out of this machine.
        Nothing is asked of the cluster yet.
        """
        config = _configuration(kubeconfig, context, file)
        timeout = httpx2.Timeout(SECONDS)
        if (why := _bad_server(config.cluster.server)) is not None:
            raise Refused([_unusable(why, file)])
        try:
            self.client = Client(config, timeout=timeout)
            # For what the typed client does not offer: logs as a stream, and the server's clock.
            self.http = client_adapter.Client(
                config, client_adapter.ConnectionParams(timeout=timeout)
            )
        except (
            *(ConfigError, OSError, ValueError, TypeError, AttributeError),
            *(ImportError, httpx2.InvalidURL),
        ) as error:
            if (why := _bad_credentials(config)) is not None:
                raise Refused([_unusable(why, file)]) from None
            if isinstance(error, ConfigError):
                raise Refused([_unusable(str(error), file)]) from None
            if (why := _bad_proxy(error)) is not None:
                raise UnreachableError(why) from None
            # Others may quote what they could not read.
            why = f"a value in it is of no use ({type(error).__name__})"
            raise Refused([_unusable(why, file)]) from None
        if isinstance(self.http.auth, client_adapter.ExecAuth) and config.user is not None:
            assert config.user.exec is not None
            self.http.auth = _Program(config.user.exec, file)
            # Both clients with one: it is asked once.
            self.client._client._client.auth = self.http.auth

    def __enter__(self) -> "Connection":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
        self.http.close()


@contextmanager
def plain_errors() -> Iterator[None]:
    """Errors of the client as the two kinds that a caller can act on."""
    try:
        yield
    except ApiError as error:
        raise _of_status(int(error.status.code or 0), str(error.status.message)) from None
    except httpx2.HTTPStatusError as error:
        raise _of_status(error.response.status_code, _message(error.response)) from None
    except httpx2.TimeoutException:
        raise UnreachableError(f"no answer within {SECONDS:.0f} seconds") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError, OSError) as error:
        raise UnreachableError(str(error) or "the connection broke") from None
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise UnreachableError(f"an answer that is no Kubernetes object: {error}") from None
    except ConfigError as error:
        # kubelogin and its like failed; what they print is theirs and may hold a token.
        raise UnreachableError(str(error).partition(":")[0]) from None


class _Program(client_adapter.ExecAuth):
    """Credentials from a program (kubelogin and its like), whose failures are one line."""

    def __init__(self, program: UserExec, file: Path | None) -> None:
        super().__init__(program)
        self._command = program.command
        self._file = file

    def sync_auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """As the base class does."""
        flow = super().sync_auth_flow(request)
        try:
            asked = self._plain(lambda: next(flow))
            while True:
                answer = yield asked
                asked = self._plain(lambda answer=answer: flow.send(answer))  # type: ignore[misc]
        except StopIteration:
            return

    def _plain(self, step: Callable[[], httpx2.Request]) -> httpx2.Request:
        try:
            return step()
        except OSError as error:
            why = f"its `exec` program {self._command} cannot be started ({error.strerror})"
        except ConfigError as error:
            # What it said may hold a token.
            code = re.search(r" returned (-?\d+):", str(error))
            if code is not None:
                raise UnreachableError(
                    f"the `exec` program {self._command} of the kubeconfig ended with {code[1]}; "
                    "log in again"
                ) from None
            why = f"its `exec` program: {error}"
        except (ValueError, KeyError, TypeError):
            # What it printed may be a token.
            why = f"its `exec` program {self._command} printed no JSON with a `status.token`"
        raise Refused([_unusable(why, self._file)])


def _bad_server(server: str) -> str | None:
    """What is wrong with the address of the API server."""
    try:
        url = httpx2.URL(server)
        sound = url.scheme in ("http", "https") and bool(url.host)
    except (httpx2.InvalidURL, UnicodeError, ValueError):
        sound = False
    return None if sound else "its `server` is not the URL of an API server"


@dataclass(frozen=True)
class _Field:
    """Something in a kubeconfig that is a file, or stands in it as base64."""

    name: str
    path: str | None
    data: str | None

    def load(self, config: SingleConfig) -> str | None:
        """The path of a file that holds it; raises OSError or ValueError."""
        if self.path:
            path = config.abs_file(self.path)
            Path(path).read_bytes()
            return str(path)
        return FileStr(self.data) if self.data else None


def _bad_credentials(config: SingleConfig) -> str | None:
    """Which field of a kubeconfig the client could not load, and why, without showing it."""
    cluster, user = config.cluster, config.user
    assert user is not None
    ca = _Field("certificate-authority", cluster.certificate_auth, cluster.certificate_auth_data)
    certificate = _Field("client-certificate", user.client_cert, user.client_cert_data)
    key = _Field("client-key", user.client_key, user.client_key_data)
    loaded = {}
    for field in (ca, certificate, key):
        try:
            loaded[field.name] = field.load(config)
        except OSError as error:
            return f"its `{field.name}` {field.path} cannot be read ({error.strerror})"
        except ConfigError as error:
            return f"its `{field.name}`: {error}"
        except (ValueError, TypeError):
            return f"its `{field.name}-data` is not base64"
    try:
        ssl.create_default_context(cafile=loaded[ca.name])
    except (OSError, ValueError):
        return f"its `{ca.name}` holds no certificate that can be read"
    mine, its_key = loaded[certificate.name], loaded[key.name]
    if mine is None:
        return None
    if its_key is None:
        return f"it has a `{certificate.name}` and no `{key.name}`"
    try:
        ssl.create_default_context().load_cert_chain(mine, its_key)
    except (OSError, ValueError):
        return f"its `{certificate.name}` and `{key.name}` do not belong together"
    return None


def _bad_proxy(error: Exception) -> str | None:
    """Why the proxies of the environment cannot be used; None when there are none."""
    schemes = urllib.request.getproxies_environment()
    names = ", ".join(f"{scheme.upper()}_PROXY" for scheme in schemes if scheme != "no")
    if not names:
        return None
    if isinstance(error, ImportError):
        return f"{names} names a SOCKS proxy, which takes the Python package `socksio`"
    return f"{names} names a proxy of an unknown kind"


def _message(answer: httpx2.Response) -> str:
    """What a refusal says: the message of a Kubernetes Status, else the first line of any text."""
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        lines = answer.text.strip().splitlines()
        return lines[0] if lines else f"HTTP {answer.status_code}"


def _of_status(status: int, message: str) -> Exception:
    if status == 401:
        return UnauthorizedError(message)
    if status == 404:
        return MissingError(message)
    if status in (409, 422):
        return ChangedError(message)
    if status == 429 or status >= 500:
        return UnreachableError(message)
    return ForbiddenError(message)


def _configuration(kubeconfig: str, context: str | None, file: Path | None) -> SingleConfig:
    try:
        # With the file, paths in it are relative to where it is, as for kubectl.
        config = KubeConfig.from_dict(yaml.safe_load(kubeconfig), fname=file).get(context)
    except ConfigError as error:
        raise Refused([_unusable(str(error), file)]) from None
    except KeyError as error:
        raise Refused([_unusable(f"it has no {error}", file)]) from None
    except msgspec.ValidationError as error:
        # Of its text only the field, as the rest may quote the kubeconfig.
        field = re.search(r"field `([\w-]+)`|`\$\.([\w.-]+)", str(error))
        name = f" (see `{field[1] or field[2]}`)" if field else ""
        raise Refused([_unusable(f"it is not one{name}", file)]) from None
    except (yaml.YAMLError, TypeError, AttributeError, ValueError, OverflowError, RecursionError):
        # Their texts quote the kubeconfig.
        raise Refused([_unusable("it is not one", file)]) from None
    if config is None or config.user is None:
        raise Refused([_unusable("it names no user", file)])
    return config


def _unusable(why: str, file: Path | None) -> Refusal:
    if file is not None:
        return Refusal(
            "kubeconfig-unusable",
            f"the kubeconfig {file} cannot be used: {why}",
            "Get one with `az aks get-credentials -g GROUP -n CLUSTER`, or name another file with "
            "--kubeconfig.",
        )
    return Refusal(
        "kubeconfig-unusable",
        f"the kubeconfig cannot be used: {why}",
        "Set `cluster.kubeconfig` with `pulumi config set --secret --path` to a kubeconfig that "
        "works where `pulumi up` runs, such as `az aks get-credentials --file -` writes one.",
    )
