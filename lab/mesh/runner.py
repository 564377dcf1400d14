"""One pod on the stand-in kubelet's node: the same steps in the same order as on a real one.

Bind, mount (again and again until it works, with an event each time), run, probe, restart what
ends, ever later, and take it out of service before it is stopped.
"""

import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import httpx2
import msgspec
from lightkube import ApiError, Client
from lightkube.models.authentication_v1 import BoundObjectReference, TokenRequestSpec
from lightkube.models.core_v1 import ObjectReference, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod, PodBinding, ServiceAccountToken

from lab.mesh import addon, csi, istiod, proxy
from lab.mesh.containers import Container
from lab.mesh.files import write_atomically
from lab.mesh.network import Network
from lab.mesh.pods import NODE, Events, RunningPod, Status, remove, timestamp

TOKEN_AUDIENCE: Final = "istio-ca"
TOKEN_SECONDS: Final = 3600

_TICK = 0.05
_PROBE_SECONDS = 1.0
_MOUNT_RETRY_SECONDS = (0.5, 1.0, 2.0)
"""A kubelet's are 0.5 s doubling to 2 min; the lab has less time."""
_RESTART_SECONDS = (0.25, 0.5, 1.0, 2.0)
"""A kubelet's are 10 s doubling to 5 min."""


class Observer(Protocol):
    """Who wants to know which pods serve: the Service, the traffic."""

    def pod_ready(self, pod: RunningPod) -> None:
        """A pod is ready."""

    def pod_leaving(self, pod: RunningPod) -> None:
        """A pod is about to end, or has ended; return when nobody needs it any more."""


@dataclass(frozen=True)
class Node:
    """What the node gives to its pods."""

    client: Client
    network: Network
    directory: Path
    run: Path
    kubeconfig: Path
    driver: csi.Driver
    observers: Sequence[Observer]
    trust: Callable[[str], str | None]
    """Namespace -> root-cert.pem of its ConfigMap; None while there is none."""
    ended: Callable[[str], None]
    """Called with the uid of a pod that has ended."""
    spread: "Spread"


class Spread:
    """Keeps the starts of proxies apart, as image pulls one after the other do on a real node.

    Agents renew half a leaf's life after they have started: pods that start together renew
    together, and would hide how long a mesh is split.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, ending: threading.Event) -> None:
        """Wait for this pod's turn, or until it is to end."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._seconds
        ending.wait(max(0.0, turn - time.monotonic()))


class MountPendingError(Exception):
    """Something that a pod mounts is not there yet; the text is what its event says."""


def program(pod: Pod) -> str | None:
    """Return the name of the container that is a real program here; None for a plain pod."""
    names = [each.name for each in pod.spec.containers] if pod.spec else []
    return next((each for each in (istiod.CONTAINER, proxy.CONTAINER) if each in names), None)


