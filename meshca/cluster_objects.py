"""Kubernetes objects as the facts that are judged: pods, trust bundles, events. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from lightkube.models.core_v1 import Container
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import DaemonSet
from lightkube.resources.core_v1 import ConfigMap, Event, Pod

from meshca import certificates
from meshca.cluster_facts import IstiodPod, MeshedPod
from meshca.refusals import Refused

PROXY: Final = "istio-proxy"
"""The container of every meshed pod, gateways included; with native sidecars an init container."""

TRUST: Final = "istio-ca-root-cert"
"""The ConfigMap with what a namespace trusts; istiod writes it."""

TRUST_KEY: Final = "root-cert.pem"

VOLUME: Final = "cacerts"
CSI_DRIVER: Final = "secrets-store.csi.k8s.io"

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


def metadata_of(found: Any) -> ObjectMeta:
    """An object's metadata, which the API server never leaves out."""
    metadata: ObjectMeta = found.metadata
    return metadata


def has_ended(pod: Pod) -> bool:
    """Whether a pod runs no more."""
    return pod.status is not None and pod.status.phase in ("Succeeded", "Failed")


def has_proxy(pod: Pod) -> bool:
    """Whether a pod is part of the mesh."""
    if pod.spec is None:
        return False
    containers: list[Container] = [*pod.spec.containers, *(pod.spec.initContainers or [])]
    return any(container.name == PROXY for container in containers)


def meshed_pod(pod: Pod) -> MeshedPod:
    """What is known of a pod that `has_proxy`."""
    metadata = metadata_of(pod)
    owners = metadata.ownerReferences or []
    return MeshedPod(
        namespace=str(metadata.namespace),
        name=str(metadata.name),
        created=metadata.creationTimestamp or _NEVER,
        ending=metadata.deletionTimestamp is not None,
        owner=f"{owners[0].kind} {owners[0].name}" if owners else "",
    )


def istiod_pod(pod: Pod) -> IstiodPod:
    """What is known of an istiod."""
    metadata, spec, status = metadata_of(pod), pod.spec, pod.status
    conditions = (status.conditions if status else None) or []
    return IstiodPod(
        name=str(metadata.name),
        revision=(metadata.labels or {}).get("istio.io/rev", ""),
        ending=metadata.deletionTimestamp is not None,
        ready=any(each.type == "Ready" and each.status == "True" for each in conditions),
        status=_status(pod),
        mounts_certificates=any(
            volume.name == VOLUME and volume.csi is not None and volume.csi.driver == CSI_DRIVER
            for volume in ((spec.volumes if spec else None) or [])
        ),
    )


def _status(pod: Pod) -> str:
    """What `kubectl get pods` shows in its STATUS column."""
    status = pod.status
    if status is None:
        return "Pending"
    inits = status.initContainerStatuses or []
    done = sum(1 for each in inits if each.state and each.state.terminated)
    if done < len(inits):
        return f"Init:{done}/{len(inits)}"
    for each in status.containerStatuses or []:
        if each.state and each.state.waiting and each.state.waiting.reason:
            return each.state.waiting.reason
    return status.phase or "Pending"


def roots(bundle: ConfigMap) -> tuple[str, ...]:
    """SHA-256 of each root in a trust bundle, in order; () for an unreadable one."""
    return _fingerprints((bundle.data or {}).get(TRUST_KEY, ""))


@lru_cache(maxsize=256)  # one text for most of the namespaces
def _fingerprints(bundle: str) -> tuple[str, ...]:
    try:
        found = certificates.parse_certificates(bundle, where=TRUST)
    except Refused:
        return ()
    return tuple(certificates.fingerprint(certificate) for certificate in found)


def newest_messages(events: Iterable[Event]) -> dict[str, str]:
    """Name of the object that events are about -> the message of the newest of them."""
    newest: dict[str, tuple[datetime, str]] = {}
    for event in events:
        about, message = str(event.involvedObject.name), event.message or ""
        at = event.lastTimestamp or metadata_of(event).creationTimestamp or _NEVER
        if about not in newest or at >= newest[about][0]:
            newest[about] = (at, message)
    return {about: message for about, (_, message) in newest.items()}


def arguments(sets: Iterable[DaemonSet], container: str) -> tuple[str, ...] | None:
    """How the first container of this name is started; None where there is none."""
    for each in sets:
        template = each.spec.template.spec if each.spec else None
        for found in template.containers if template else []:
            if found.name == container:
                return tuple(found.args or ())
    return None
