"""The local cluster as one object: start it, drive it, count, stop it.

    with Mesh(state, pods=4, leaf_ttl=20.0, poll=1.0) as mesh:
        mesh.wait_until_ready()
        with mesh.phase("distribute") as counted:
            ...
        assert counted.failed == 0

What runs is what the local cloud in `state` says: no istiod without a mesh profile, no files
without access. The cluster's own data is kept below `state` and survives a stop.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2
from lightkube import Client
from lightkube.resources.core_v1 import ConfigMap, Pod

from lab.azure.data_plane import MeshCluster
from lab.mesh import (
    cluster_status,
    istiod,
    istiod_log,
    managed_cluster,
    parts,
    processes,
    proxy,
    workloads,
)
from lab.mesh.addon import AddOn
from lab.mesh.cluster_data import ClusterData
from lab.mesh.csi import Driver, Poll
from lab.mesh.errors import MeshError
from lab.mesh.keeper import Keeper
from lab.mesh.kubelet import TRUST_CONFIG_MAP, Kubelet
from lab.mesh.runner import PodRunner
from lab.mesh.traffic import Phase, Traffic
from lab.mesh.workloads import Workloads


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
        self._data = ClusterData(state)
        self._cluster_name = cluster
        self.run = state / "run"
        """Where pid files are (lab.mesh.processes)."""
        self._workloads = Workloads(pods, leaf_ttl, trust_is_pushed)
        self._poll = poll
        self._spread = leaf_ttl / 2 / pods if spread is None else spread
        self._istiods = istiods
        self._istiod_environment = {
            # With several replicas one leads, as in a real cluster; alone it need not wait to.
            "ENABLE_LEADER_ELECTION": "true" if istiods > 1 else "false",
            **(istiod_environment or {}),
        }
        self.traffic = Traffic(rate)
        self._keeper: Keeper | None = None
        self._undo = ExitStack()
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
        self._data.belong_to(cluster.id)
        self.driver = Driver(self.state, cluster.id, self._poll)
        started = self._undo.enter_context(
            parts.running(
                self._data,
                self.run,
                name=cluster.name,
                driver=self.driver,
                traffic=self.traffic,
                spread=self._spread,
            )
        )
        self.client, self.kubelet = started.client, started.kubelet
        add_on = AddOn(self.client, replicas=self._istiods, environment=self._istiod_environment)
        self._keeper = Keeper(self._cluster, started.plane, self.client, add_on, self._workloads)
        self._keeper.start(cluster)
        self._undo.callback(self._keeper.stop)

    def stop(self) -> None:
        """Stop everything, last first, and make sure that no process is left."""
        try:
            self._undo.close()
        finally:
            processes.sweep(self.run)
        if self._keeper is not None and self._keeper.gone:
            self._data.erase()

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Wait until every istiod and every workload pod serves. Raises MeshError."""
        self.wait_for(lambda: self.is_ready, "all pods ready", timeout)

    def wait_for(self, condition: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
        """Wait until `condition` holds. Raises MeshError with the pods' state when it does not."""
        deadline = time.monotonic() + timeout
        while not condition():
            if self.error is not None:
                raise MeshError(str(self.error)) from self.error
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
        return self._keeper.error if self._keeper else None

    @property
    def is_ready(self) -> bool:
        """Do all istiods and workload pods serve, and is none left of an earlier template?"""
        expected = ((self.istiods, self._istiods), (self.proxies, self._workloads.count))
        return all(
            len(found) == wanted and all(each.ready for each in found) for found, wanted in expected
        ) and cluster_status.is_rolled_out(self.client)

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

    def trust(self, namespace: str = workloads.NAMESPACE) -> str:
        """Return root-cert.pem of istio-ca-root-cert in a namespace; empty while there is none."""
        try:
            found = self.client.get(ConfigMap, TRUST_CONFIG_MAP, namespace=namespace)
        except httpx2.HTTPError:
            return ""
        return str((found.data or {}).get("root-cert.pem", ""))

    def status(self) -> dict[str, Any]:
        """Return what there is to see, as JSON: pods, events, istiods' issuers, traffic."""
        return cluster_status.read(self.client, self._cluster(), self.istiods, self.traffic.current)

    def describe(self) -> str:
        """Return the status as a few lines of text, for people and for error messages."""
        try:
            return cluster_status.describe(self.status())
        except httpx2.HTTPError as error:
            return f"the API server does not answer: {error}"

    def _cluster(self) -> MeshCluster | None:
        return managed_cluster.find(self.state, self._cluster_name)
