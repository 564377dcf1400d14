"""Plug-ins to drive: azure-native on a cloud of the test's own, and tls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.azure.cloud import Cloud
from lab.azure.provider import AzureNative
from lab.tls.__main__ import plugin as tls_plugin
from tests.lab import azure_inputs as inputs
from tests.lab.driver import Driver, driving


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return the directory of an empty cloud."""
    return tmp_path / "state"


@pytest.fixture
def cloud(state: Path) -> Cloud:
    """Return the cloud itself, for its request log."""
    return Cloud(state)


@pytest.fixture
def azure(state: Path) -> Iterator[Driver]:
    """Return azure-native over an empty cloud."""
    with driving(AzureNative(state)) as driver:
        yield driver


@pytest.fixture
def vault(azure: Driver) -> Driver:
    """Return azure-native over a cloud with group `rg` and vault `kv-1`, the caller's in full."""
    azure.create(inputs.GROUP, inputs.group())
    azure.create(inputs.VAULT, inputs.vault())
    azure.create(
        inputs.POLICY, inputs.policy(inputs.CALLER, "get", "list", "set", "delete", "recover")
    )
    return azure


@pytest.fixture(scope="session")
def tls() -> Iterator[Driver]:
    """Return the tls plug-in."""
    with driving(tls_plugin()) as driver:
        yield driver
