"""A name is used again by the next pod of a StatefulSet: late events must not be taken for it."""

from __future__ import annotations

import pytest
from lightkube.resources.core_v1 import Pod

from lab.mesh.pods import is_ready, tend
from tests.cluster.plane import HELD, Plane

pytestmark = pytest.mark.cluster


def replaced(plane: Plane, namespace: str) -> Pod:
    """Let one pod take the name of another; return the one that is gone. Neither gets ready."""
    spec = {"containers": [{"name": "app", "image": "x"}]}
    metadata = {"name": "web-0", "namespace": namespace, "labels": {HELD: ""}}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    plane.apply(manifest)
    first = plane.client.get(Pod, "web-0", namespace=namespace)
    plane.client.delete(Pod, "web-0", namespace=namespace, grace_period=0)
    plane.apply(manifest)
    return first


def test_a_late_event_of_a_deleted_pod_leaves_its_successor_alone(
    plane: Plane, namespace: str
) -> None:
    """The deletion of the first pod, seen only now, does not end the second."""
    first = replaced(plane, namespace)
    assert first.metadata is not None
    first.metadata.deletionTimestamp = first.metadata.creationTimestamp
    tend(plane.client, first)
    live = plane.client.get(Pod, "web-0", namespace=namespace)
    assert live.metadata is not None
    assert live.metadata.uid != first.metadata.uid


def test_a_late_event_of_a_pod_does_not_make_its_successor_ready(
    plane: Plane, namespace: str
) -> None:
    """The status of the first pod, written only now, is refused by the API server."""
    tend(plane.client, replaced(plane, namespace))
    assert not is_ready(plane.client.get(Pod, "web-0", namespace=namespace))
