"""The local cluster as one object: start it, drive it, count, stop it.

    with Mesh(state, pods=4, leaf_ttl=20.0, poll=1.0) as mesh:
        mesh.wait_until_ready()
        with mesh.phase("distribute") as counted:
            ...
        assert counted.failed == 0

What runs is what the local cloud in `state` says: no istiod without a mesh profile, no files
without access. The cluster's own data is kept below `state` and survives a stop.
"""

import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import httpx2
from lightkube import Client, codecs
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Event, Pod

from lab.azure import data_plane
from lab.mesh import istiod, istiod_log, network, pods, processes, proxy
from lab.mesh.addon import REVISION_LABEL, AddOn
from lab.mesh.control_plane import ControlPlane, ControlPlaneError
from lab.mesh.credentials import write_private
from lab.mesh.csi import Driver, Poll
from lab.mesh.kubelet import TRUST_CONFIG_MAP, Kubelet
from lab.mesh.logs import LogServer
from lab.mesh.runner import PodRunner
from lab.mesh.service import Service
from lab.mesh.traffic import Phase, Traffic

NAMESPACE: Final = "mesh-lab"
"""Where the workloads run."""

_RECONCILE_SECONDS = 0.5


class MeshError(Exception):
    """The cluster cannot run, or did not get where it was expected; the text says what is there."""


