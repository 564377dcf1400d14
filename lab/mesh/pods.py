"""What a pod looks like from outside: the status and the events that a kubelet writes."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2
from lightkube import ApiError, Client, codecs
from lightkube.resources.core_v1 import Event, Pod
from lightkube.types import PatchType

NODE = "aks-lab-vmss000000"


@dataclass(frozen=True, slots=True)
class RunningPod:
    """A pod that has an address, as the rest of the lab sees it."""

    name: str
    namespace: str
    uid: str
    address: str
    container: str
    labels: Mapping[str, str]


@dataclass
class Status:
    """The parts of a pod's status that change; `write` sends them to the API server."""

    pod: str
    namespace: str
    uid: str
    container: str
    init_containers: Sequence[str] = ()
    address: str | None = None
    initialized: bool = False
    ready: bool = False
    restarts: int = 0
    waiting: str | None = "ContainerCreating"
    """Why the container does not run, or None when it runs."""
    message: str = ""
    started: str | None = None
    last_exit: int | None = None

    def write(self, client: Client) -> None:
        """Write the status. A pod that is gone, also one whose name another bears now, or an API
        server that is away, is no error here: whoever calls will find out by itself.
        """
        try:
            client.patch(
                Pod.Status,
                self.pod,
                {"metadata": {"uid": self.uid}, "status": self._document()},
                namespace=self.namespace,
                patch_type=PatchType.MERGE,
            )
        except httpx2.HTTPError:
            return

    def _document(self) -> dict[str, Any]:
        now = timestamp()
        return {
            "phase": "Running" if self.initialized and self.waiting is None else self._phase(),
            "podIP": self.address,
            "podIPs": [{"ip": self.address}] if self.address else None,
            "startTime": self.started or now,
            "conditions": [
                {"type": kind, "status": str(value), "lastTransitionTime": now}
                for kind, value in (
                    ("PodScheduled", True),
                    ("Initialized", self.initialized),
                    ("ContainersReady", self.ready),
                    ("Ready", self.ready),
                )
            ],
            "initContainerStatuses": [self._init(name) for name in self.init_containers] or None,
            "containerStatuses": [self._container()],
        }

    def _phase(self) -> str:
        return "Running" if self.restarts else "Pending"

    def _init(self, name: str) -> dict[str, Any]:
        done = {"terminated": {"exitCode": 0, "reason": "Completed"}}
        return {
            **_program(name),
            "ready": self.initialized,
            "state": done if self.initialized else {"waiting": {"reason": "PodInitializing"}},
        }

    def _container(self) -> dict[str, Any]:
        state: dict[str, Any] = {"running": {"startedAt": self.started}}
        if self.waiting is not None:
            hanging_in_init = self.init_containers and not self.initialized
            reason = "PodInitializing" if hanging_in_init else self.waiting
            state = {"waiting": {"reason": reason, "message": self.message or None}}
        last = {"terminated": {"exitCode": self.last_exit, "reason": "Error"}}
        return {
            **_program(self.container),
            "restartCount": self.restarts,
            "ready": self.ready,
            "started": self.ready,
            "state": state,
            "lastState": last if self.last_exit is not None else {},
        }


class Events:
    """The events about one pod: a repeated one is counted, as a kubelet's are."""

    def __init__(self, client: Client, pod: str, namespace: str, uid: str) -> None:
        self._client = client
        self._reference = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod,
            "namespace": namespace,
            "uid": uid,
        }
        self._counts: dict[tuple[str, str], tuple[str, int]] = {}

    def warn(self, reason: str, message: str) -> None:
        """Write a warning, or count it up when it is there already."""
        name, count = self._counts.get((reason, message), ("", 0))
        try:
            if name:
                self._client.patch(
                    Event,
                    name,
                    {"count": count + 1, "lastTimestamp": timestamp()},
                    namespace=self._reference["namespace"],
                    patch_type=PatchType.MERGE,
                )
            else:
                name = f"{self._reference['name']}.{secrets.token_hex(8)}"
                self._client.create(codecs.from_dict(self._event(name, reason, message)))
        except (ApiError, httpx2.HTTPError):
            return
        self._counts[reason, message] = (name, count + 1)

    def _event(self, name: str, reason: str, message: str) -> dict[str, Any]:
        now = timestamp()
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": self._reference["namespace"]},
            "involvedObject": self._reference,
            "reason": reason,
            "message": message,
            "type": "Warning",
            "source": {"component": "kubelet", "host": NODE},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }


def tend(client: Client, pod: Pod) -> None:
    """Do a kubelet's part for a pod that has no process here: it is ready at once, and gone as soon
    as it is deleted.
    """
    metadata, spec = pod.metadata, pod.spec
    if metadata is None or spec is None:
        return
    name, namespace, uid = str(metadata.name), str(metadata.namespace), str(metadata.uid)
    if metadata.deletionTimestamp:
        remove(client, name, namespace, uid)
    elif not is_ready(pod):
        inits = [each.name for each in spec.initContainers or []]
        status = Status(name, namespace, uid, spec.containers[0].name, inits)
        status.initialized = status.ready = True
        status.waiting, status.started = None, timestamp()
        status.write(client)


def remove(client: Client, name: str, namespace: str, uid: str) -> None:
    """Take away the object of a pod whose containers have ended, when it is still there.

    The next pod of a StatefulSet bears the same name: what a late event tells of the first must
    not be done to the second.
    """
    try:
        live = client.get(Pod, name, namespace=namespace)
        if live.metadata and live.metadata.uid == uid:
            client.delete(Pod, name, namespace=namespace, grace_period=0)
    except httpx2.HTTPError:
        return


def shown(pod: Pod) -> str:
    """Return what `kubectl get pods` shows in its STATUS column, such as `Init:0/2`."""
    status = pod.status
    if pod.metadata and pod.metadata.deletionTimestamp:
        return "Terminating"
    if status is None:
        return "Pending"
    inits = status.initContainerStatuses or []
    done = sum(1 for each in inits if each.state and each.state.terminated)
    if done < len(inits):
        return f"Init:{done}/{len(inits)}"
    for each in status.containerStatuses or []:
        if each.state and each.state.waiting:
            return each.state.waiting.reason or "Waiting"
    return status.phase or "Pending"


def is_ready(pod: Pod) -> bool:
    """Tell whether the pod's Ready condition is true."""
    conditions = pod.status.conditions if pod.status else None
    return any(each.type == "Ready" and each.status == "True" for each in conditions or [])


def timestamp() -> str:
    """Return now, as Kubernetes writes moments."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _program(name: str) -> dict[str, Any]:
    image = f"lab/{name}"
    return {"name": name, "image": image, "imageID": "", "restartCount": 0}
