"""A stack of the program whose cluster is the tests' control plane, with scripted istiods."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from lightkube.resources.apps_v1 import Deployment

from lab.mesh.credentials import write_private
from tests.cluster.istiods import Istiods
from tests.cluster.plane import Plane, workload
from tests.engine import stacks
from tests.engine.workspace import Run, Workspace
from tests.material import Authority

CONFIG: Mapping[str, Any] = {
    # Nothing passes by waiting while a test runs.
    "leafTtl": "24h",
    "slack": "1s",
    "restartTimeout": "30s",
    "cluster": {"revisions": ["asm-1-29"]},
}


def converged(directory: Path, authorities: Mapping[str, Authority]) -> Workspace:
    """Return a stack in `steady a1` whose mesh is enabled; nothing of it runs yet."""
    stack = Workspace(directory)
    stacks.write_certificates(authorities, directory)
    stack.configure(stacks.offline(**CONFIG))
    stacks.set_keys(stack, authorities)
    for _ in range(2):
        stack.done()
    return stack


@dataclass
class Meshed:
    """A stack, its cluster, and the istiods that run in it."""

    stack: Workspace
    plane: Plane
    istiods: Istiods
    namespace: str

    def want(self, stance: str, **settings: Any) -> None:
        """Configure a stance, and other settings with it."""
        self.stack.want(stance, **settings)

    def up(self) -> Run:
        """`pulumi up` while the istiods follow the vault, however it ends."""
        with self.istiods.following(self.stack.state):
            return self.stack.up()

    def done(self) -> Run:
        """The same, which must succeed."""
        ended = self.up()
        assert ended.code == 0, ended.output
        return ended

    def web(self) -> dict[str, Any]:
        """Return the workload that every test restarts, as configured."""
        return {"namespace": self.namespace, "kind": "Deployment", "name": "web"}

    def rollouts(self, name: str = "web") -> int:
        """Return how many rollouts a Deployment of one replica has had, once it is at rest."""
        deadline = time.monotonic() + 20.0
        while time.monotonic() < deadline:
            live = self.plane.client.get(Deployment, name, namespace=self.namespace)
            status, metadata = live.status, live.metadata
            assert metadata is not None
            if (
                status is not None
                and status.observedGeneration == metadata.generation
                and status.updatedReplicas == status.replicas == status.availableReplicas == 1
            ):
                return int((metadata.annotations or {})["deployment.kubernetes.io/revision"])
            time.sleep(0.05)
        raise AssertionError(f"{name} does not come to rest")


@contextmanager
def meshed(stack: Workspace, plane: Plane, namespace: str) -> Iterator[Meshed]:
    """Make the control plane the stack's cluster: with two istiods and a workload `web`."""
    write_private(stack.state / "kubeconfig", plane.kubeconfig.encode())
    istiods = Istiods(plane, [namespace])
    plane.apply(workload("Deployment", namespace, "web", meshed=True))
    made = Meshed(stack, plane, istiods, namespace)
    made.rollouts()
    yield made
    istiods.remove()


def gone(plane: Plane, kind: Any, name: str, namespace: str) -> None:
    """Delete an object and return when it is gone."""
    plane.client.delete(kind, name, namespace=namespace, grace_period=0)
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        try:
            plane.client.get(kind, name, namespace=namespace)
        except httpx2.HTTPError:
            return
        time.sleep(0.05)
    raise AssertionError(f"{name} does not go away")
