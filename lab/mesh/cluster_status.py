"""What there is to see of a cluster: pods, rollouts, events, istiods' certificates, traffic."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from lightkube import Client
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Event, Pod

from lab.azure.data_plane import MeshCluster
from lab.mesh import istiod, istiod_log, pods, workloads
from lab.mesh.runner import PodRunner
from lab.mesh.traffic import Phase

NAMESPACES: Final = (istiod.NAMESPACE, workloads.NAMESPACE)
"""Of the add-on and of the workloads."""


def is_rolled_out(client: Client) -> bool:
    """Tell whether every Deployment has all its pods, and all of them of its current template."""
    deployments = [
        each for namespace in NAMESPACES for each in client.list(Deployment, namespace=namespace)
    ]
    return all(
        each.metadata
        and each.spec
        and each.status
        and (each.status.observedGeneration or 0) >= (each.metadata.generation or 0)
        and each.status.updatedReplicas == each.status.availableReplicas == each.spec.replicas
        for each in deployments
    )


def read(
    client: Client, cluster: MeshCluster | None, istiods: Iterable[PodRunner], traffic: Phase
) -> dict[str, Any]:
    """Return the status as JSON. Raises httpx2.HTTPError when the API server does not answer."""
    listed = [
        _pod(namespace, pod)
        for namespace in NAMESPACES
        for pod in client.list(Pod, namespace=namespace)
    ]
    events = [
        {"pod": each.involvedObject.name, "reason": each.reason, "message": each.message}
        for each in client.list(Event, namespace=istiod.NAMESPACE)
        if each.type == "Warning"
    ]
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
            for each in istiods
        },
        "traffic": {"handshakes": traffic.handshakes, "failed": traffic.failed},
    }


def describe(status: Mapping[str, Any]) -> str:
    """Return a status as a few lines of text, for people and for error messages."""
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


def _pod(namespace: str, pod: Pod) -> dict[str, Any]:
    statuses = (pod.status.containerStatuses if pod.status else None) or []
    return {
        "namespace": namespace,
        "name": pod.metadata.name if pod.metadata else "",
        "ready": pods.is_ready(pod),
        "status": pods.shown(pod),
        "restarts": sum(each.restartCount for each in statuses),
    }
