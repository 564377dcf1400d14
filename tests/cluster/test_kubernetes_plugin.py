"""The plug-in `kubernetes` against a real API server: what pulumi-kubernetes does, it does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from lightkube.resources.apps_v1 import DaemonSet, Deployment, StatefulSet
from pulumi.runtime.proto import provider_pb2

from lab.kubernetes.provider import Kubernetes
from lab.provider.values import encode
from tests.cluster.plane import HELD, Plane, managers, pods, workload
from tests.lab.driver import Driver, driving, refused

pytestmark = pytest.mark.cluster

KINDS = {"Deployment": Deployment, "StatefulSet": StatefulSet, "DaemonSet": DaemonSet}
DEPLOYMENT = "kubernetes:apps/v1:DeploymentPatch"
MANAGER = "the-program"
ANNOTATION = "the-program/restarted-for"


@pytest.fixture
def kubernetes(plane: Plane) -> Iterator[Driver]:
    """Return the plug-in, configured for the control plane's administrator."""
    with driving(Kubernetes()) as driver:
        driver.configure(kubeconfig=plane.kubeconfig)
        yield driver


def patch(
    namespace: str, name: str, value: str, *, kind: str = "Deployment", **annotations: str
) -> dict[str, Any]:
    """Return the inputs of a patch of one annotation of the pod template."""
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {"pulumi.com/patchFieldManager": MANAGER, **annotations},
        },
        "spec": {"template": {"metadata": {"annotations": {ANNOTATION: value}}}},
    }


def rolled_out(plane: Plane, namespace: str, name: str) -> int:
    """Return how many rollouts a Deployment has had, its first included, once it is idle."""
    for _ in range(200):
        live = plane.client.get(Deployment, name, namespace=namespace)
        status, metadata = live.status, live.metadata
        assert metadata is not None
        if (
            status is not None
            and status.observedGeneration == metadata.generation
            and status.updatedReplicas == status.replicas == status.availableReplicas == 1
        ):
            return int((metadata.annotations or {})["deployment.kubernetes.io/revision"])
        time.sleep(0.05)
    raise AssertionError(f"{name} does not come to rest: {live.status}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_patch_restarts_the_workload_and_waits_for_the_rollout(
    plane: Plane, kubernetes: Driver, namespace: str, kind: str
) -> None:
    """When create returns, all pods carry the annotation."""
    plane.apply(workload(kind, namespace, "web"))
    kubernetes.create(f"kubernetes:apps/v1:{kind}Patch", patch(namespace, "web", "1", kind=kind))
    found = [pod.metadata for pod in pods(plane, namespace)]
    assert found
    assert all(each and (each.annotations or {}).get(ANNOTATION) == "1" for each in found)


def test_the_patch_owns_its_annotation_under_its_own_name(
    plane: Plane, kubernetes: Driver, namespace: str
) -> None:
    """The field manager is the one that the annotation pulumi.com/patchFieldManager names."""
    plane.apply(workload("Deployment", namespace, "web"))
    state = kubernetes.create(DEPLOYMENT, patch(namespace, "web", "1"))
    live = plane.client.get(Deployment, "web", namespace=namespace)
    assert (MANAGER in managers(live), state.outputs["__fieldManager"]) == (True, MANAGER)


def test_a_field_manager_is_made_up_when_none_is_named(
    plane: Plane, kubernetes: Driver, namespace: str
) -> None:
    """Its name is random, and the state remembers it."""
    plane.apply(workload("Deployment", namespace, "web"))
    inputs = patch(namespace, "web", "1")
    del inputs["metadata"]["annotations"]
    manager = kubernetes.create(DEPLOYMENT, inputs).outputs["__fieldManager"]
    assert manager.startswith("pulumi-kubernetes-")
    assert manager in managers(plane.client.get(Deployment, "web", namespace=namespace))


def test_a_patch_of_a_missing_workload_is_refused_in_the_api_servers_own_words(
    kubernetes: Driver, namespace: str
) -> None:
    """Not as "not found": the API server takes it for a new object, which lacks its selector."""
    with refused() as refusals:
        kubernetes.create(DEPLOYMENT, patch(namespace, "nowhere", "1"))
    assert refusals[0].code is grpc.StatusCode.INVALID_ARGUMENT
    assert "spec.selector: Required value" in refusals[0].message


def test_a_preview_of_a_create_asks_nobody(kubernetes: Driver, namespace: str) -> None:
    """A missing target shows only at `up`."""
    inputs = patch(namespace, "nowhere", "1")
    assert kubernetes.preview_create(DEPLOYMENT, inputs) == inputs


def test_a_preview_of_an_update_changes_nothing(
    plane: Plane, kubernetes: Driver, namespace: str
) -> None:
    """It is a dry run: the outputs show the new value, the object keeps the old one."""
    plane.apply(workload("Deployment", namespace, "web"))
    state = kubernetes.create(DEPLOYMENT, patch(namespace, "web", "1"))
    previewed = kubernetes.update(state, patch(namespace, "web", "2"), preview=True)
    shown = previewed.outputs["spec"]["template"]["metadata"]["annotations"][ANNOTATION]
    live = plane.client.get(Deployment, "web", namespace=namespace)
    assert live.spec is not None
    assert live.spec.template.metadata is not None
    kept = (live.spec.template.metadata.annotations or {})[ANNOTATION]
    assert (shown, kept) == ("2", "1")


