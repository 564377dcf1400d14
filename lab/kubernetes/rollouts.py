"""When a rollout is done, by the status that the real controllers write.

Deployment: provider/pkg/await/deployment.go; StatefulSet: statefulset.go; DaemonSet: the rules of
cli-utils' kstatus, which daemonset.go asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.kubernetes.api import Object


def unfinished(live: Object) -> list[str]:
    """Return what is still missing from the rollout of a workload; nothing when it is done."""
    status: dict[str, Any] = live.get("status") or {}
    if status.get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        return [f"the controller has not seen generation {live['metadata']['generation']} yet"]
    of_kind = {"Deployment": _deployment, "StatefulSet": _stateful_set, "DaemonSet": _daemon_set}
    return list(of_kind[live["kind"]](live["spec"], status))


def _deployment(spec: dict[str, Any], status: dict[str, Any]) -> Iterator[str]:
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    progressing = conditions.get("Progressing", {})
    if progressing.get("reason") != "NewReplicaSetAvailable":
        updated, wanted = status.get("updatedReplicas", 0), spec.get("replicas", 1)
        yield f"the new ReplicaSet is not available ({updated} of {wanted} pods updated)"
        if progressing.get("status") == "False":
            yield str(progressing.get("message"))
    if conditions.get("Available", {}).get("status") != "True":
        yield "minimum number of live pods was not attained"


def _stateful_set(spec: dict[str, Any], status: dict[str, Any]) -> Iterator[str]:
    wanted = spec.get("replicas", 1)
    updated = status.get("updatedReplicas", 0)
    # Between the end of an old pod and the start of its successor there is nothing to update, and
    # the controller calls the revision current.
    if status.get("updateRevision") != status.get("currentRevision") or updated < wanted:
        yield f"{updated} of {wanted} pods updated"
    if status.get("readyReplicas", 0) < wanted:
        yield f"{status.get('readyReplicas', 0)} of {wanted} pods ready"


def _daemon_set(spec: dict[str, Any], status: dict[str, Any]) -> Iterator[str]:
    wanted = status.get("desiredNumberScheduled", 0)
    for name, word in (
        ("updatedNumberScheduled", "updated"),
        ("numberAvailable", "available"),
        ("numberReady", "ready"),
    ):
        if status.get(name, 0) < wanted:
            yield f"{status.get(name, 0)} of {wanted} pods {word}"
