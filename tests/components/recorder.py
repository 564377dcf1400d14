"""Runs a Pulumi program against mocks and keeps every request as it goes over the wire.

Plain mocks show a resource's inputs only. What makes this program safe is in the rest of the
request (dependencies, protect, ignoreChanges, deletedWith, hooks, secretness), so all of it is
kept. What the engine does with it and MockMonitor does not is done here, as far as it matters:
`additionalSecretOutputs` make outputs secret, a Stash honours `ignoreChanges` and runs its
`before_update` hooks through the callback that the program registered, a resource that `--target`
leaves out has no id and no outputs.
"""

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import grpc
import pulumi
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime import configure, mocks, rpc, run_in_stack, set_all_config
from pulumi.runtime.proto import callback_pb2, callback_pb2_grpc, resource_pb2

ORGANIZATION, PROJECT, STACK = "organization", "aks-istio-ca", "test"
STACK_TYPE = "pulumi:pulumi:Stack"
STASH = "pulumi:index:Stash"
THREADS = 8

SIGNATURE = rpc._special_sig_key
SECRET_SIGNATURE = rpc._special_secret_sig


@dataclass(frozen=True)
class Secret:
    """A value that the wire carries as secret; no failing assertion prints it."""

    value: Any = field(repr=False)


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()
"""A value that is not known before an `up`."""