def test_the_same_patch_again_is_no_rollout(
    plane: Plane, kubernetes: Driver, namespace: str
) -> None:
    """Applying the same value twice leaves the pods alone."""
    plane.apply(workload("Deployment", namespace, "web"))
    state = kubernetes.create(DEPLOYMENT, patch(namespace, "web", "1"))
    before = rolled_out(plane, namespace, "web")
    kubernetes.update(state, patch(namespace, "web", "1"))
    assert (before, rolled_out(plane, namespace, "web")) == (2, 2)


def test_the_same_inputs_show_no_difference(
    plane: Plane, kubernetes: Driver, namespace: str
) -> None:
    """What others own of the object is pruned away before the comparison."""
    plane.apply(workload("Deployment", namespace, "web"))
    state = kubernetes.create(DEPLOYMENT, patch(namespace, "web", "1"))
    answer = kubernetes.diff(state, patch(namespace, "web", "1"))
    assert answer.changes == provider_pb2.DiffResponse.DIFF_NONE


def test_another_name_is_another_object(plane: Plane, kubernetes: Driver, namespace: str) -> None:
    """A change of name or namespace replaces; of the annotation, it does not."""
    plane.apply(workload("Deployment", namespace, "web"))
    state = kubernetes.create(DEPLOYMENT, patch(namespace, "web", "1"))
    renamed = list(kubernetes.diff(state, patch(namespace, "shop", "1")).replaces)
    changed = list(kubernetes.diff(state, patch(namespace, "web", "2")).replaces)
    assert (renamed, changed) == (["metadata.name"], [])


def test_a_delete_takes_the_annotation_away_and_so_restarts_once_more(
    plane: Plane, kubernetes: Driver, namespace: str
) -> None:
    """Why the program retains its patches."""
    plane.apply(workload("Deployment", namespace, "web"))
    state = kubernetes.create(DEPLOYMENT, patch(namespace, "web", "1"))
    kubernetes.delete(state)
    assert rolled_out(plane, namespace, "web") == 3


def test_a_delete_of_a_patch_of_nothing_succeeds(
    plane: Plane, kubernetes: Driver, namespace: str
) -> None:
    """The workload may be gone before its patch."""
    plane.apply(workload("Deployment", namespace, "web"))
    state = kubernetes.create(DEPLOYMENT, patch(namespace, "web", "1"))
    plane.client.delete(Deployment, "web", namespace=namespace)
    kubernetes.delete(state)
    assert kubernetes.read(state) is None


def test_a_conflict_with_another_manager_is_an_error(
    plane: Plane, kubernetes: Driver, namespace: str
) -> None:
    """It names the field and the other manager."""
    plane.apply(workload("Deployment", namespace, "web"))
    taken = {**patch(namespace, "web", "theirs")}
    taken["metadata"] = {"name": "web", "namespace": namespace}
    plane.apply(taken, manager="argocd-controller")
    with refused() as refusals:
        kubernetes.create(DEPLOYMENT, patch(namespace, "web", "1"))
    assert 'conflict with "argocd-controller"' in refusals[0].message
    assert f".spec.template.metadata.annotations.{ANNOTATION}" in refusals[0].message


def test_force_takes_a_field_over(plane: Plane, kubernetes: Driver, namespace: str) -> None:
    """With the annotation pulumi.com/patchForce there is no conflict."""
    plane.apply(workload("Deployment", namespace, "web"))
    taken = {**patch(namespace, "web", "theirs")}
    taken["metadata"] = {"name": "web", "namespace": namespace}
    plane.apply(taken, manager="argocd-controller")
    forced = patch(namespace, "web", "1", **{"pulumi.com/patchForce": "true"})
    state = kubernetes.create(DEPLOYMENT, forced)
    assert state.outputs["spec"]["template"]["metadata"]["annotations"][ANNOTATION] == "1"


def test_a_rollout_that_does_not_end_is_a_partial_failure(
    plane: Plane, kubernetes: Driver, namespace: str
) -> None:
    """After the resource's own timeout the state is kept, and the reasons say what is missing."""
    plane.apply(workload("Deployment", namespace, "web", pod_labels={HELD: "true"}))
    with refused() as refusals:
        kubernetes.stub.Create(
            provider_pb2.CreateRequest(
                urn=f"urn:pulumi:dev::project::{DEPLOYMENT}::web",
                properties=encode(patch(namespace, "web", "1")),
                timeout=0.5,
            )
        )
    partial = refusals[0].partial
    assert partial is not None
    assert partial.id == f"{namespace}/web"
    assert "the new ReplicaSet is not available" in partial.reasons[0]


def test_a_refresh_reads_the_fields_that_the_inputs_hold(
    plane: Plane, kubernetes: Driver, namespace: str
) -> None:
    """A value that somebody changed by hand comes into the inputs, and nothing else does."""
    plane.apply(workload("Deployment", namespace, "web"))
    state = kubernetes.create(DEPLOYMENT, patch(namespace, "web", "1"))
    changed = patch(namespace, "web", "by hand")
    changed["metadata"] = {"name": "web", "namespace": namespace}
    plane.apply(changed, manager="kubectl")
    live = kubernetes.read(state)
    assert live is not None
    assert live.inputs == patch(namespace, "web", "by hand")


def test_whoever_may_not_patch_is_told_so(plane: Plane, namespace: str) -> None:
    """The API server's own refusal, with the user and the verb."""
    plane.apply(workload("Deployment", namespace, "web"))
    with driving(Kubernetes()) as driver, refused() as refusals:
        driver.configure(kubeconfig=plane.user("intern"))
        driver.create(DEPLOYMENT, patch(namespace, "web", "1"))
    assert refusals[0].code is grpc.StatusCode.PERMISSION_DENIED
    assert 'User "intern" cannot patch resource "deployments"' in refusals[0].message
