"""What is known of the pods of a cluster, whoever has read it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class MeshedPod:
    """A pod with an Istio proxy that has not ended."""

    namespace: str
    name: str
    created: datetime
    ending: bool
    """Whether it is being deleted: it serves on until its grace period is over."""
    owner: str
    """What it belongs to, such as `ReplicaSet web-5d4`; empty for a pod of its own."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class IstiodPod:
    """An istiod pod, as far as its start and its volume tell."""

    name: str
    revision: str
    ending: bool
    ready: bool
    status: str
    """As `kubectl get pods` shows it, such as `Running` or `Init:0/2`."""
    mounts_certificates: bool
    """Whether the plug-in CA is among its volumes, by the Secrets Store CSI driver."""