class Mesh:
    """One local cluster. A context manager: entering starts it, leaving stops all of it."""

    def __init__(
        self,
        state: Path,
        *,
        cluster: str | None = None,
        pods: int = 4,
        istiods: int = 1,
        leaf_ttl: float = 20.0,
        poll: float | None = None,
        spread: float | None = None,
        rate: float = 200.0,
        trust_is_pushed: bool = False,
        istiod_environment: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare the cluster called `cluster` (None: the only one) of the local cloud in `state`.

        Seconds everywhere. `leaf_ttl`: what agents ask for; they renew at half of it. `poll`
        replaces rotationPollInterval (None: as configured; infinity: only on demand). `spread`:
        the least time between the starts of two pods, so that their renewals are spread; None
        spreads all pods over one half-life. `rate`: requests per second. `trust_is_pushed`:
        PROXY_CONFIG_XDS_AGENT, which AKS leaves off; without it trust travels with renewals only.
        """
        self.state = state
        self.directory = state / "mesh"
        self.kubeconfig = state / "kubeconfig"
        self._cluster_name = cluster
        self.run = state / "run"
        """Where pid files are (lab.mesh.processes)."""
        self._workloads = pods
        self._leaf_ttl = leaf_ttl
        self._poll = poll
        self._spread = leaf_ttl / 2 / pods if spread is None else spread
        self._istiods = istiods
        self._istiod_environment = {
            # With several replicas one leads, as in a real cluster; alone it need not wait to.
            "ENABLE_LEADER_ELECTION": "true" if istiods > 1 else "false",
            **(istiod_environment or {}),
        }
        self._trust_is_pushed = trust_is_pushed
        self.traffic = Traffic(rate)
        self._applied_revision: str | None = None
        self._gone = False
        self._stopping = threading.Event()
        self._undo = ExitStack()
        self._error: Exception | None = None
        self.client: Client
        self.driver: Driver
        self.kubelet: Kubelet

    def __enter__(self) -> "Mesh":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything; pods get ready on their own (`wait_until_ready`)."""
        cluster = self._cluster()
        if cluster is None:
            raise MeshError(
                f"there is no managed cluster in the local cloud at {self.state}: run `pulumi up`"
            )
        processes.sweep(self.run)
        self._belong_to(cluster.id)
        block = self._network()
        plane = ControlPlane(self.directory, self.run, block, cluster.name)
        self._undo.callback(plane.stop)
        plane.start()
        write_private(self.kubeconfig, plane.kubeconfig.read_bytes())
        self.client = plane.client()
        self._undo.callback(self.client.close)
        self.driver = Driver(self.state, cluster.id, self._poll)
        service = Service(block.istiod)
        service.start()
        self._undo.callback(service.stop)
        self.traffic.start()
        self._undo.callback(self.traffic.stop)
        self.kubelet = Kubelet(
            self.client,
            network=block,
            directory=self.directory / "pods",
            run=self.run,
            kubeconfig=plane.kubeconfig,
            driver=self.driver,
            observers=(service, self.traffic),
            spread=self._spread,
        )
        logs = LogServer(
            block.node,
            plane.authority.issue("kubelet", block.node),
            plane.authority.certificate,
            self.kubelet.log,
        )
        logs.start()
        self._undo.callback(logs.stop)
        self._undo.callback(self.kubelet.stop)
        self.kubelet.start()
        add_on = AddOn(self.client, replicas=self._istiods, environment=self._istiod_environment)
        self._follow(cluster, add_on)
        keeper = threading.Thread(target=self._keep, args=(add_on, plane), name="mesh", daemon=True)
        keeper.start()
        self._undo.callback(keeper.join)

    def stop(self) -> None:
        """Stop everything, last first, and make sure that no process is left."""
        self._stopping.set()
        try:
            self._undo.close()
        finally:
            processes.sweep(self.run)
        if self._gone:
            self._erase()

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Wait until every istiod and every workload pod serves. Raises MeshError."""
        self.wait_for(lambda: self.is_ready, "all pods ready", timeout)

    def wait_for(self, condition: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
        """Wait until `condition` holds. Raises MeshError with the pods' state when it does not."""
        deadline = time.monotonic() + timeout
        while not condition():
            if self._error is not None:
                raise MeshError(str(self._error)) from self._error
            if time.monotonic() > deadline:
                raise MeshError(
                    f"waited {timeout:.0f} s for: {what}. What is there:\n{self.describe()}"
                )
            time.sleep(0.02)

    def let_pass(self, seconds: float) -> None:
        """Let time go by; raises MeshError when the control plane dies meanwhile."""
        deadline = time.monotonic() + seconds
        self.wait_for(lambda: time.monotonic() >= deadline, "time to pass", seconds + 1.0)

    def phase(self, name: str) -> AbstractContextManager[Phase]:
        """Count handshakes and failures while the block lasts."""
        return self.traffic.phase(name)

    @property
    def error(self) -> Exception | None:
        """Why the cluster cannot go on; None while all is well."""
        return self._error

    @property
    def is_ready(self) -> bool:
        """Do all istiods and workload pods serve, and is none left of an earlier template?"""
        expected = ((self.istiods, self._istiods), (self.proxies, self._workloads))
        return (
            all(
                len(found) == wanted and all(each.ready for each in found)
                for found, wanted in expected
            )
            and self._is_rolled_out()
        )

    def _is_rolled_out(self) -> bool:
        deployments = [
            each
            for namespace in (istiod.NAMESPACE, NAMESPACE)
            for each in self.client.list(Deployment, namespace=namespace)
        ]
        return all(
            each.metadata
            and each.spec
            and each.status
            and (each.status.observedGeneration or 0) >= (each.metadata.generation or 0)
            and each.status.updatedReplicas == each.status.availableReplicas == each.spec.replicas
            for each in deployments
        )

    @property
    def istiods(self) -> list[PodRunner]:
        """The istiod pods, oldest first."""
        return [each for each in self.kubelet.runners if each.kind == istiod.CONTAINER]

    @property
    def proxies(self) -> list[PodRunner]:
        """The workload pods, oldest first."""
        return [each for each in self.kubelet.runners if each.kind == proxy.CONTAINER]

    def poll(self, replica: int | None = None) -> list[Poll]:
        """Let the CSI driver read now, for one istiod (by its place in `istiods`) or for each."""
        mounts = self.driver.mounts
        chosen = mounts if replica is None else mounts[replica : replica + 1]
        return [mount.poll() for mount in chosen]

    def restart_istiod(self, replica: int | None = None) -> None:
        """Delete the pods, as a rollout or a node drain does: new pods mount anew."""
        found = self.istiods
        for each in found if replica is None else found[replica : replica + 1]:
            self.client.delete(Pod, each.name, namespace=each.namespace)

    def signers(self) -> list[str]:
        """Return, per istiod, the serial (hex) of the certificate that it signs with now."""
        return [istiod_log.signer(each.log) for each in self.istiods]

    def trust(self, namespace: str = NAMESPACE) -> str:
        """Return root-cert.pem of istio-ca-root-cert in a namespace; empty while there is none."""
        try:
            found = self.client.get(ConfigMap, TRUST_CONFIG_MAP, namespace=namespace)
        except httpx2.HTTPError:
            return ""
        return str((found.data or {}).get("root-cert.pem", ""))

    def status(self) -> dict[str, Any]:
        """Return what there is to see, as JSON: pods, events, istiods' issuers, traffic."""
        listed = []
        for namespace in (istiod.NAMESPACE, NAMESPACE):
            for pod in self.client.list(Pod, namespace=namespace):
                statuses = (pod.status.containerStatuses if pod.status else None) or []
                listed.append(
                    {
                        "namespace": namespace,
                        "name": pod.metadata.name if pod.metadata else "",
                        "ready": pods.is_ready(pod),
                        "status": pods.shown(pod),
                        "restarts": sum(each.restartCount for each in statuses),
                    }
                )
        events = [
            {"pod": each.involvedObject.name, "reason": each.reason, "message": each.message}
            for each in self.client.list(Event, namespace=istiod.NAMESPACE)
            if each.type == "Warning"
        ]
        phase = self.traffic.current
        cluster = self._cluster()
        return {
            "cluster": cluster.name if cluster else "",
            "mesh": bool(cluster and cluster.mesh),
            "pods": listed,
            "events": events,
            "istiods": {
                each.name: [
                    {"issuer": seen.issuer, "subject": seen.subject, "serial": seen.serial}
                    for seen in istiod_log.served(each.log)
                ]
                for each in self.istiods
            },
            "traffic": {"handshakes": phase.handshakes, "failed": phase.failed},
        }

    def describe(self) -> str:
        """Return the status as a few lines of text, for people and for error messages."""
        try:
            status = self.status()
        except httpx2.HTTPError as error:
            return f"the API server does not answer: {error}"
        return describe(status)

    def _cluster(self) -> data_plane.MeshCluster | None:
        found = data_plane.mesh(self.state)
        if self._cluster_name is not None:
            found = tuple(each for each in found if each.name == self._cluster_name)
        if len(found) > 1:
            raise MeshError(
                f"the local cloud has {len(found)} clusters"
                f" ({', '.join(each.name for each in found)}): name one"
            )
        return found[0] if found else None

    def _network(self) -> network.Network:
        """The cluster's addresses; kept, because its certificates name them."""
        path = self.directory / "network.json"
        if path.is_file():
            kept = network.Network(**json.loads(path.read_text(encoding="ascii")))
            if not network.is_free(kept):
                raise MeshError(f"{kept.api} is in use: is this cluster running already?")
            return kept
        chosen = network.choose()
        content = json.dumps({"second": chosen.second, "third": chosen.third})
        path.write_text(content, encoding="ascii")
        return chosen

    def _keep(self, add_on: AddOn, plane: ControlPlane) -> None:
        """Follow the managed cluster, and notice when the control plane has died."""
        while not self._stopping.wait(_RECONCILE_SECONDS):
            try:
                plane.check()
                cluster = self._cluster()
                if cluster is None:
                    self._gone = True
                    raise MeshError("the managed cluster has been deleted from the local cloud")
                self._follow(cluster, add_on)
            except (ControlPlaneError, MeshError) as error:
                self._error = error
                return

    def _follow(self, cluster: data_plane.MeshCluster, add_on: AddOn) -> None:
        """Lay what the service mesh profile asks for; workloads come with the mesh."""
        add_on.reconcile(cluster)
        revision = cluster.revisions[0] if cluster.mesh and cluster.revisions else None
        if revision is None or revision == self._applied_revision:
            return
        with suppress(httpx2.HTTPError):
            self._apply_workloads(revision)
            self._applied_revision = revision

    def _belong_to(self, cluster_id: str) -> None:
        """Start from nothing when the data is another cluster's."""
        owner = self.directory / "cluster"
        if owner.is_file() and owner.read_text(encoding="utf-8") == cluster_id:
            return
        self._erase()
        self.directory.mkdir(mode=0o700, parents=True)
        owner.write_text(cluster_id, encoding="utf-8")

    def _erase(self) -> None:
        if self.directory.is_dir():
            shutil.rmtree(self.directory)
        self.kubeconfig.unlink(missing_ok=True)

    def _apply_workloads(self, revision: str) -> None:
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {REVISION_LABEL: revision}},
        }
        self.client.apply(codecs.from_dict(namespace), field_manager="lab", force=True)
        for number in range(self._workloads):
            manifest = _workload(
                f"app-{number}",
                revision,
                {
                    "SECRET_TTL": f"{self._leaf_ttl}s",
                    "PROXY_CONFIG_XDS_AGENT": str(self._trust_is_pushed).lower(),
                },
            )
            self.client.apply(codecs.from_dict(manifest), field_manager="lab", force=True)


