"""Reading a cluster: istiod and its log, trust bundles, meshed pods, mount failures.

Only reading: what it means is judged elsewhere. Lists are read page by page, so that thousands of
pods neither time out nor fill the memory.
"""

import email.utils
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from lightkube.resources.apps_v1 import DaemonSet
from lightkube.resources.core_v1 import ConfigMap, Event, Pod

from meshca import cluster_objects
from meshca.cluster_connection import (
    PAGE,
    Connection,
    ForbiddenError,
    UnreachableError,
    plain_errors,
)
from meshca.cluster_facts import IstiodPod, MeshedPod
from meshca.cluster_objects import TRUST, metadata_of
from meshca.evidence import Replica, Seen
from meshca.istiod_log import IstiodLog

NAMESPACE: Final = "aks-istio-system"
"""Where the add-on runs istiod (AKS, "Istio-based service mesh add-on")."""

ISTIOD_LABELS: Final = {"app": "istiod"}
ISTIOD_CONTAINER: Final = "discovery"

DRIVER_NAMESPACE: Final = "kube-system"
DRIVER_LABELS: Final = {"app": "secrets-store-csi-driver"}
DRIVER_CONTAINER: Final = "secrets-store"

Page = Callable[[int], None]
"""Gets the number of objects read so far, after each page."""


class ClusterView:
    """What is read of one cluster; it remembers how far it has read the logs.

    Whatever asks the cluster raises UnreachableError or ForbiddenError.
    """

    def __init__(self, connection: Connection) -> None:
        self._client = connection.client
        self._http = connection.http
        self._logs: dict[str, IstiodLog] = {}

    def clock(self) -> datetime:
        """The API server's time, in whole seconds and rounded down, as it stamps new objects."""
        with plain_errors():
            answer = self._http.get("version")
            answer.raise_for_status()
        try:
            moment = email.utils.parsedate_to_datetime(answer.headers["Date"])
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        except (KeyError, ValueError, TypeError, OverflowError):
            raise UnreachableError("its answer has no `Date` that tells the time") from None

    def may_look(self) -> None:
        """Ask for one of each thing that is read later: raises ForbiddenError what may not be."""
        for path in ("api/v1/pods", "api/v1/configmaps"):
            with plain_errors():
                self._http.get(path, params={"limit": 1}).raise_for_status()

    def look(self) -> Seen:
        """What istiod shows of its CA now: each replica's log, each namespace's trust."""
        return Seen(tuple(self.replicas(self.istiods())), self.trust())

    def replicas(self, pods: Sequence[IstiodPod]) -> list[Replica]:
        """What the logs of istiods say; those read before are only read on."""
        return [self._replica(pod) for pod in pods]

    def istiods(self) -> list[IstiodPod]:
        """Every istiod pod that has not ended, by name."""
        with plain_errors():
            found = self._client.list(
                Pod, namespace=NAMESPACE, labels=dict(ISTIOD_LABELS), chunk_size=PAGE
            )
            pods = [
                cluster_objects.istiod_pod(pod)
                for pod in found
                if not cluster_objects.has_ended(pod)
            ]
        return sorted(pods, key=lambda pod: pod.name)

    def _replica(self, pod: IstiodPod) -> Replica:
        if not pod.ready:
            return Replica(pod.name, trouble=f"not ready ({pod.status})")
        log = self._logs.setdefault(pod.name, IstiodLog())
        try:
            self._read_log(pod.name, log)
        except ForbiddenError as refused:
            return Replica(pod.name, trouble=f"its log cannot be read ({refused})")
        return Replica(pod.name, log.chain, log.refusal, log.self_signed)

    def _read_log(self, pod: str, log: IstiodLog) -> None:
        query = {"container": ISTIOD_CONTAINER}
        if log.until is not None:
            query["sinceTime"] = log.until.isoformat().replace("+00:00", "Z")
        path = f"api/v1/namespaces/{NAMESPACE}/pods/{pod}/log"
        with plain_errors(), self._http.stream("GET", path, params=query) as answer:
            if answer.is_error:
                answer.read()
                answer.raise_for_status()
            log.feed(answer.iter_lines())

    def trust(self) -> dict[str, tuple[str, ...]]:
        """Namespace -> SHA-256 of each root in its istio-ca-root-cert."""
        with plain_errors():
            found = self._client.list(
                ConfigMap, namespace="*", fields={"metadata.name": TRUST}, chunk_size=PAGE
            )
            return {
                str(metadata_of(each).namespace): cluster_objects.roots(each)
                for each in found
                if not metadata_of(each).deletionTimestamp
            }

    def meshed_pods(self, page: Page = lambda _: None) -> Iterator[MeshedPod]:
        """Every meshed pod of the cluster, page by page."""
        count = 0
        with plain_errors():
            for count, pod in enumerate(
                self._client.list(Pod, namespace="*", chunk_size=PAGE), start=1
            ):
                if count % PAGE == 0:
                    page(count)
                if cluster_objects.has_proxy(pod) and not cluster_objects.has_ended(pod):
                    yield cluster_objects.meshed_pod(pod)
        page(count)

    def mount_failures(self) -> dict[str, str]:
        """Istiod pod -> the newest message of a FailedMount event about it."""
        with plain_errors():
            found = self._client.list(
                Event,
                namespace=NAMESPACE,
                fields={"reason": "FailedMount", "involvedObject.kind": "Pod"},
                chunk_size=PAGE,
            )
            return cluster_objects.newest_messages(found)

    def driver_arguments(self) -> tuple[str, ...] | None:
        """How the Secrets Store CSI driver was started; None where it cannot be seen."""
        try:
            with plain_errors():
                found = self._client.list(
                    DaemonSet, namespace=DRIVER_NAMESPACE, labels=dict(DRIVER_LABELS)
                )
                return cluster_objects.arguments(found, DRIVER_CONTAINER)
        except ForbiddenError:
            return None
