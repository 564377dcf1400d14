"""The protocol that every plug-in of the lab speaks, and how it is launched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from tests.lab import azure_inputs as inputs
from tests.lab.driver import Driver, refused

PLUGINS = {"lab.azure": "3.29.0", "lab.tls": "5.6.2"}


@pytest.mark.parametrize(("module", "version"), PLUGINS.items())
def test_a_launched_plugin_prints_its_port_answers_and_ends_on_sigint(
    module: str, version: str, tmp_path: Path
) -> None:
    """The launch contract: port first, the SDK's version, exit 0 on SIGINT, flags ignored."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, "127.0.0.1:1", "--logtostderr", "-v=9"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LAB_STATE": str(tmp_path)},
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = provider_pb2_grpc.ResourceProviderStub(channel)
            assert stub.GetPluginInfo(empty_pb2.Empty(), timeout=10).version == version
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=10)
    finally:
        process.kill()
    assert (process.returncode, output, errors) == (0, "", "")


def test_a_plugin_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """When the engine is killed, its plug-ins do not stay behind."""
    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', 'lab.azure', 'x'],"
        " stdout=subprocess.PIPE, stderr=subprocess.DEVNULL); p.stdout.readline(); print(p.pid)"
    )
    engine = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=30,
        env={**os.environ, "LAB_STATE": str(tmp_path)},
    )
    plugin = int(engine.stdout)
    for _ in range(200):
        try:
            os.kill(plugin, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.kill(plugin, signal.SIGKILL)
    pytest.fail("the plug-in was still running 10 seconds after its parent ended")


def test_without_a_state_directory_azure_says_what_to_set() -> None:
    """LAB_STATE missing is one clear line and exit code 1."""
    environment = {name: value for name, value in os.environ.items() if name != "LAB_STATE"}
    process = subprocess.run(
        [sys.executable, "-m", "lab.azure"], capture_output=True, text=True, env=environment
    )
    assert process.returncode == 1
    assert process.stderr.startswith("lab.azure: LAB_STATE is not set;")


def test_capabilities_are_those_of_the_real_azure_native(azure: Driver) -> None:
    """No Handshake, no acceptSecrets, preview and autonaming supported."""
    with refused() as handshake:
        azure.stub.Handshake(provider_pb2.ProviderHandshakeRequest())
    assert handshake[0].code is grpc.StatusCode.UNIMPLEMENTED
    answer = azure.configure()
    assert (answer.acceptSecrets, answer.supportsPreview) == (False, True)
    assert answer.supports_autonaming_configuration


def test_cancel_and_attach_are_answered_and_serving_goes_on(azure: Driver) -> None:
    """The engine sends Cancel at the end of every preview, also to attached plug-ins."""
    azure.stub.Attach(plugin_pb2.PluginAttach(address="127.0.0.1:1"))
    azure.cancel()
    assert azure.create(inputs.GROUP, inputs.group()).outputs["name"] == "rg"


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (
            lambda d: d.check("azure-native:network:VirtualNetwork", {}),
            "resource type 'azure-native:network:VirtualNetwork'",
        ),
        (
            lambda d: d.check("azure-native:containerservice:AgentPool", {}),
            "resource type 'azure-native:containerservice:AgentPool'",
        ),
        (
            lambda d: d.invoke("azure-native:keyvault:getKey"),
            "function 'azure-native:keyvault:getKey'",
        ),
        (lambda d: d.configure(metadataHost="x"), "provider setting 'metadataHost'"),
    ],
)
def test_what_is_not_modelled_is_refused_by_name(call: object, named: str, azure: Driver) -> None:
    """An unmodelled type, function or setting is an error that names it."""
    assert callable(call)
    with refused() as refusals:
        call(azure)
    assert f"the lab does not model the {named}" in refusals[0].message


def test_a_defect_of_the_lab_shows_no_value(azure: Driver) -> None:
    """An unexpected exception is reported as a defect, without its text: it may hold a key."""
    with refused() as refusals:
        azure.stub.Create(
            provider_pb2.CreateRequest(urn="urn:pulumi:dev::p::azure-native:keyvault:Secret::s")
        )
    assert refusals[0].code is grpc.StatusCode.INTERNAL
    assert refusals[0].message.startswith("a defect of the lab: KeyError at ")


def test_the_schema_files_are_what_the_installed_sdks_say() -> None:
    """After a change of SDK or of what is modelled, `python -m lab.schema_build` must be run."""
    from lab import schema_build

    for file, text in schema_build.files().items():
        assert file.read_text() == text, f"{file.name}: run python -m lab.schema_build"
