"""Reading a real API server: what is seen of istiod, of trust, of pods and of workloads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod

from lab.mesh.pods import Events
from meshca import certificates, cluster_view, restarts
from meshca.cluster_connection import Connection, ForbiddenError, UnreachableError
from meshca.cluster_facts import MeshedPod
from meshca.cluster_view import ClusterView
from meshca.cluster_workloads import ClusterWorkloads
from meshca.evidence import Replica
from meshca.istiod_log import Served
from meshca.refusals import Refused
from meshca.restarts import Target
from meshca.settings import Workload, WorkloadKind
from tests import material
from tests.cluster.istiods import Istiods
from tests.cluster.plane import (
    ISTIOD_NAMESPACE,
    Plane,
    managers,
    workload,
)

pytestmark = pytest.mark.cluster

ROOT = material.authority("CN=Root A,O=Istio")
ISSUER = material.authority("CN=Issuer A1,O=Istio", under=ROOT)


@pytest.fixture
def connection(plane: Plane) -> Iterator[Connection]:
    """Return the administrator's connection."""
    with Connection(plane.kubeconfig) as opened:
        yield opened


@pytest.fixture
def view(connection: Connection) -> ClusterView:
    """Return the cluster as its administrator sees it."""
    return ClusterView(connection)


@pytest.fixture
def workloads(connection: Connection) -> ClusterWorkloads:
    """Return its workloads."""
    return ClusterWorkloads(connection)


@pytest.fixture
def istiods(plane: Plane, namespace: str) -> Iterator[Istiods]:
    """Return two istiods that serve the test's namespace."""
    made = Istiods(plane, [namespace])
    yield made
    made.remove()