class PodRunner:
    """Runs one pod in a thread of its own until `end`."""

    def __init__(self, node: Node, pod: Pod) -> None:
        metadata, spec = pod.metadata, pod.spec
        container = program(pod)
        if not (metadata and spec and metadata.name and metadata.namespace and metadata.uid):
            raise ValueError("a pod of the API server has a name, a namespace, a uid and a spec")
        if container is None:
            raise ValueError(f"pod {metadata.name} has no program to run")
        self.name = metadata.name
        self.namespace = metadata.namespace
        self.uid = metadata.uid
        self.labels: Mapping[str, str] = dict(metadata.labels or {})
        self.address: str | None = None
        self._kind = container
        self._node = node
        self._spec: PodSpec = spec
        self._directory = node.directory / self.uid
        self._container: Container | None = None
        self._ending = threading.Event()
        self._delete = False
        self._serving: RunningPod | None = None
        self._token_until = 0.0
        self._events = Events(node.client, self.name, self.namespace, self.uid)
        self._status = Status(
            self.name,
            self.namespace,
            self.uid,
            container,
            [each.name for each in spec.initContainers or []],
        )
        self._thread = threading.Thread(target=self._run, name=f"pod {self.name}", daemon=True)

    @property
    def log(self) -> Path:
        """The log of the pod's program, over all its restarts."""
        return self._directory / f"{self._kind}.log"

    @property
    def kind(self) -> str:
        """The container whose program runs: `discovery` or `istio-proxy`."""
        return self._kind

    @property
    def restarts(self) -> int:
        """How often the program has ended and was started again."""
        return self._status.restarts

    @property
    def ready(self) -> bool:
        """Is it in service?"""
        return self._serving is not None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self, *, delete: bool) -> None:
        """Take it out of service and stop it; `delete`: remove the pod's object at the end."""
        self._delete = self._delete or delete
        self._ending.set()

    def join(self, timeout: float = 30.0) -> None:
        """Wait until it has ended."""
        self._thread.join(timeout)

    def crash(self) -> None:
        """End the program at once; the kubelet starts it again with the same mounts."""
        if self._container is not None:
            self._container.kill()

    def trust_changed(self, text: str) -> None:
        """Refresh the mounted ConfigMap istio-ca-root-cert."""
        if self._kind == proxy.CONTAINER and self._directory.is_dir():
            write_atomically(self._directory / proxy.TRUST, {"root-cert.pem": text})

    def _run(self) -> None:
        try:
            self._bind()
            self.address = self._status.address = self._node.network.allocate()
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._status.write(self._node.client)
            if self._mount():
                self._status.initialized = True
                self._container = self._make()
                if self._kind == proxy.CONTAINER:
                    self._node.spread.wait(self._ending)
                self._serve(self._container)
        finally:
            self._finish()

    def _bind(self) -> None:
        if self._spec.nodeName:
            return
        binding = PodBinding(
            metadata=ObjectMeta(name=self.name, namespace=self.namespace),
            target=ObjectReference(apiVersion="v1", kind="Node", name=NODE),
        )
        # The answer to a binding is a Status, which the client cannot read as a Binding.
        with suppress(msgspec.ValidationError):
            self._retry(
                lambda: self._node.client.create(binding, self.name, namespace=self.namespace)
            )

    def _mount(self) -> bool:
        """Mount everything; False when the pod was to end before it worked."""
        for attempt in range(1_000_000):
            try:
                if self._kind == proxy.CONTAINER:
                    self._mount_identity()
                else:
                    self._mount_certificates()
                return True
            except MountPendingError as failure:
                self._events.warn("FailedMount", str(failure))
            delay = _MOUNT_RETRY_SECONDS[min(attempt, len(_MOUNT_RETRY_SECONDS) - 1)]
            if self._ending.wait(delay):
                break
        return False

    def _mount_identity(self) -> None:
        text = self._node.trust(self.namespace)
        if text is None:
            raise MountPendingError(
                'MountVolume.SetUp failed for volume "istiod-ca-cert" :'
                ' configmap "istio-ca-root-cert" not found'
            )
        self.trust_changed(text)
        self._refresh_token()

    def _mount_certificates(self) -> None:
        for volume in self._spec.volumes or []:
            if volume.csi is None or volume.csi.driver != csi.DRIVER:
                continue
            attributes = volume.csi.volumeAttributes or {}
            try:
                provider = addon.read_provider_class(
                    self._node.client, attributes["secretProviderClass"], self.namespace
                )
                self._node.driver.mount(
                    f"{self.namespace}/{self.name}", self._directory / volume.name, provider
                )
            except csi.MountError as failure:
                raise MountPendingError(
                    f'MountVolume.SetUp failed for volume "{volume.name}" : {failure}'
                ) from None

    def _refresh_token(self) -> None:
        """Lay the token by which istiod knows the pod, anew at 80 % of its life as a kubelet does.

        TokenRequest and TokenReview are the real API server's.
        """
        if time.monotonic() < self._token_until:
            return
        account = self._spec.serviceAccountName or "default"
        pod = BoundObjectReference(apiVersion="v1", kind="Pod", name=self.name, uid=self.uid)
        request = ServiceAccountToken(
            metadata=ObjectMeta(name=account, namespace=self.namespace),
            spec=TokenRequestSpec(
                audiences=[TOKEN_AUDIENCE], expirationSeconds=TOKEN_SECONDS, boundObjectRef=pod
            ),
        )
        try:
            answer = self._node.client.create(request, account, namespace=self.namespace)
        except httpx2.HTTPError as error:
            raise MountPendingError(
                f'MountVolume.SetUp failed for volume "istio-token" : {error}'
            ) from None
        if answer.status is None or answer.status.token is None:
            raise MountPendingError('MountVolume.SetUp failed for volume "istio-token" : no token')
        path = self._directory / proxy.TOKEN
        write_atomically(path.parent, {path.name: answer.status.token})
        self._token_until = time.monotonic() + 0.8 * TOKEN_SECONDS

    def _make(self) -> Container:
        environment = {
            each.name: each.value or ""
            for container in self._spec.containers
            if container.name == self._kind
            for each in container.env or []
        }
        revision = self.labels.get(addon.REVISION_LABEL, "default")
        if self.address is None:
            raise AssertionError("a pod has an address before it has a program")
        if self._kind == istiod.CONTAINER:
            certificates = self._directory / addon.VOLUME
            return istiod.Discovery(
                self.name,
                self.address,
                revision=revision,
                directory=self._directory,
                run=self._node.run,
                kubeconfig=self._node.kubeconfig,
                certificates=certificates if certificates.is_dir() else None,
                environment=environment,
            )
        return proxy.Proxy(
            self.name,
            self.address,
            namespace=self.namespace,
            service_account=self._spec.serviceAccountName or "default",
            directory=self._directory,
            run=self._node.run,
            istiod=self._node.network.istiod,
            istiod_name=istiod.service_name(revision),
            environment=environment,
        )

    def _serve(self, container: Container) -> None:
        while not self._ending.is_set():
            container.start()
            self._status.started = timestamp()
            self._status.waiting = None
            self._status.write(self._node.client)
            self._watch(container)
            if self._ending.is_set():
                return
            self._leave_service()
            # What the program has started may outlive it.
            container.kill()
            self._status.last_exit = container.exit_code
            self._status.restarts += 1
            self._status.waiting = "CrashLoopBackOff"
            self._status.message = f"{self._kind} ended with {container.exit_code}"
            self._status.write(self._node.client)
            step = min(self._status.restarts, len(_RESTART_SECONDS)) - 1
            self._ending.wait(_RESTART_SECONDS[step])

    def _watch(self, container: Container) -> None:
        """Probe until the program ends or the pod is to end."""
        probed = 0.0
        while not self._ending.wait(_TICK):
            if container.exit_code is not None:
                return
            interval = _PROBE_SECONDS if self.ready else _TICK
            if time.monotonic() - probed < interval:
                continue
            probed = time.monotonic()
            if container.ready():
                self._enter_service()
            else:
                self._leave_service()
            if self._kind == proxy.CONTAINER:
                try:
                    self._refresh_token()
                except MountPendingError as failure:
                    self._events.warn("FailedMount", str(failure))

    def _enter_service(self) -> None:
        if self._serving is not None or self.address is None:
            return
        self._serving = RunningPod(
            self.name, self.namespace, self.uid, self.address, self._kind, self.labels
        )
        for observer in self._node.observers:
            observer.pod_ready(self._serving)
        self._status.ready = True
        self._status.write(self._node.client)

    def _leave_service(self) -> None:
        if self._serving is None:
            return
        for observer in self._node.observers:
            observer.pod_leaving(self._serving)
        self._serving = None
        self._status.ready = False
        self._status.write(self._node.client)

    def _finish(self) -> None:
        self._leave_service()
        if self._container is not None:
            self._container.stop()
        self._node.driver.unmount(f"{self.namespace}/{self.name}")
        if self.address is not None:
            self._node.network.release(self.address)
        if self._delete:
            # Keys and tokens go with the pod; its log is kept for whoever asks why.
            for entry in self._directory.iterdir() if self._directory.is_dir() else ():
                if entry.is_dir():
                    shutil.rmtree(entry)
            remove(self._node.client, self.name, self.namespace, self.uid)
        self._node.ended(self.uid)

    def _retry(self, request: Callable[[], object]) -> None:
        """Ask the API server until it answers; a refusal is an answer."""
        while not self._ending.is_set():
            try:
                request()
                return
            except ApiError:
                return
            except httpx2.HTTPError:
                self._ending.wait(0.2)
