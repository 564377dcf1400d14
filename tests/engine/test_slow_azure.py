"""Azure that takes its time: slow writes, and access that takes effect late."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.azure import data_plane, faults
from tests.engine import stacks
from tests.engine.conftest import converge
from tests.engine.workspace import Workspace
from tests.material import Authority


def test_slow_writes_and_late_access_do_not_change_the_outcome(
    authorities: dict[str, Authority], tmp_path: Path
) -> None:
    """The secrets are written one after the other all the same, and the mesh is enabled.

    Whether the granted access has taken effect is not to be seen in ARM: istiod waits for it in
    Init, and reads the vault once it has.
    """
    stack = Workspace(tmp_path / "stack")
    stacks.write_certificates(authorities, stack.directory)
    stack.configure(stacks.offline(keyVault={"accessModel": "rbac"}))
    stacks.set_keys(stack, authorities)
    faults.latency(stack.state, "*/write", 0.3)
    faults.delay_access(stack.state, None)

    converged = converge(stack)

    assert [write for write in converged.writes if write.startswith("secrets/")] == [
        "secrets/root-cert",
        "secrets/ca-key",
        "secrets/cert-chain",
        "secrets/ca-cert",
    ]
    assert stack.outputs()["mesh"] == "enabled"
    [cluster] = data_plane.mesh(stack.state)
    assert cluster.plugin is not None
    assert cluster.identity is not None
    vault = cluster.plugin.vault or ""
    with pytest.raises(data_plane.Forbidden):
        data_plane.read_secret(stack.state, vault=vault, name="ca-cert", principal=cluster.identity)
    faults.release(stack.state)
    read = data_plane.read_secret(
        stack.state, vault=vault, name="ca-cert", principal=cluster.identity
    )
    assert read == authorities["a1"].pem
