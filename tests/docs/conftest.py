"""What the tests of documents and scripts share: one converged stack."""

import pytest

from tests.docs.mesh import steady_mesh
from tests.engine.workspace import Workspace


@pytest.fixture(scope="session")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A converged stack, steady in a1, that no test changes: each takes a copy."""
    return steady_mesh(tmp_path_factory.mktemp("documents") / "steady")
