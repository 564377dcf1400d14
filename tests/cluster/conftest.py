"""The control plane that the cluster tests share; each test has a namespace of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import engine
from tests.cluster import stack
from tests.cluster.plane import Plane
from tests.cluster.stack import Meshed
from tests.engine import stacks
from tests.engine.workspace import Workspace


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


@pytest.fixture(scope="session")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a stack in `steady a1` that nobody may change; copy it."""
    engine.prepare()
    directory = tmp_path_factory.mktemp("steady") / "stack"
    return stack.converged(directory, stacks.make_authorities())


@pytest.fixture
def meshed(plane: Plane, namespace: str, steady: Workspace, tmp_path: Path) -> Iterator[Meshed]:
    """Return a copy of it, with two istiods and a Deployment `web` of one meshed pod."""
    with stack.meshed(steady.copy(tmp_path / "stack"), plane, namespace) as made:
        yield made
