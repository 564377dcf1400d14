"""The few requests that Patch resources need, as plain JSON, to the API server of a kubeconfig."""

from __future__ import annotations

import json
from typing import Any, Final

import grpc
import httpx2
import msgspec
import yaml
from lightkube import KubeConfig
from lightkube.config import client_adapter
from lightkube.core.exceptions import ConfigError

from lab.provider.errors import ProviderError

Object = dict[str, Any]
"""A Kubernetes object as the API server sends it."""

PLURALS: Final = {
    "Deployment": "deployments",
    "StatefulSet": "statefulsets",
    "DaemonSet": "daemonsets",
}

_SECONDS: Final = 10.0

_CODES: Final = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    422: grpc.StatusCode.INVALID_ARGUMENT,
}


class RefusedError(Exception):
    """The API server refused a request: the HTTP status and its own message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def in_words(self, before: str) -> ProviderError:
        """Return the refusal as the engine gets it, with `before` in front."""
        return ProviderError(_CODES.get(self.status, grpc.StatusCode.ABORTED), f"{before}: {self}")


class Api:
    """One API server, as the user of the kubeconfig's current context."""

    def __init__(self, kubeconfig: str) -> None:
        """Read the kubeconfig (YAML text). Raises `unreachable` when it cannot be used."""
        try:
            config = KubeConfig.from_dict(yaml.safe_load(kubeconfig)).get()
            if config is None:
                raise ConfigError("no current context")
            self._client = client_adapter.Client(
                config,
                client_adapter.ConnectionParams(timeout=httpx2.Timeout(_SECONDS), trust_env=False),
            )
        except (ConfigError, KeyError, TypeError, AttributeError, OSError) as error:
            raise unreachable(f"failed to parse kubeconfig data - {error}") from None
        except (yaml.YAMLError, msgspec.ValidationError):
            # Their texts quote the file, which holds a private key.
            raise unreachable("failed to parse kubeconfig data - it is no kubeconfig") from None

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """Return the object, or None when there is none. Raises RefusedError."""
        try:
            return self._request("GET", _path(kind, namespace, name))
        except RefusedError as refused:
            if refused.status == 404:
                return None
            raise

    def apply(
        self, body: Object, *, manager: str, force: bool = False, dry_run: bool = False
    ) -> Object:
        """Apply `body` server-side under a field manager, and return the object.

        Raises RefusedError: 409 for a conflict with another manager, 422 for an object that is
        not there and that `body` alone does not make.
        """
        metadata = body["metadata"]
        parameters = {"fieldManager": manager, "force": json.dumps(force)}
        if dry_run:
            parameters["dryRun"] = "All"
        return self._request(
            "PATCH",
            _path(body["kind"], metadata["namespace"], metadata["name"]),
            params=parameters,
            content=json.dumps(body),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )

    def _request(self, method: str, path: str, **extra: Any) -> Object:
        try:
            response = self._client.request(method, path, **extra)
        except httpx2.HTTPError as error:
            raise unreachable(str(error) or type(error).__name__) from None
        answer = response.json() if "json" in response.headers.get("Content-Type", "") else {}
        if response.is_error:
            raise RefusedError(response.status_code, answer.get("message", response.reason_phrase))
        return dict(answer)


def unreachable(reason: str) -> ProviderError:
    """Return pulumi-kubernetes' refusal to work without an API server."""
    return ProviderError(
        grpc.StatusCode.UNAVAILABLE, f"configured Kubernetes cluster is unreachable: {reason}"
    )


def _path(kind: str, namespace: str, name: str) -> str:
    return f"apis/apps/v1/namespaces/{namespace}/{PLURALS[kind]}/{name}"
