"""The engine's part of the provider protocol, for tests: real gRPC to a plug-in in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from lab.provider.plugin import Plugin
from lab.provider.server import start
from lab.provider.values import Properties, decode, encode


class CheckFailedError(Exception):
    """Check found something; `reasons` are its lines."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass
class State:
    """What the engine's state file would hold of one resource."""

    token: str
    name: str
    id: str
    inputs: Properties
    outputs: Properties

    @property
    def urn(self) -> str:
        """Return the resource's URN."""
        return urn(self.token, self.name)


def urn(token: str, name: str) -> str:
    """Return a URN as the engine makes it."""
    return f"urn:pulumi:dev::project::{token}::{name}"


class Driver:
    """Calls a plug-in in the order in which the engine does."""

    def __init__(self, stub: Any) -> None:
        self.stub = stub

    def configure(self, **settings: Any) -> provider_pb2.ConfigureResponse:
        """Configure the provider."""
        request = provider_pb2.ConfigureRequest(args=encode(settings), acceptSecrets=True)
        answer: provider_pb2.ConfigureResponse = self.stub.Configure(request)
        return answer

    def check(
        self, token: str, news: Properties, olds: Properties | None = None, name: str = "r"
    ) -> Properties:
        """Check inputs; CheckFailedError when there is anything against them."""
        answer = self.stub.Check(
            provider_pb2.CheckRequest(
                urn=urn(token, name),
                olds=encode(olds or {}),
                news=encode(news),
                randomSeed=b"seed",
            )
        )
        if answer.failures:
            raise CheckFailedError([failure.reason for failure in answer.failures])
        return decode(answer.inputs)

    def create(self, token: str, news: Properties, name: str = "r") -> State:
        """Check and create."""
        inputs = self.check(token, news, name=name)
        answer = self.stub.Create(
            provider_pb2.CreateRequest(urn=urn(token, name), properties=encode(inputs))
        )
        return State(token, name, answer.id, inputs, decode(answer.properties))

    def preview_create(self, token: str, news: Properties, name: str = "r") -> Properties:
        """Check and preview the creation; returns the outputs."""
        inputs = self.check(token, news, name=name)
        answer = self.stub.Create(
            provider_pb2.CreateRequest(
                urn=urn(token, name), properties=encode(inputs), preview=True
            )
        )
        return decode(answer.properties)

    def diff(self, state: State, news: Properties) -> provider_pb2.DiffResponse:
        """Check and compare new inputs with the state."""
        inputs = self.check(state.token, news, state.inputs, state.name)
        answer: provider_pb2.DiffResponse = self.stub.Diff(
            provider_pb2.DiffRequest(
                id=state.id,
                urn=state.urn,
                olds=encode(state.outputs),
                news=encode(inputs),
                old_inputs=encode(state.inputs),
            )
        )
        return answer

    def update(self, state: State, news: Properties, *, preview: bool = False) -> State:
        """Check and update in place."""
        inputs = self.check(state.token, news, state.inputs, state.name)
        answer = self.stub.Update(
            provider_pb2.UpdateRequest(
                id=state.id,
                urn=state.urn,
                olds=encode(state.outputs),
                news=encode(inputs),
                old_inputs=encode(state.inputs),
                preview=preview,
            )
        )
        return State(state.token, state.name, state.id, inputs, decode(answer.properties))

    def read(self, state: State) -> State | None:
        """Refresh; None when the resource is gone."""
        return self._read(state.token, state.name, state.id, state.inputs, state.outputs)

    def import_(self, token: str, resource_id: str) -> State | None:
        """Read a resource that no state knows."""
        return self._read(token, "r", resource_id, {}, {})

    def delete(self, state: State) -> None:
        """Delete."""
        self.stub.Delete(
            provider_pb2.DeleteRequest(
                id=state.id,
                urn=state.urn,
                properties=encode(state.outputs),
                old_inputs=encode(state.inputs),
            )
        )

    def invoke(self, token: str, **arguments: Any) -> Properties:
        """Call a function."""
        answer = self.stub.Invoke(provider_pb2.InvokeRequest(tok=token, args=encode(arguments)))
        return decode(getattr(answer, "return"))

    def cancel(self) -> None:
        """Send what the engine sends at the end of every operation."""
        self.stub.Cancel(empty_pb2.Empty())

    def _read(
        self, token: str, name: str, resource_id: str, inputs: Properties, outputs: Properties
    ) -> State | None:
        request = provider_pb2.ReadRequest(id=resource_id, urn=urn(token, name))
        if inputs or outputs:
            request.inputs.CopyFrom(encode(inputs))
            request.properties.CopyFrom(encode(outputs))
        answer = self.stub.Read(request)
        if not answer.id:
            return None
        return State(token, name, answer.id, decode(answer.inputs), decode(answer.properties))


@contextmanager
def driving(plugin: Plugin) -> Iterator[Driver]:
    """Serve a plug-in and drive it."""
    server, port = start(plugin)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Driver(provider_pb2_grpc.ResourceProviderStub(channel))
    finally:
        server.stop(grace=None)


@dataclass(frozen=True)
class Refusal:
    """What a refused call said: gRPC's code and message, and the state it left, if any."""

    code: grpc.StatusCode
    message: str
    partial: provider_pb2.ErrorResourceInitFailed | None


@contextmanager
def refused() -> Iterator[list[Refusal]]:
    """Expect the call inside to be refused; the list holds the refusal afterwards."""
    found: list[Refusal] = []
    try:
        yield found
    except grpc.RpcError as error:
        found.append(_refusal(error))
        return
    raise AssertionError("the call was not refused")


def _refusal(error: Any) -> Refusal:
    partial = None
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            partial = provider_pb2.ErrorResourceInitFailed()
            assert status.details[0].Unpack(partial)
    return Refusal(error.code(), error.details(), partial)
