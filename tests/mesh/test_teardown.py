"""The local cluster leaves nothing behind, however it ends, but its own data."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import layout
from lab.mesh import processes
from lab.mesh.mesh import Mesh
from lab.mesh.workloads import NAMESPACE
from tests.mesh import authorities, sockets
from tests.mesh.local_cloud import LocalCloud

pytestmark = pytest.mark.mesh

LEAF_TTL = 60.0


@dataclass(frozen=True)
class Seen:
    """What there was while the cluster ran."""

    programs: set[str]
    listeners: list[str]
    pods: set[str]


@pytest.fixture(scope="module")
def stopped(cloud: LocalCloud) -> Seen:
    """Return what there was, after a `with Mesh(...)` has been left."""
    root = authorities.root("A")
    cloud.write(authorities.texts([root], authorities.issuer("a1", root)))
    cloud.grant()
    cloud.enable_mesh()
    with Mesh(cloud.state, pods=1, leaf_ttl=LEAF_TTL) as mesh:
        mesh.wait_until_ready()
        return Seen(
            set(processes.living(mesh.run)),
            sockets.listening_in(*_block(cloud.state)),
            {each.name for each in mesh.proxies},
        )


@pytest.fixture
def background(cloud: LocalCloud, stopped: Seen) -> Iterator[dict[str, Any]]:
    """Return the status of the same cluster after `lab.mesh up`."""
    _command(cloud.state, "up", "--pods=1", "--istiods=1", f"--leaf-ttl={LEAF_TTL}")
    yield json.loads(_command(cloud.state, "status", "--json"))
    _command(cloud.state, "down")


def test_leaving_the_block_ends_every_process_and_frees_every_port(
    cloud: LocalCloud, stopped: Seen
) -> None:
    """No process lives that ran before, and nobody listens in the cluster's addresses."""
    assert {"etcd", "kube-apiserver", "kube-controller-manager"} < stopped.programs
    assert len(stopped.listeners) > 10
    assert processes.living(cloud.state / "run") == {}
    assert sockets.listening_in(*_block(cloud.state)) == []


def test_the_cluster_keeps_its_pods_over_a_restart(
    background: dict[str, Any], stopped: Seen
) -> None:
    """`up` returns with all pods ready, and they are those of before, as on a real cluster."""
    workloads = [each for each in background["pods"] if each["namespace"] == NAMESPACE]
    assert {each["name"] for each in workloads} == stopped.pods
    assert all(each["ready"] for each in background["pods"])


def test_down_cleans_up_after_a_supervisor_that_was_killed(
    cloud: LocalCloud, background: dict[str, Any]
) -> None:
    """When the background process dies by SIGKILL, `down` ends what it has left running."""
    for pids in processes.living(cloud.state / "run" / "supervisor").values():
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    assert processes.living(cloud.state / "run")
    assert "the local cluster is down" in _command(cloud.state, "down")
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
