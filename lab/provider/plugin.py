"""A resource plug-in: Pulumi's ResourceProvider service over a table of resources and functions.

It behaves as providers without `Handshake` do: capabilities come from Configure, DiffConfig knows
nothing, Cancel is answered and changes nothing (the engine sends it at the end of every preview
and update, also to a plug-in that it did not start). Facts: pulumi.md sections 1 and 2.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Protocol, TypeVar

import grpc
from google.protobuf import any_pb2, empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from lab.provider.differences import Change, Kind
from lab.provider.errors import PartialFailureError, ProviderError
from lab.provider.values import Properties, decode, encode, secret_names

Answer = TypeVar("Answer")

_KINDS: Final = {
    (Kind.ADD, False): provider_pb2.PropertyDiff.ADD,
    (Kind.ADD, True): provider_pb2.PropertyDiff.ADD_REPLACE,
    (Kind.DELETE, False): provider_pb2.PropertyDiff.DELETE,
    (Kind.DELETE, True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    (Kind.UPDATE, False): provider_pb2.PropertyDiff.UPDATE,
    (Kind.UPDATE, True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}


@dataclass(frozen=True, slots=True)
class Naming:
    """What Check may use to name a resource that the program left unnamed."""

    name: str
    seed: bytes
    mode: str = ""
    """`` (nothing configured), `propose`, `enforce` or `disable`."""
    proposed: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """The inputs with their defaults, and one line for each thing wrong with them."""

    inputs: Properties
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Difference:
    """What an update would change; `delete_first` matters only when something replaces."""

    changes: list[Change]
    delete_first: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A resource after it was created: its id and its outputs."""

    id: str
    outputs: Properties


@dataclass(frozen=True, slots=True)
class Live:
    """A resource as Read finds it."""

    id: str
    inputs: Properties
    outputs: Properties


class Resource(Protocol):
    """A resource type. `preview` calls must change nothing and may answer with UNKNOWN."""

    @property
    def secret_outputs(self) -> Collection[str]:
        """Outputs to be marked secret, when the plug-in accepts secrets."""

    def check(self, naming: Naming, olds: Properties, news: Properties) -> Checked:
        """Fill in defaults and say what is wrong."""

    def diff(
        self, resource_id: str, old_inputs: Properties, old_state: Properties, news: Properties
    ) -> Difference:
        """Compare the old inputs with the new ones."""

    def create(self, inputs: Properties, preview: bool) -> Written:
        """Create the resource."""

    def read(self, resource_id: str, inputs: Properties, state: Properties) -> Live | None:
        """Find the resource (None: gone). Without inputs, it is being imported."""

    def update(
        self, resource_id: str, state: Properties, news: Properties, preview: bool
    ) -> Properties:
        """Update the resource in place and return its outputs."""

    def delete(self, resource_id: str, inputs: Properties, state: Properties) -> None:
        """Delete the resource; one that is gone already is no error."""


Function = Callable[[Properties], Properties]
"""A function of the provider (`invoke`): arguments to result."""


