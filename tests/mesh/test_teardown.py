"""The local cluster leaves nothing behind, however it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab import layout
from lab.mesh import processes
from lab.mesh.mesh import Mesh
from tests.mesh import authorities, sockets
from tests.mesh.local_cloud import LocalCloud

pytestmark = pytest.mark.mesh


@pytest.fixture(scope="module", autouse=True)
def _converged(cloud: LocalCloud) -> None:
    root = authorities.root("A")
    cloud.write(authorities.texts([root], authorities.issuer("a1", root)))
    cloud.grant()
    cloud.enable_mesh()


def test_leaving_the_block_ends_every_process_and_frees_every_port(cloud: LocalCloud) -> None:
    """After a `with Mesh(...)` no process lives and nobody listens in the cluster's addresses."""
    with Mesh(cloud.state, pods=1) as mesh:
        mesh.wait_until_ready()
        programs = set(processes.living(mesh.run))
        block = _block(cloud.state)
        assert sockets.listening_in(*block)
    assert {"etcd", "kube-apiserver", "kube-controller-manager"} < programs
    assert processes.living(mesh.run) == {}
    assert sockets.listening_in(*block) == []


def test_the_cluster_keeps_its_data_over_a_restart(cloud: LocalCloud) -> None:
    """The same pods are there after down and up, as after the stop of a real cluster."""
    names = []
    for _ in range(2):
        with Mesh(cloud.state, pods=1) as mesh:
            mesh.wait_until_ready()
            names.append({each.name for each in mesh.proxies})
    assert names[0] == names[1]


def test_the_commands_start_in_the_background_and_stop(cloud: LocalCloud) -> None:
    """`lab.mesh up` returns with all pods ready, `status` shows them, `down` ends them all."""
    shown = _command(cloud.state, "up", "--pods=1", "--istiods=1")
    assert "x509 cert - Issuer: " in shown
    pods = json.loads(_command(cloud.state, "status", "--json"))["pods"]
    assert [each["ready"] for each in pods] == [True, True]
    assert "the local cluster is down" in _command(cloud.state, "down")
    assert processes.living(cloud.state / "run") == {}


def test_down_cleans_up_after_a_supervisor_that_was_killed(cloud: LocalCloud) -> None:
    """When the background process dies by SIGKILL, `down` ends what it has left running."""
    _command(cloud.state, "up", "--pods=1", "--istiods=1")
    for pids in processes.living(cloud.state / "run" / "supervisor").values():
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    assert processes.living(cloud.state / "run")
    _command(cloud.state, "down")
    assert processes.living(cloud.state / "run") == {}
    assert sockets.listening_in(*_block(cloud.state)) == []


def _command(state: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "lab.mesh", "--state", str(state), *arguments]
    done = subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _block(state: Path) -> tuple[int, int]:
    kept = json.loads((state / "mesh" / "network.json").read_text(encoding="ascii"))
    return kept["second"], kept["third"]