def describe(status: Mapping[str, Any]) -> str:
    """Return a status (`Mesh.status`) as text."""
    lines = [
        f"{pod['namespace']}/{pod['name']}: {pod['status']}"
        f"{' ready' if pod['ready'] else ''}"
        f"{', restarts ' + str(pod['restarts']) if pod['restarts'] else ''}"
        for pod in status["pods"]
    ]
    lines += [
        f"event {each['pod']}: {each['reason']}: {each['message']}" for each in status["events"]
    ]
    lines += [
        f'{name}: x509 cert - Issuer: "{seen["issuer"]}", Subject: "{seen["subject"]}",'
        f" SN: {seen['serial']}"
        for name, chain in status["istiods"].items()
        for seen in chain
    ]
    if not status["mesh"]:
        lines.append(f"cluster {status['cluster']}: the service mesh is not enabled")
    traffic = status["traffic"]
    lines.append(f"traffic: {traffic['failed']} failed of {traffic['handshakes']} handshakes")
    return "\n".join(lines)


def _workload(name: str, revision: str, environment: Mapping[str, str]) -> dict[str, Any]:
    labels = {"app": name}
    container = {
        "name": proxy.CONTAINER,
        "image": "lab/istio-proxy",
        "env": [{"name": key, "value": value} for key, value in environment.items()],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": {**labels, REVISION_LABEL: revision}},
                "spec": {"containers": [container]},
            },
        },
    }