class Plugin(provider_pb2_grpc.ResourceProviderServicer):
    """A plug-in named `name` that answers as `version`."""

    def __init__(
        self,
        name: str,
        version: str,
        resources: Mapping[str, Resource],
        functions: Mapping[str, Function],
        *,
        accept_secrets: bool,
    ) -> None:
        self.name = name
        self.version = version
        self.resources = dict(resources)
        self.functions = dict(functions)
        self.accept_secrets = accept_secrets

    def configure(self, settings: Properties) -> None:
        """Take the provider's configuration; refuse what is not understood."""
        for name in settings:
            if name not in ("version", "pluginDownloadURL"):
                raise ProviderError(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"{self.name}: the lab does not model the provider setting '{name}'",
                )

    def translate(self, error: Exception) -> ProviderError | None:
        """Return the refusal that an exception of the resources stands for, if it is one."""
        return error if isinstance(error, ProviderError) else None

    # -- the protocol ------------------------------------------------------------------------

    def Attach(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        """Accept being attached to (PULUMI_DEBUG_PROVIDERS); any error here is fatal."""
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        """Answer, and go on serving."""
        return empty_pb2.Empty()

    def GetPluginInfo(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> plugin_pb2.PluginInfo:
        """Answer with the version."""
        return plugin_pb2.PluginInfo(version=self.version)

    def CheckConfig(  # noqa: N802
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        """Take the configuration as it is; Configure judges it."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(  # noqa: N802
        self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        """Know nothing about changes of configuration."""
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_UNKNOWN)

    def Configure(  # noqa: N802
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        """Take the configuration and state what the plug-in supports."""

        def action() -> provider_pb2.ConfigureResponse:
            self.configure(decode(request.args))
            return provider_pb2.ConfigureResponse(
                acceptSecrets=self.accept_secrets,
                supportsPreview=True,
                acceptResources=False,
                supports_autonaming_configuration=True,
            )

        return self._answer(context, action)

    def Check(  # noqa: N802
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        """Check the inputs of a resource."""

        def action() -> provider_pb2.CheckResponse:
            resource = self._resource(request.urn)
            checked = resource.check(_naming(request), decode(request.olds), decode(request.news))
            secret = secret_names(request.news) if self.accept_secrets else ()
            return provider_pb2.CheckResponse(
                inputs=encode(checked.inputs, secret),
                failures=[provider_pb2.CheckFailure(reason=reason) for reason in checked.failures],
            )

        return self._answer(context, action)

    def Diff(  # noqa: N802
        self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        """Compare old and new inputs."""

        def action() -> provider_pb2.DiffResponse:
            difference = self._resource(request.urn).diff(
                request.id, decode(request.old_inputs), decode(request.olds), decode(request.news)
            )
            found = difference.changes
            some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
            return provider_pb2.DiffResponse(
                changes=some if found else none,
                diffs=[change.path for change in found],
                replaces=[change.path for change in found if change.replaces],
                deleteBeforeReplace=difference.delete_first
                and any(change.replaces for change in found),
                hasDetailedDiff=True,
                detailedDiff={
                    change.path: provider_pb2.PropertyDiff(
                        kind=_KINDS[change.kind, change.replaces], inputDiff=True
                    )
                    for change in found
                },
            )

        return self._answer(context, action)

    def Create(  # noqa: N802
        self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CreateResponse:
        """Create a resource, or preview that."""

        def action() -> provider_pb2.CreateResponse:
            resource = self._resource(request.urn)
            written = resource.create(decode(request.properties), request.preview)
            return provider_pb2.CreateResponse(
                id=written.id, properties=self._outputs(resource, written.outputs)
            )

        return self._answer(context, action)

    def Read(  # noqa: N802
        self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ReadResponse:
        """Read a resource for refresh, import or `.get`."""

        def action() -> provider_pb2.ReadResponse:
            resource = self._resource(request.urn)
            live = resource.read(request.id, decode(request.inputs), decode(request.properties))
            if live is None:
                return provider_pb2.ReadResponse()
            return provider_pb2.ReadResponse(
                id=live.id,
                inputs=encode(live.inputs),
                properties=self._outputs(resource, live.outputs),
            )

        return self._answer(context, action)

    def Update(  # noqa: N802
        self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.UpdateResponse:
        """Update a resource in place, or preview that."""

        def action() -> provider_pb2.UpdateResponse:
            resource = self._resource(request.urn)
            outputs = resource.update(
                request.id, decode(request.olds), decode(request.news), request.preview
            )
            return provider_pb2.UpdateResponse(properties=self._outputs(resource, outputs))

        return self._answer(context, action)

    def Delete(  # noqa: N802
        self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        """Delete a resource."""

        def action() -> empty_pb2.Empty:
            self._resource(request.urn).delete(
                request.id, decode(request.old_inputs), decode(request.properties)
            )
            return empty_pb2.Empty()

        return self._answer(context, action)

    def Invoke(  # noqa: N802
        self, request: provider_pb2.InvokeRequest, context: grpc.ServicerContext
    ) -> provider_pb2.InvokeResponse:
        """Call a function of the provider."""

        def action() -> provider_pb2.InvokeResponse:
            function = self.functions.get(request.tok)
            if function is None:
                raise self._unmodelled("function", request.tok)
            answer: Properties = function(decode(request.args))
            response = provider_pb2.InvokeResponse()
            getattr(response, "return").CopyFrom(encode(answer))  # a keyword in Python
            return response

        return self._answer(context, action)

    # -- its parts ---------------------------------------------------------------------------

    def _resource(self, urn: str) -> Resource:
        token = urn.split("::")[2].rsplit("$", 1)[-1]
        resource = self.resources.get(token)
        if resource is None:
            raise self._unmodelled("resource type", token)
        return resource

    def _unmodelled(self, what: str, token: str) -> ProviderError:
        return ProviderError(
            grpc.StatusCode.UNIMPLEMENTED,
            f"{self.name}: the lab does not model the {what} '{token}'",
        )

    def _outputs(self, resource: Resource, outputs: Properties) -> Any:
        return encode(outputs, resource.secret_outputs if self.accept_secrets else ())

    def _answer(self, context: grpc.ServicerContext, action: Callable[[], Answer]) -> Answer:
        try:
            return action()
        except Exception as error:  # noqa: BLE001 - the one place where exceptions become gRPC's
            refusal = self.translate(error)
            if refusal is None:
                refusal = _defect(error)
            _abort(context, refusal)


def _naming(request: provider_pb2.CheckRequest) -> Naming:
    name = request.urn.split("::", 3)[3]
    if not request.HasField("autonaming"):
        return Naming(name, request.randomSeed)
    options = provider_pb2.CheckRequest.AutonamingOptions
    mode = {options.PROPOSE: "propose", options.ENFORCE: "enforce", options.DISABLE: "disable"}
    asked = request.autonaming
    return Naming(name, request.randomSeed, mode[asked.mode], asked.proposed_name)


def _defect(error: Exception) -> ProviderError:
    # Neither the message nor the locals of an unexpected exception are shown: they may hold a key.
    trace = traceback.extract_tb(error.__traceback__)
    print(*traceback.format_list(trace), type(error).__name__, file=sys.stderr)
    where = f"{trace[-1].filename}:{trace[-1].lineno}" if trace else "nowhere"
    return ProviderError(
        grpc.StatusCode.INTERNAL, f"a defect of the lab: {type(error).__name__} at {where}"
    )


def _abort(context: grpc.ServicerContext, refusal: ProviderError) -> NoReturn:
    if isinstance(refusal, PartialFailureError):
        detail = any_pb2.Any()
        detail.Pack(
            provider_pb2.ErrorResourceInitFailed(
                id=refusal.resource_id,
                properties=encode(refusal.outputs),
                reasons=refusal.reasons,
            ),
            type_url_prefix="type.googleapis.com/",
        )
        status = status_pb2.Status(
            code=refusal.code.value[0], message=str(refusal), details=[detail]
        )
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(refusal.code, str(refusal))
    raise AssertionError("unreachable: abort raises")
