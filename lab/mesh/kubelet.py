"""Stand-in for the kubelet of the cluster's one node: pods are processes on this machine.

It takes every pod (there is no scheduler), runs its program and writes its status, so that the
real controllers complete real rollouts. A pod with a container `discovery` is an istiod, one with
`istio-proxy` an agent with its Envoy; any other pod has no process at all and is ready as soon as
it is seen. Like the real one it keeps the trust that agents have for istiod fresh, from ConfigMap
istio-ca-root-cert.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import httpx2
from lightkube import Client, codecs
from lightkube.core.client import FieldSelector
from lightkube.resources.core_v1 import ConfigMap, Node, Pod

from lab.mesh import csi, runner
from lab.mesh.network import KUBELET_PORT, Network
from lab.mesh.pods import NODE, tend, timestamp
from lab.mesh.runner import Observer, PodRunner

TRUST_CONFIG_MAP: Final = "istio-ca-root-cert"

_Kind = TypeVar("_Kind", Pod, ConfigMap)


class Kubelet:
    """The node. `start` it when the API server answers; `stop` ends every pod's process."""

    def __init__(
        self,
        client: Client,
        *,
        network: Network,
        directory: Path,
        run: Path,
        kubeconfig: Path,
        driver: csi.Driver,
        observers: Sequence[Observer] = (),
        spread: float = 0.0,
    ) -> None:
        """Keep pods' files in `directory` and pid files in `run`.

        `spread` is the least time, in seconds, between the starts of two proxies.
        """
        self._client = client
        self._network = network
        self._runners: dict[str, PodRunner] = {}
        self._trust: dict[str, str] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._plain = ThreadPoolExecutor(4, "kubelet-plain")
        self._node = runner.Node(
            client,
            network,
            directory,
            run,
            kubeconfig,
            driver,
            observers,
            self._trust_in,
            self._forget,
            runner.Spread(spread),
        )

    def start(self) -> None:
        """Register the node and begin to run pods."""
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        status = {
            "addresses": [{"type": "InternalIP", "address": self._network.node}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": timestamp()}],
        }
        self._client.apply(codecs.from_dict(node), field_manager="kubelet", force=True)
        self._client.patch(Node.Status, NODE, {"status": status})
        for watch in (self._watch_trust, self._watch_pods):
            threading.Thread(target=watch, name=f"kubelet {watch.__name__}", daemon=True).start()

    def stop(self) -> None:
        """End every pod's process. The pods stay in the API server, as when a node goes down."""
        self._stopped.set()
        self._plain.shutdown(cancel_futures=True)
        runners = self.runners
        for each in runners:
            each.end(delete=False)
        for each in runners:
            each.join()

    @property
    def runners(self) -> list[PodRunner]:
        """The pods that have a process, oldest first."""
        with self._lock:
            return list(self._runners.values())

    def log(self, namespace: str, pod: str) -> Path | None:
        """Return the log file of a pod's program; None for a pod that is not here."""
        for each in self.runners:
            if (each.namespace, each.name) == (namespace, pod):
                return each.log
        return None

    def _trust_in(self, namespace: str) -> str | None:
        with self._lock:
            return self._trust.get(namespace)

    def _forget(self, uid: str) -> None:
        with self._lock:
            self._runners.pop(uid, None)

    def _watch_pods(self) -> None:
        def listed(pods: Iterable[Pod]) -> None:
            seen = set()
            for pod in pods:
                seen.add(pod.metadata.uid if pod.metadata else None)
                self._see(pod)
            for each in self.runners:
                if each.uid not in seen:
                    each.end(delete=True)

        self._follow(Pod, None, listed, self._see, self._end)

    def _watch_trust(self) -> None:
        def changed(found: ConfigMap) -> None:
            namespace = found.metadata.namespace if found.metadata else None
            text = (found.data or {}).get("root-cert.pem")
            if namespace is None or text is None:
                return
            with self._lock:
                self._trust[namespace] = text
            for each in self.runners:
                if each.namespace == namespace:
                    each.trust_changed(text)

        def gone(found: ConfigMap) -> None:
            if found.metadata and found.metadata.namespace:
                with self._lock:
                    self._trust.pop(found.metadata.namespace, None)

        def listed(found: Iterable[ConfigMap]) -> None:
            for each in found:
                changed(each)

        self._follow(ConfigMap, TRUST_CONFIG_MAP, listed, changed, gone)

    def _follow(
        self,
        kind: type[_Kind],
        name: str | None,
        listed: Callable[[Iterable[_Kind]], None],
        changed: Callable[[_Kind], None],
        gone: Callable[[_Kind], None],
    ) -> None:
        """List and watch in all namespaces until stopped, from the start again after any error."""
        fields: FieldSelector | None = {"metadata.name": name} if name else None
        while not self._stopped.is_set():
            try:
                listing = self._client.list(kind, namespace="*", fields=fields)
                listed(listing)
                for operation, each in self._client.watch(
                    kind,
                    namespace="*",
                    fields=fields,
                    resource_version=listing.resourceVersion,
                    server_timeout=60,
                ):
                    if self._stopped.is_set():
                        return
                    (gone if operation == "DELETED" else changed)(each)
            except httpx2.HTTPError:
                self._stopped.wait(0.2)

    def _see(self, pod: Pod) -> None:
        metadata = pod.metadata
        if metadata is None or metadata.uid is None:
            return
        if runner.program(pod) is None:
            self._plain.submit(tend, self._client, pod)
        elif metadata.deletionTimestamp:
            self._end(pod)
        else:
            with self._lock:
                if metadata.uid in self._runners or self._stopped.is_set():
                    return
                started = self._runners[metadata.uid] = PodRunner(self._node, pod)
            started.start()

    def _end(self, pod: Pod) -> None:
        with self._lock:
            found = self._runners.get((pod.metadata.uid or "") if pod.metadata else "")
        if found is not None:
            found.end(delete=True)
