"""The connection to a cluster: clients from a kubeconfig, and errors that a caller can act on.

Every error of the network and of the API server becomes one line; kubeconfigs are never shown.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final

import httpx2
import msgspec
import yaml
from lightkube import ApiError, Client, KubeConfig
from lightkube.config import client_adapter
from lightkube.config.kubeconfig import SingleConfig
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


class MissingError(ForbiddenError):
    """404: there is no such object."""


class ChangedError(ForbiddenError):
    """409 or 422: the object is not, or no longer, what the request assumed."""


class Connection:
    """The clients of one cluster. A context manager: leaving it closes its connections."""

    def __init__(self, kubeconfig: str, *, context: str | None = None) -> None:
        """Read a kubeconfig (YAML text) and pick its current context, or the one named.

        Raises Refused (`kubeconfig-unusable`). Nothing is asked of the cluster yet.
        """
        config = _configuration(kubeconfig, context)
        timeout = httpx2.Timeout(SECONDS)
        try:
            self.client = Client(config, timeout=timeout)
            # For what the typed client does not offer: logs as a stream, and the server's clock.
            self.http = client_adapter.Client(
                config, client_adapter.ConnectionParams(timeout=timeout)
            )
        except (ConfigError, OSError, ValueError, TypeError, AttributeError) as error:
            # The others may quote what they could not read.
            why = str(error) if isinstance(error, ConfigError) else type(error).__name__
            raise Refused([_unusable(why)]) from None

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
    except (httpx2.HTTPError, OSError) as error:
        raise UnreachableError(str(error) or type(error).__name__) from None
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise UnreachableError(f"an answer that is no Kubernetes object: {error}") from None
    except ConfigError as error:
        # kubelogin and its like failed; what they print is theirs and may hold a token.
        raise UnreachableError(str(error).partition(":")[0]) from None


def _message(answer: httpx2.Response) -> str:
    """What a refusal says: the message of a Kubernetes Status, else the first line of any text."""
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        lines = answer.text.strip().splitlines()
        return lines[0] if lines else f"HTTP {answer.status_code}"


def _of_status(status: int, message: str) -> Exception:
    if status == 404:
        return MissingError(message)
    if status in (409, 422):
        return ChangedError(message)
    if status == 429 or status >= 500:
        return UnreachableError(message)
    return ForbiddenError(message)


def _configuration(kubeconfig: str, context: str | None) -> SingleConfig:
    try:
        config = KubeConfig.from_dict(yaml.safe_load(kubeconfig)).get(context)
    except ConfigError as error:
        raise Refused([_unusable(str(error))]) from None
    except KeyError as error:
        raise Refused([_unusable(f"it has no {error}")]) from None
    except (yaml.YAMLError, msgspec.ValidationError, TypeError, AttributeError):
        # Their texts quote the kubeconfig.
        raise Refused([_unusable("it is not one")]) from None
    if config is None or config.user is None:
        raise Refused([_unusable("it names no user")])
    return config


def _unusable(why: str) -> Refusal:
    return Refusal(
        "kubeconfig-unusable",
        f"the kubeconfig cannot be used: {why}",
        "Set `cluster.kubeconfig` with `pulumi config set --secret --path` to a kubeconfig that "
        "works where `pulumi up` runs, such as `az aks get-credentials --file -` writes one.",
    )
