"""What the mesh tests share: a local cloud, and the marker that selects them.

They run the real programs (lab/programs.py builds them once) and share two cores with nobody
else: `pytest tests/mesh`, or `pytest -m "not mesh"` for everything but them.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mesh.traffic import Phase
from tests.mesh.local_cloud import LocalCloud

_TALLY = pytest.StashKey[list[Phase]]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "mesh: runs the real control plane, istiod and Envoys")
    config.stash[_TALLY] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show what was counted: how many handshakes, how many failed, why."""
    for counted in config.stash[_TALLY]:
        terminalreporter.write_line(str(counted))


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> list[Phase]:
    """Return the list of phases that are shown at the end."""
    return pytestconfig.stash[_TALLY]


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalCloud]:
    """Return a local cloud with cluster and vault, but without access and without a mesh."""
    # Not pytest's own folder: Envoy's sockets need a short path, and it is not kept.
    state = Path(tempfile.mkdtemp(prefix="mesh-"))
    yield LocalCloud(state)
    shutil.rmtree(state)
