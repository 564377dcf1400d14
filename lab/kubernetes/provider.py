"""The plug-in `kubernetes`: its settings, its resource types, its timeouts."""

from __future__ import annotations

import contextvars
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
from pulumi.runtime.proto import provider_pb2

from lab.kubernetes.api import Api, unreachable
from lab.kubernetes.patches import TOKENS, Patch
from lab.provider.errors import ProviderError
from lab.provider.plugin import Plugin
from lab.provider.values import Properties

VERSION: Final = "4.34.2"
"""The version of the SDK that the program pins: the engine looks for exactly this plug-in."""

_timeout: contextvars.ContextVar[float | None] = contextvars.ContextVar("timeout", default=None)


class Kubernetes(Plugin):
    """kubernetes over the API server of the kubeconfig it is configured with.

    Like the real one it starts with any kubeconfig, and refuses only what needs an API server.
    """

    def __init__(self) -> None:
        self._kubeconfig: str | None = None
        self._api: Api | None = None
        resources = {
            token: Patch(kind, self._connected, _timeout.get) for token, kind in TOKENS.items()
        }
        super().__init__("kubernetes", VERSION, resources, {}, accept_secrets=True)

    def configure(self, settings: Properties) -> None:
        """Take the kubeconfig's text; nothing of the machine's own is ever read.

        `clusterIdentifier` only decides on replacements (DiffConfig), which the lab leaves to the
        engine; flags arrive as JSON text, and of these only the defaults are modelled.
        """
        self._kubeconfig = settings.get("kubeconfig")
        defaults = {"enableServerSideApply": "true", "enablePatchForce": "false"}
        for name, default in defaults.items():
            value = settings.get(name, default)
            text = value if isinstance(value, str) else json.dumps(value)
            if text != default:
                raise ProviderError(
                    grpc.StatusCode.UNIMPLEMENTED,
                    f"kubernetes: the lab does not model the provider setting '{name}: {text}'",
                )
        known = ("kubeconfig", "clusterIdentifier", *defaults)
        super().configure({name: settings[name] for name in settings if name not in known})

    def Create(  # noqa: N802
        self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CreateResponse:
        """Create a resource within the request's own timeout (`customTimeouts`)."""
        with _within(request):
            return super().Create(request, context)

    def Update(  # noqa: N802
        self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.UpdateResponse:
        """Update a resource within the request's own timeout (`customTimeouts`)."""
        with _within(request):
            return super().Update(request, context)

    def _connected(self) -> Api:
        if not self._kubeconfig:
            raise unreachable("no kubeconfig was given to the provider")
        if self._api is None:
            self._api = Api(self._kubeconfig)
        return self._api


@contextmanager
def _within(request: Any) -> Iterator[None]:
    token = _timeout.set(request.timeout or None)
    try:
        yield
    finally:
        _timeout.reset(token)