def decoded(value: Any) -> Any:
    """A value of the wire: secrets as Secret, unknown values as UNKNOWN, whole numbers as int."""
    if isinstance(value, struct_pb2.Struct):
        return decoded(json_format.MessageToDict(value))
    if value == rpc.UNKNOWN:
        return UNKNOWN
    if isinstance(value, Mapping):
        if value.get(SIGNATURE) == SECRET_SIGNATURE:
            return Secret(decoded(value["value"]))
        return {key: decoded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [decoded(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


@dataclass(frozen=True)
class Request:
    """One RegisterResource request."""

    urn: str
    wire: resource_pb2.RegisterResourceRequest = field(repr=False)
    inputs: dict[str, Any]

    @property
    def type(self) -> str:
        """The type token."""
        return str(self.wire.type)

    @property
    def name(self) -> str:
        """The logical name."""
        return str(self.wire.name)

    @property
    def options(self) -> dict[str, Any]:
        """The resource options that are not at their default, as the wire spells them."""
        wire = self.wire
        found = {
            "protect": wire.protect,
            "ignoreChanges": [*wire.ignoreChanges],
            "deletedWith": wire.deletedWith,
            "retainOnDelete": wire.retainOnDelete,
            "deleteBeforeReplace": wire.deleteBeforeReplace,
            "replaceOnChanges": [*wire.replaceOnChanges],
            "importId": wire.importId,
            "hooks": json_format.MessageToDict(wire.hooks),
        }
        return {name: value for name, value in found.items() if value}

    def depends_on(self, other: "Request") -> bool:
        """Whether the engine must have finished `other` first."""
        return other.urn in self.wire.dependencies

    def made_of(self, name: str) -> list[str]:
        """The names of the resources whose outputs one input property was made of, sorted."""
        urns = self.wire.propertyDependencies[name].urns
        return sorted(urn.rpartition("::")[2] for urn in urns)


@dataclass
class Run:
    """What a program asked of the engine, and how it ended."""

    requests: list[Request] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    """The names of the resources that were read: stack references."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """The stack's outputs, decoded."""
    said: list[str] = field(default_factory=list)
    """What the program logged, with its severity: `info: ...`."""
    hooks: dict[str, resource_pb2.RegisterResourceHookRequest] = field(default_factory=dict)
    """The resource hooks that the program registered."""
    completed: list[str] = field(default_factory=list)
    """The URNs of the components that registered their outputs."""
    stash: Any = None
    """What the Stash holds after the run."""
    error: BaseException | None = None

    def of(self, type_: str) -> dict[str, Request]:
        """The requests for that type by name, in the order in which they were made."""
        return {request.name: request for request in self.requests if request.type == type_}

    def one(self, type_: str, name: str) -> Request:
        """The request for one resource."""
        return self.of(type_)[name]

    def by_urn(self, urn: str) -> Request:
        """The request for the resource with that URN."""
        [found] = [request for request in self.requests if request.urn == urn]
        return found


class ProviderError(grpc.RpcError):
    """What a provider answers instead of a result; raised by the mocks."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def code(self) -> grpc.StatusCode:
        """The status that azure-native gives nearly all of its errors."""
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        """The message."""
        return self.message


class HookError(Exception):
    """A `before_update` hook refused the step, as the engine reports it."""


class Recorder(mocks.MockMonitor):
    """The engine's resource monitor: records, and answers with what the mocks make."""

    def __init__(self, cloud: mocks.Mocks, run: Run, left_out: Collection[str]) -> None:
        super().__init__(cloud)
        self.run = run
        self.left_out = left_out
        self._lock = threading.Lock()

    def RegisterResource(  # noqa: N802 - the RPC's name
        self, request: resource_pb2.RegisterResourceRequest
    ) -> resource_pb2.RegisterResourceResponse:
        """Keeps the request; see the module for what is done beyond the mocks."""
        urn: str = self.make_urn(request.parent, request.type, request.name)
        if request.type == STACK_TYPE:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        with self._lock:
            self.run.requests.append(Request(urn, request, decoded(request.object)))
        if request.custom and request.name in self.left_out:
            if request.type == STASH and self.run.stash is not None:
                return self._held(urn, request.name, self.run.stash)
            return resource_pb2.RegisterResourceResponse(urn=urn, unknown=True)
        if request.type == STASH:
            return self._stash(urn, request)
        plain = _readable(request)
        response: resource_pb2.RegisterResourceResponse = super().RegisterResource(plain)  # type: ignore[no-untyped-call]
        for name in request.additionalSecretOutputs:
            if name in response.object.fields:
                _make_secret(response.object.fields[name])
        return response

    def RegisterResourceHook(  # noqa: N802 - the RPC's name
        self, request: resource_pb2.RegisterResourceHookRequest
    ) -> empty_pb2.Empty:
        """Keeps the callback."""
        self.run.hooks[request.name] = request
        return empty_pb2.Empty()

    def ReadResource(  # noqa: N802 - the RPC's name
        self, request: resource_pb2.ReadResourceRequest
    ) -> resource_pb2.ReadResourceResponse:
        """Keeps the name."""
        with self._lock:
            self.run.reads.append(request.name)
        response: resource_pb2.ReadResourceResponse = super().ReadResource(request)  # type: ignore[no-untyped-call]
        return response

    def RegisterResourceOutputs(  # noqa: N802 - the RPC's name
        self, request: resource_pb2.RegisterResourceOutputsRequest
    ) -> empty_pb2.Empty:
        """Keeps the outputs of the stack, and which components are complete."""
        self.run.completed.append(request.urn)
        if f"::{STACK_TYPE}::" in request.urn:
            self.run.outputs = decoded(request.outputs)
        return empty_pb2.Empty()

    def _stash(
        self, urn: str, request: resource_pb2.RegisterResourceRequest
    ) -> resource_pb2.RegisterResourceResponse:
        """The engine's builtin: `input` is the current value, hooks run before it changes."""
        before, after = self.run.stash, decoded(request.object)["input"]
        if before is not None and "input" in request.ignoreChanges:
            after = before
        if before is not None and after != before:
            self._run_hooks(urn, request, before, after)
        if not pulumi.runtime.is_dry_run():
            self.run.stash = after
        return self._held(urn, request.name, after)

    def _held(self, urn: str, name: str, value: Any) -> resource_pb2.RegisterResourceResponse:
        held = struct_pb2.Struct()
        held.update({"input": _encoded(value)})
        return resource_pb2.RegisterResourceResponse(urn=urn, id=name, object=held)

    def _run_hooks(
        self,
        urn: str,
        request: resource_pb2.RegisterResourceRequest,
        before: Any,
        after: Any,
    ) -> None:
        asked = resource_pb2.ResourceHookRequest(urn=urn, name=request.name, type=request.type)
        asked.old_inputs.update({"input": before})
        asked.new_inputs.update({"input": after})
        for name in request.hooks.before_update:
            hook = self.run.hooks[name]
            if pulumi.runtime.is_dry_run() and not hook.on_dry_run:
                continue
            with grpc.insecure_channel(hook.callback.target) as channel:
                answer = callback_pb2_grpc.CallbacksStub(channel).Invoke(
                    callback_pb2.CallbackInvokeRequest(
                        token=hook.callback.token, request=asked.SerializeToString()
                    )
                )
            error = resource_pb2.ResourceHookResponse.FromString(answer.response).error
            if error:
                raise HookError(f'before hook "{name}" failed: {error}')


class _Engine(mocks.MockEngine):
    """Keeps what the program logs."""

    def __init__(self, run: Run) -> None:
        super().__init__(None)
        self.run = run

    def Log(self, request: Any) -> None:  # noqa: N802 - the RPC's name
        """Keeps the message."""
        severity = ("debug", "info", "warning", "error")[request.severity]
        if severity != "debug":
            self.run.said.append(f"{severity}: {request.message}")


def deploy(
    program: Callable[[], object],
    cloud: mocks.Mocks,
    *,
    config: Mapping[str, str] | None = None,
    preview: bool = False,
    stash: Any = None,
    left_out: Collection[str] = (),
) -> Run:
    """Runs a program as `pulumi up` or `pulumi preview` would; what it raises is in the result.

    `stash` is what the Stash holds in the state, `left_out` names the resources that do not exist
    yet and that `--target` leaves out.
    """
    run = Run(stash=stash)
    recorder = Recorder(cloud, run, left_out)
    contextvars.copy_context().run(_deploy, program, recorder, dict(config or {}), preview)
    return run


def _deploy(
    program: Callable[[], object], recorder: Recorder, config: dict[str, str], preview: bool
) -> None:
    set_all_config(config, [key for key in config if key == f"{PROJECT}:issuerKeys"])
    information = recorder.GetDeploymentInfo(empty_pb2.Empty())  # type: ignore[no-untyped-call]
    configure(
        mocks.MockSettings(  # type: ignore[no-untyped-call]
            monitor=recorder,
            monitor_features={*information.supportedFeatures},
            engine=_Engine(recorder.run),
            organization=ORGANIZATION,
            project=PROJECT,
            stack=STACK,
            dry_run=preview,
            callbacks=None,
            outputs=set(),
            lock=threading.Lock(),
        )
    )

    def start() -> None:
        program()

    # What children inherit of their parent's aliases: azure-native gives every resource an alias
    # for each API version there ever was, and to spell them all takes half of the time.
    no_inheritance = mock.patch.object(pulumi.resource, "collapse_alias_to_urn", return_value=None)
    with _event_loop() as loop, no_inheritance:
        try:
            loop.run_until_complete(run_in_stack(start))
        except Exception as error:  # noqa: BLE001 - it is the result
            recorder.run.error = error


@contextlib.contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop of its own. What a failed program leaves unfinished is ended without a word, as
    Pulumi's own entry point does.

    For good, as there: what is left is told of when it is collected, which may be at any time, and
    Python 3.11 takes it amiss when that is within `ast.parse`.
    """
    loop = asyncio.new_event_loop()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    pool = ThreadPoolExecutor(THREADS)
    loop.set_default_executor(pool)
    try:
        asyncio.set_event_loop(loop)
        yield loop
        unfinished = asyncio.all_tasks(loop)
        for task in unfinished:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*unfinished, return_exceptions=True))
    finally:
        pool.shutdown()
        loop.close()
        asyncio.set_event_loop(None)


def _readable(
    request: resource_pb2.RegisterResourceRequest,
) -> resource_pb2.RegisterResourceRequest:
    """The request as a provider that does not accept secrets sees it."""
    readable = resource_pb2.RegisterResourceRequest()
    readable.CopyFrom(request)
    readable.object.Clear()
    json_format.ParseDict(_plain(json_format.MessageToDict(request.object)), readable.object)
    return readable


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.get(SIGNATURE) == SECRET_SIGNATURE:
            return _plain(value["value"])
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _encoded(value: Any) -> Any:
    """A decoded value in the form in which the wire carries what is not known."""
    if value is UNKNOWN:
        return rpc.UNKNOWN
    if isinstance(value, Mapping):
        return {key: _encoded(inner) for key, inner in value.items()}
    return [_encoded(inner) for inner in value] if isinstance(value, list) else value


def _make_secret(value: struct_pb2.Value) -> None:
    wrapped = struct_pb2.Value()
    wrapped.struct_value.fields[SIGNATURE].string_value = SECRET_SIGNATURE
    wrapped.struct_value.fields["value"].CopyFrom(value)
    value.CopyFrom(wrapped)
