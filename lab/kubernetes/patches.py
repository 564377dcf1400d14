"""Patch resources: some fields of an object that somebody else owns, by server-side apply.

Kept from pulumi-kubernetes: a preview of a create asks nobody; one of an update is a dry run,
unless a value is unknown or the API server away; the field manager comes from the annotation
pulumi.com/patchFieldManager, else from the state, else it is made up; conflicts are errors unless
pulumi.com/patchForce says otherwise; a rollout is waited for, and one that does not end leaves the
object in the state; a delete gives the fields up, and so takes them away.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import grpc

from lab.kubernetes import rollouts
from lab.kubernetes.api import PLURALS, Api, Object, RefusedError
from lab.provider import differences
from lab.provider.errors import PartialFailureError, ProviderError
from lab.provider.plugin import Checked, Difference, Live, Naming, Written
from lab.provider.values import Properties, has_unknown

TOKENS: Final = {f"kubernetes:apps/v1:{kind}Patch": kind for kind in PLURALS}
"""Resource types to the kinds that they patch."""

MANAGER_ANNOTATION: Final = "pulumi.com/patchFieldManager"
FORCE_ANNOTATION: Final = "pulumi.com/patchForce"
SKIP_AWAIT_ANNOTATION: Final = "pulumi.com/skipAwait"

DEFAULT_TIMEOUT_SECONDS: Final = 600.0
_POLL_SECONDS: Final = 0.1

_INPUTS, _VERSION, _MANAGER = "__inputs", "__initialApiVersion", "__fieldManager"
"""What the state holds beside the live object."""


class Patch:
    """`kubernetes:apps/v1:KINDPatch` for one kind."""

    secret_outputs: tuple[str, ...] = ()

    def __init__(
        self, kind: str, api: Callable[[], Api], timeout: Callable[[], float | None]
    ) -> None:
        """`api` raises while there is none; `timeout` is that of the request, in seconds."""
        self._kind = kind
        self._api = api
        self._timeout = timeout

    def check(self, naming: Naming, olds: Properties, news: Properties) -> Checked:
        """Require a name; fields are left to the API server, which knows them."""
        name = (news.get("metadata") or {}).get("name")
        if not name:
            raise ProviderError(
                grpc.StatusCode.INVALID_ARGUMENT,
                "patch resources require the `.metadata.name` field to be set",
            )
        metadata = {"namespace": "default", **news["metadata"]}
        return Checked({**news, "metadata": metadata})

    def diff(
        self, resource_id: str, old_inputs: Properties, old_state: Properties, news: Properties
    ) -> Difference:
        """Compare what was live, pruned to the old inputs, with the new inputs."""
        live = _pruned(old_state, old_state.get(_INPUTS, old_inputs))
        replaces = ("metadata.name", "metadata.namespace")
        return Difference(differences.changes(live, news, replaces=replaces))

    def create(self, inputs: Properties, preview: bool) -> Written:
        """Apply; the object itself must be there, or the API server takes the patch for it."""
        if preview:
            return Written("", inputs)
        manager = _annotation(inputs, MANAGER_ANNOTATION)
        manager = manager or f"pulumi-kubernetes-{secrets.token_hex(4)}"
        live = self._apply(inputs, manager, f"resource {_id(inputs)!r} was not successfully created"
                           " by the Kubernetes API server")  # fmt: skip
        return Written(_id(inputs), self._awaited(inputs, live, manager))

    def read(self, resource_id: str, inputs: Properties, state: Properties) -> Live | None:
        """GET; the inputs are the live values of the fields that they hold."""
        if not inputs:
            raise ProviderError(
                grpc.StatusCode.UNIMPLEMENTED,
                "kubernetes: the lab does not model the import of Patch resources",
            )
        namespace, _, name = resource_id.partition("/")
        try:
            live = self._api().get(self._kind, namespace, name)
        except RefusedError as refused:
            raise refused.in_words(f"reading {resource_id!r} failed") from None
        if live is None:
            return None
        pruned = _pruned(live, inputs)
        return Live(resource_id, pruned, _state(pruned, live, state[_MANAGER]))

    def update(
        self, resource_id: str, state: Properties, news: Properties, preview: bool
    ) -> Properties:
        """Apply; in a preview as a dry run, where the API server can be asked."""
        before, manager = state[_MANAGER], _annotation(news, MANAGER_ANNOTATION) or state[_MANAGER]
        if preview:
            if has_unknown(news):
                return news
            try:
                api = self._api()
            except ProviderError:
                return news
            try:
                live = api.apply(news, manager=manager, force=_forced(news), dry_run=True)
            except RefusedError as refused:
                if refused.status == 403:
                    return news
                raise refused.in_words(f"update of resource {resource_id!r} failed") from None
            return _state(news, live, manager)
        live = self._apply(news, manager, f"update of resource {resource_id!r} failed")
        outputs = self._awaited(news, live, manager)
        if before != manager:
            self._relinquish(news, before)
        return outputs

    def delete(self, resource_id: str, inputs: Properties, state: Properties) -> None:
        """Give the fields up: those that nobody else owns disappear."""
        self._relinquish(inputs, state[_MANAGER])

    def _apply(self, inputs: Properties, manager: str, failed: str) -> Object:
        try:
            return self._api().apply(inputs, manager=manager, force=_forced(inputs))
        except RefusedError as refused:
            if refused.status == 409:
                failed += (
                    ": server-side apply field conflict detected. The resource managed by field"
                    f' manager "{manager}" had an apply conflict'
                )
            raise refused.in_words(failed) from None

    def _relinquish(self, inputs: Properties, manager: str) -> None:
        metadata = {name: inputs["metadata"][name] for name in ("name", "namespace")}
        identity = {"apiVersion": "apps/v1", "kind": self._kind, "metadata": metadata}
        api = self._api()
        try:
            # Applied to an object that is gone, the identity alone would be an error.
            if api.get(self._kind, metadata["namespace"], metadata["name"]) is not None:
                api.apply(identity, manager=manager)
        except RefusedError as refused:
            raise refused.in_words(f"deletion of {_id(inputs)!r} failed") from None

    def _awaited(self, inputs: Properties, live: Object, manager: str) -> Properties:
        """Return the state once the rollout is done; a partial failure when it is not in time."""
        if _annotation(inputs, SKIP_AWAIT_ANNOTATION) == "true":
            return _state(inputs, live, manager)
        deadline = time.monotonic() + (self._timeout() or DEFAULT_TIMEOUT_SECONDS)
        missing = rollouts.unfinished(live)
        while True:
            try:
                found = self._api().get(
                    self._kind, inputs["metadata"]["namespace"], inputs["metadata"]["name"]
                )
                live = found or live
                missing = rollouts.unfinished(live) if found else ["it is gone"]
            except (RefusedError, ProviderError) as error:
                # The informers of the real provider go on trying, too.
                missing = [str(error)]
            if not missing:
                return _state(inputs, live, manager)
            if time.monotonic() > deadline:
                reason = (
                    f"the Kubernetes API server reported that {_id(inputs)!r} failed to fully"
                    f" initialize or become live: '{live['metadata']['name']}' timed out waiting to"
                    f" be Ready; {'; '.join(missing)}"
                )
                raise PartialFailureError(_id(inputs), _state(inputs, live, manager), [reason])
            time.sleep(_POLL_SECONDS)


def _id(inputs: Properties) -> str:
    return f"{inputs['metadata']['namespace']}/{inputs['metadata']['name']}"


def _annotation(inputs: Properties, name: str) -> str | None:
    value = (inputs["metadata"].get("annotations") or {}).get(name)
    return str(value) if value else None


def _forced(inputs: Properties) -> bool:
    return _annotation(inputs, FORCE_ANNOTATION) == "true"


def _state(inputs: Properties, live: Object, manager: str) -> Properties:
    return {**live, _INPUTS: inputs, _VERSION: "apps/v1", _MANAGER: manager}


def _pruned(live: Any, shape: Any) -> Any:
    """Return the part of a live value that has the shape of some inputs."""
    if isinstance(live, dict) and isinstance(shape, dict):
        return {name: _pruned(live[name], shape[name]) for name in shape if name in live}
    return live
