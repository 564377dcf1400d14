"""The control plane that the cluster tests share; each test has a namespace of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.plane import Plane


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "cluster: runs the real Kubernetes control plane")


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """Return the control plane."""
    started = Plane(tmp_path_factory.mktemp("plane"))
    yield started
    started.stop()


@pytest.fixture
def namespace(plane: Plane) -> Iterator[str]:
    """Return a new namespace; nothing runs in it afterwards."""
    name = plane.namespace()
    yield name
    plane.empty(name)