def pod(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    """Return the manifest of a pod without an owner."""
    containers = [{"name": "app", "image": "x"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": containers, "terminationGracePeriodSeconds": 30, **spec},
    }


SIDECAR = {"containers": [{"name": "app", "image": "x"}, {"name": "istio-proxy", "image": "x"}]}
NATIVE_SIDECAR = {
    "initContainers": [{"name": "istio-proxy", "image": "x", "restartPolicy": "Always"}]
}


def test_the_clock_is_the_servers(view: ClusterView) -> None:
    """In whole seconds, and not ahead."""
    moment = view.clock()
    assert moment.microsecond == 0
    assert timedelta(0) <= datetime.now(UTC) - moment < timedelta(seconds=5)


def test_istiods_are_seen_as_kubectl_shows_them(
    plane: Plane, view: ClusterView, istiods: Istiods
) -> None:
    """Name, revision, status, readiness, and the CSI mount."""
    istiods.put("istiod-held", held=True, volume=False)
    found = {each.name: each for each in view.istiods()}
    ready, held = found[istiods.pods[0]], found["istiod-held"]
    assert (ready.revision, ready.ready, ready.status) == ("asm-1-29", True, "Running")
    assert (ready.mounts_certificates, held.mounts_certificates) == (True, False)
    assert (held.ready, held.status) == (False, "Pending")


def test_a_replica_shows_the_chain_that_its_log_tells_of(
    view: ClusterView, istiods: Istiods
) -> None:
    """The leaf first; a replica that is not ready shows nothing."""
    istiods.serve(istiods.pods[0], ISSUER.certificate, [ISSUER.certificate])
    istiods.put("istiod-held", held=True)
    chain = (
        Served("CN=Issuer A1,O=Istio", "", "1eaf"),
        Served(
            "CN=Root A,O=Istio", "CN=Issuer A1,O=Istio", f"{ISSUER.certificate.serial_number:x}"
        ),
    )
    assert {replica.name: replica for replica in view.look().replicas} == {
        istiods.pods[0]: Replica(istiods.pods[0], chain),
        istiods.pods[1]: Replica(istiods.pods[1]),
        "istiod-held": Replica("istiod-held", trouble="not ready (Pending)"),
    }


def test_a_log_is_read_on_from_where_it_was(view: ClusterView, istiods: Istiods) -> None:
    """What comes later is seen, and what was seen stays, also when it is rotated away."""
    first, _ = istiods.pods
    istiods.serve(first, ISSUER.certificate, [ISSUER.certificate])
    before = view.look().replicas[0]
    istiods._logs[first].clear()
    istiods.log(first, "Failed to update new Plug-in CA certs: no match")
    after = view.look().replicas[0]
    assert before.refusal is None
    assert after.chain == before.chain
    assert after.refusal is not None
    assert after.refusal.endswith("Failed to update new Plug-in CA certs: no match")


def test_trust_is_read_from_every_namespace(
    plane: Plane, view: ClusterView, istiods: Istiods, namespace: str
) -> None:
    """As fingerprints in order; an unreadable bundle is empty."""
    istiods.trust(namespace, ROOT.pem + ISSUER.pem)
    other = plane.namespace()
    istiods.namespaces = (namespace, other)
    istiods.trust(other, "-----BEGIN CERTIFICATE-----\nhush\n")
    marks = tuple(certificates.fingerprint(each.certificate) for each in (ROOT, ISSUER))
    assert view.trust() == {namespace: marks, other: ()}


def test_meshed_pods_are_those_with_a_proxy(
    plane: Plane, view: ClusterView, namespace: str
) -> None:
    """As a sidecar or as a native one; not without, and not once they have ended."""
    plane.hold(namespace)
    plane.apply(pod(namespace, "sidecar", **SIDECAR))
    plane.apply(pod(namespace, "native", **NATIVE_SIDECAR))
    plane.apply(pod(namespace, "plain"))
    plane.apply(pod(namespace, "over", **SIDECAR))
    plane.client.patch(Pod.Status, "over", {"status": {"phase": "Succeeded"}}, namespace=namespace)
    found = [each.name for each in view.meshed_pods() if each.namespace == namespace]
    assert sorted(found) == ["native", "sidecar"]


def test_a_meshed_pod_has_age_and_owner(plane: Plane, view: ClusterView, namespace: str) -> None:
    """Age in the API server's time; ownerless ones show none."""
    before = view.clock()
    plane.apply(workload("StatefulSet", namespace, "db", meshed=True))
    plane.apply(pod(namespace, "alone", **SIDECAR))
    deadline = time.monotonic() + 10.0
    found: dict[str, MeshedPod] = {}
    while len(found) < 2 and time.monotonic() < deadline:
        found = {each.name: each for each in view.meshed_pods() if each.namespace == namespace}
    assert (found["db-0"].owner, found["alone"].owner) == ("StatefulSet db", "")
    assert all(before <= each.created <= view.clock() for each in found.values())


def test_progress_is_told_by_the_page(
    plane: Plane, view: ClusterView, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of pods read so far, and all of them at the end."""
    monkeypatch.setattr(cluster_view, "PAGE", 2)
    for number in range(5):
        plane.apply(pod(namespace, f"p{number}"))
    told: list[int] = []
    list(view.meshed_pods(told.append))
    total = sum(1 for _ in plane.client.list(Pod, namespace="*"))
    assert told == [*range(2, total + 1, 2), total]


def test_the_newest_mount_failure_of_a_pod_is_seen(
    plane: Plane, view: ClusterView, istiods: Istiods
) -> None:
    """As the kubelet writes it into the pod's events."""
    first = istiods.pods[0]
    events = Events(plane.client, first, ISTIOD_NAMESPACE, "uid")
    events.warn("FailedMount", "RESPONSE 404: SecretNotFound")
    time.sleep(1.1)
    events.warn("FailedMount", "RESPONSE 403: Forbidden")
    assert view.mount_failures()[first] == "RESPONSE 403: Forbidden"


def test_the_drivers_arguments_are_seen(plane: Plane, view: ClusterView) -> None:
    """Those of its DaemonSet in kube-system, where AKS runs it."""
    driver = workload("DaemonSet", "kube-system", "aks-secrets-store-csi-driver")
    driver["metadata"]["labels"] = {"app": "secrets-store-csi-driver"}
    container = driver["spec"]["template"]["spec"]["containers"][0]
    container |= {"name": "secrets-store", "args": ["--enable-secret-rotation=true"]}
    assert view.driver_arguments() is None
    plane.apply(driver)
    try:
        assert view.driver_arguments() == ("--enable-secret-rotation=true",)
    finally:
        plane.empty("kube-system")


def selected(namespace: str, kind: WorkloadKind | None = None, **labels: str) -> Workload:
    """Return workloads by their labels."""
    return Workload.model_validate(
        {"namespace": namespace, "kind": kind, "selector": labels}
        if kind
        else {"namespace": namespace, "selector": labels}
    )


def test_a_selector_finds_workloads_of_every_kind(
    plane: Plane, workloads: ClusterWorkloads, namespace: str
) -> None:
    """Or of the kind that it names."""
    for kind in WorkloadKind:
        plane.apply(workload(kind, namespace, str(kind).lower(), labels={"tier": "web"}))
    plane.apply(workload("Deployment", namespace, "other"))
    every = workloads.matching(selected(namespace, tier="web"))
    some = workloads.matching(selected(namespace, WorkloadKind.DEPLOYMENT))
    assert {target.kind for target in every} == set(WorkloadKind)
    assert {target.name for target in some} == {"deployment", "other"}


def deployment(namespace: str, name: str = "web") -> Target:
    """Return a Deployment as a target."""
    return Target(namespace, name, WorkloadKind.DEPLOYMENT)


def test_a_workload_that_can_restart_has_nothing_against_it(
    plane: Plane, workloads: ClusterWorkloads, namespace: str
) -> None:
    """And is left as it was."""
    plane.apply(workload("Deployment", namespace, "web"))
    before = plane.client.get(Deployment, "web", namespace=namespace).metadata
    assert workloads.why_not(deployment(namespace)) is None
    after = plane.client.get(Deployment, "web", namespace=namespace).metadata
    assert before is not None
    assert after is not None
    assert after.generation == before.generation


@pytest.mark.parametrize(
    ("kind", "spec", "id_", "reason"),
    [
        (None, {}, "workload-missing", "does not exist"),
        ("Deployment", {"paused": True}, "workload-stuck", "is paused"),
        (
            "DaemonSet",
            {"updateStrategy": {"type": "OnDelete"}},
            "workload-stuck",
            "has the update strategy OnDelete, so its pods stay until somebody deletes them",
        ),
    ],
    ids=["missing", "paused", "on delete"],
)
def test_a_workload_that_would_not_restart_is_refused_beforehand(
    plane: Plane,
    workloads: ClusterWorkloads,
    namespace: str,
    kind: str | None,
    spec: dict[str, Any],
    id_: str,
    reason: str,
) -> None:
    """By name, and with what to do."""
    if kind is not None:
        plane.apply(workload(kind, namespace, "web", **spec))
    target = Target(namespace, "web", WorkloadKind(kind or "Deployment"))
    refusal = workloads.why_not(target)
    assert refusal is not None
    assert (refusal.id, refusal.reason) == (id_, f"{target} {reason}")


def test_whoever_may_not_patch_a_workload_is_told_beforehand(plane: Plane, namespace: str) -> None:
    """With the API server's own words for it."""
    plane.apply(workload("Deployment", namespace, "web"))
    plane.allow("reader", namespace, ["get"], ["deployments"])
    with Connection(plane.user("reader")) as connection:
        refusal = ClusterWorkloads(connection).why_not(deployment(namespace))
    assert refusal is not None
    assert refusal.id == "workload-forbidden"
    assert 'User "reader" cannot patch resource "deployments"' in refusal.reason


def restarted(plane: Plane, namespace: str) -> None:
    """Restart the Deployment `web` as the program does."""
    plane.apply(workload("Deployment", namespace, "web"))
    plane.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {"template": {"metadata": {"annotations": {restarts.ANNOTATION: "1"}}}},
        },
        manager=restarts.FIELD_MANAGER,
    )


def test_a_released_workload_keeps_its_annotation_and_has_no_owner_of_it(
    plane: Plane, workloads: ClusterWorkloads, namespace: str
) -> None:
    """The program's field manager is gone."""
    restarted(plane, namespace)
    workloads.release(deployment(namespace))
    live = plane.client.get(Deployment, "web", namespace=namespace)
    assert live.spec is not None
    assert live.spec.template.metadata is not None
    assert (live.spec.template.metadata.annotations or {})[restarts.ANNOTATION] == "1"
    assert restarts.FIELD_MANAGER not in managers(live)


def test_whoever_applies_the_workload_again_does_not_restart_it(
    plane: Plane, workloads: ClusterWorkloads, namespace: str
) -> None:
    """Helm's or Argo CD's own manifest has no such annotation, and does not take it away."""
    restarted(plane, namespace)
    workloads.release(deployment(namespace))
    before = plane.client.get(Deployment, "web", namespace=namespace).metadata
    plane.apply(workload("Deployment", namespace, "web"))
    after = plane.client.get(Deployment, "web", namespace=namespace).metadata
    assert before is not None
    assert after is not None
    assert after.generation == before.generation


@pytest.mark.parametrize("name", ["web", "gone"], ids=["never restarted", "gone"])
def test_there_may_be_nothing_to_release(
    plane: Plane, workloads: ClusterWorkloads, namespace: str, name: str
) -> None:
    """No error."""
    plane.apply(workload("Deployment", namespace, "web"))
    workloads.release(deployment(namespace, name))


def test_what_is_forbidden_is_told_in_the_api_servers_words(plane: Plane) -> None:
    """Trying again would not help."""
    with Connection(plane.user("intern")) as connection, pytest.raises(ForbiddenError) as caught:
        ClusterView(connection).may_look()
    assert 'User "intern" cannot list resource "pods"' in str(caught.value)


def test_an_api_server_that_is_not_there_may_come_back(plane: Plane) -> None:
    """It is another kind of error: trying again may help."""
    elsewhere = plane.kubeconfig.replace(":6443", ":6444")
    assert elsewhere != plane.kubeconfig
    with Connection(elsewhere) as connection, pytest.raises(UnreachableError):
        ClusterView(connection).look()


def test_a_kubeconfig_of_another_context_can_be_chosen(plane: Plane) -> None:
    """By the name of the cluster, as `az aks get-credentials` names contexts."""
    with pytest.raises(Refused) as caught:
        Connection(plane.kubeconfig, context="other")
    assert "Context 'other' not found" in str(caught.value)
