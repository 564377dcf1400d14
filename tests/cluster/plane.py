"""A real control plane for the cluster tests, with a kubelet that only writes pod status.

Real are etcd, kube-apiserver and kube-controller-manager, so rollouts, field ownership, refusals
and logs through the API server are real. Pods have no process: they are ready as soon as they are
seen, unless labelled HELD. Logs of pods on the node are what a test puts there.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx2
from lightkube import Client
from lightkube.core import resource
from lightkube.core.resource_registry import resource_registry
from lightkube.resources.apps_v1 import DaemonSet, Deployment, StatefulSet
from lightkube.resources.core_v1 import Node, Pod, ServiceAccount
from lightkube.types import PatchType

from lab.layout import BIN
from lab.mesh import network
from lab.mesh.control_plane import ControlPlane
from lab.mesh.logs import LogServer
from lab.mesh.network import KUBELET_PORT
from lab.mesh.pods import NODE, tend, timestamp

HELD: Final = "test/held"
"""Label of a pod that never becomes ready."""

ISTIOD_NAMESPACE: Final = "aks-istio-system"


class Plane:
    """The control plane, its kubelet, and shorthands for what tests put into it."""

    def __init__(self, directory: Path) -> None:
        """Start everything; data goes to `directory`. `stop` ends it."""
        block = network.choose()
        self._directory = directory
        self._plane = ControlPlane(directory, directory / "run", block, "aks-test")
        self._plane.start()
        self.client = self._plane.client()
        self.kubeconfig: str = self._plane.kubeconfig.read_text()
        self._logs = LogServer(
            block.node,
            self._plane.authority.issue("kubelet", block.node),
            self._plane.authority.certificate,
            self._log,
        )
        self._logs.start()
        self._stopping = threading.Event()
        self._held: set[str] = set()
        self._add_node(block.node)
        self._kubelet = threading.Thread(target=self._run, name="test kubelet", daemon=True)
        self._kubelet.start()

    def stop(self) -> None:
        """End everything."""
        self._stopping.set()
        self._logs.stop()
        self._plane.stop()
        self._kubelet.join(10.0)
        self.client.close()

    def wait_for(self, condition: Callable[[], bool], timeout: float = 20.0) -> None:
        """Return once `condition` holds."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError("waited in vain")
            time.sleep(0.1)

    def hold(self, namespace: str) -> None:
        """Let no new pod of a namespace get ready, until `let_go`."""
        self._held.add(namespace)

    def let_go(self, namespace: str) -> None:
        """Let the held pods of a namespace get ready."""
        self._held.discard(namespace)
        for pod in self.client.list(Pod, namespace=namespace):
            _tend(self.client, pod)

    def restart_api(self, away: float) -> None:
        """Stop the API server for some seconds."""
        processes = self._plane._processes
        [server] = [each for each in processes if each.name == "kube-apiserver"]
        place = processes.index(server)
        server.stop(grace=1.0)
        time.sleep(away)
        self._plane._launch(server.name, [str(BIN / server.name), *self._plane._api_server()])
        processes[place] = processes.pop()
        self._plane._wait_for_api(time.monotonic() + 30.0)

    def user(self, name: str, group: str = "nobody") -> str:
        """Return the kubeconfig of another user, who may do nothing yet."""
        return self._plane.authority.kubeconfig(self._plane.server, name, group, "aks-test")

    def allow(
        self, user: str, namespace: str | None, verbs: Sequence[str], resources: Sequence[str]
    ) -> None:
        """Let a user do something, in one namespace or (None) in all."""
        name = f"{user}-{secrets.token_hex(4)}"
        where = {} if namespace is None else {"namespace": namespace}
        scope = "Cluster" if namespace is None else ""
        version = "rbac.authorization.k8s.io/v1"
        rule = {"apiGroups": ["", "apps"], "verbs": [*verbs], "resources": [*resources]}
        metadata = {"name": name, **where}
        self.apply({"apiVersion": version, "kind": f"{scope}Role", "metadata": metadata,
                    "rules": [rule]})  # fmt: skip
        self.apply(
            {
                "apiVersion": version,
                "kind": f"{scope}RoleBinding",
                "metadata": metadata,
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": f"{scope}Role",
                    "name": name,
                },
                "subjects": [
                    {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
                ],
            }
        )

    def namespace(self) -> str:
        """Create a namespace for one test. It stays: deleting takes longer than the test."""
        name = f"t-{secrets.token_hex(4)}"
        self.ensure_namespace(name)
        return name

    def ensure_namespace(self, name: str) -> None:
        """Create a namespace unless it is there, and return when pods may be created in it."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        deadline = time.monotonic() + 20.0
        while not any(True for _ in self.client.list(ServiceAccount, namespace=name)):
            if time.monotonic() > deadline:
                raise AssertionError(f"namespace {name} gets no service account")
            time.sleep(0.02)

    def empty(self, namespace: str) -> None:
        """Delete what runs in a namespace, and return when it is gone."""
        for kind in (Deployment, StatefulSet, DaemonSet, Pod):
            self.client.deletecollection(kind, namespace=namespace, grace_period=0)
        deadline = time.monotonic() + 20.0
        while any(True for _ in self.client.list(Pod, namespace=namespace)):
            if time.monotonic() > deadline:
                raise AssertionError(f"the pods of {namespace} do not go away")
            # A ReplicaSet may have replaced a pod before it was collected itself.
            self.client.deletecollection(Pod, namespace=namespace, grace_period=0)
            time.sleep(0.1)

    def apply(self, manifest: Mapping[str, Any], manager: str = "test") -> Any:
        """Apply a manifest, which may be a part of an object, server-side."""
        kind: Any = resource_registry.load(manifest["apiVersion"], manifest["kind"])
        metadata = manifest["metadata"]
        return self.client.patch(
            kind,
            metadata["name"],
            dict(manifest),
            namespace=metadata.get("namespace"),
            patch_type=PatchType.APPLY,
            field_manager=manager,
            force=True,
        )

    def write_log(self, pod: str, text: str) -> None:
        """Set the log of a pod on the node."""
        self._log("", pod).write_text(text)

    def _log(self, namespace: str, pod: str) -> Path:
        folder = self._directory / "pod-logs"
        folder.mkdir(exist_ok=True)
        return folder / f"{pod}.log"

    def _add_node(self, address: str) -> None:
        self.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        status = {
            "addresses": [{"type": "InternalIP", "address": address}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": timestamp()}],
        }
        self.client.patch(Node.Status, NODE, {"status": status})
        # A new node is tainted until something finds it ready; that controller does not run here.
        self.client.patch(Node, NODE, {"spec": {"taints": None}}, patch_type=PatchType.MERGE)

    def _run(self) -> None:
        with self._plane.client() as client:
            while not self._stopping.is_set():
                try:
                    for _, pod in client.watch(Pod, namespace="*", server_timeout=30):
                        if self._stopping.is_set():
                            return
                        if pod.metadata and pod.metadata.namespace not in self._held:
                            _tend(client, pod)
                except httpx2.HTTPError:
                    self._stopping.wait(0.1)


def _tend(client: Client, pod: Pod) -> None:
    if HELD not in ((pod.metadata and pod.metadata.labels) or {}):
        tend(client, pod)


def workload(
    kind: str,
    namespace: str,
    name: str,
    *,
    replicas: int = 1,
    labels: Mapping[str, str] | None = None,
    pod_labels: Mapping[str, str] | None = None,
    meshed: bool = False,
    **spec: Any,
) -> dict[str, Any]:
    """Return the manifest of a workload; with `meshed` its pods carry an Istio proxy."""
    chosen = {"app": name}
    template = {
        "metadata": {"labels": {**chosen, **(pod_labels or {})}},
        "spec": {
            "containers": [{"name": "istio-proxy" if meshed else "app", "image": "x"}],
            "terminationGracePeriodSeconds": 1,
        },
    }
    sized = {} if kind == "DaemonSet" else {"replicas": replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": {**chosen, **(labels or {})}},
        "spec": {"selector": {"matchLabels": chosen}, "template": template, **sized, **spec},
    }


def pods(plane: Plane, namespace: str) -> list[Pod]:
    """Return the pods of a namespace that are not about to end."""
    found = plane.client.list(Pod, namespace=namespace)
    return [pod for pod in found if pod.metadata and not pod.metadata.deletionTimestamp]


def managers(live: resource.NamespacedResource) -> set[str]:
    """Return the names of an object's field managers."""
    metadata = live.metadata  # type: ignore[attr-defined]  # every resource has it
    return {str(entry.manager) for entry in metadata.managedFields or []}
