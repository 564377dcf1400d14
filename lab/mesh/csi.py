"""Stand-in for the Secrets Store CSI driver with its Azure provider, as AKS runs it.

Kept from the real ones: one GET per object and poll, one after the other; any failure fails the
whole round and the files that are there stay; all files of a round appear in one atomic step; a
pod polls by itself, so that two istiods never read at the same moment; without rotation nothing
is read after the mount. (Azure provider pkg/provider/provider.go; AKS: "Secrets Store CSI driver
configuration options".)
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.azure import data_plane
from lab.azure.account import VAULT_DNS_SUFFIX
from lab.azure.errors import AzureError
from lab.mesh.files import write_atomically

DRIVER = "secrets-store.csi.k8s.io"

_TICK = 0.05
_GOLDEN = 0.618
"""Multiples of it, modulo one, spread any number of mounts evenly over an interval."""


class MountError(Exception):
    """The volume could not be read; the text is what the pod's FailedMount event says."""


@dataclass(frozen=True, slots=True)
class SecretProviderClass:
    """What to read: the vault, and (object name, file name) in the order in which it is read."""

    vault: str
    objects: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Poll:
    """One round of reading: when it ended (epoch seconds), what changed, what went wrong."""

    at: float
    changed: bool
    error: str | None = None


class Driver:
    """The driver of one cluster's node."""

    def __init__(self, state: Path, cluster: str, poll: float | None = None) -> None:
        """Serve the cluster with ARM id `cluster` from the local cloud in `state`.

        `poll` replaces the configured rotationPollInterval, in seconds; infinity means that
        nothing is read unless `Mount.poll` is called.
        """
        self._state = state
        self._cluster = cluster
        self._poll = poll
        self._mounts: dict[str, Mount] = {}
        self._mounted = 0
        self._lock = threading.Lock()

    def mount(self, pod: str, directory: Path, provider: SecretProviderClass) -> "Mount":
        """Read the objects into `directory` for the first time. Raises MountError."""
        with self._lock:
            self._mounted += 1
            # Pods that start together do not poll together for long on a real cluster either.
            share = self._mounted * _GOLDEN % 1.0
        mount = Mount(self, pod, directory, provider, share)
        mount.read()
        with self._lock:
            self._mounts[pod] = mount
        mount.start()
        return mount

    def unmount(self, pod: str) -> None:
        """Stop reading for a pod; its files stay for whoever cleans up its folder."""
        with self._lock:
            mount = self._mounts.pop(pod, None)
        if mount is not None:
            mount.stop()

    @property
    def mounts(self) -> Sequence["Mount"]:
        """The volumes that are mounted now, oldest first."""
        with self._lock:
            return tuple(self._mounts.values())

    def interval(self) -> float:
        """Seconds between two rounds of one pod; infinity without rotation."""
        cluster = self._configured()
        if cluster is None or not cluster.rotation:
            return float("inf")
        return cluster.poll_seconds if self._poll is None else self._poll

    def fetch(self, pod: str, provider: SecretProviderClass) -> Mapping[str, str]:
        """Return file name -> text, read one after the other. Raises MountError."""
        cluster = self._configured()
        if cluster is None or not cluster.addon or cluster.identity is None:
            raise MountError(
                "kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name"
                f" {DRIVER} not found in the list of registered CSI drivers"
            )
        files = {}
        for name, file in provider.objects:
            try:
                files[file] = data_plane.read_secret(
                    self._state, vault=provider.vault, name=name, principal=cluster.identity
                )
            except AzureError as error:
                raise MountError(_provider_error(pod, provider.vault, name, error)) from None
        return files

    def _configured(self) -> data_plane.MeshCluster | None:
        for cluster in data_plane.mesh(self._state):
            if cluster.id == self._cluster:
                return cluster
        return None


class Mount:
    """One pod's volume, and the thread that keeps it fresh."""

    def __init__(
        self,
        driver: Driver,
        pod: str,
        directory: Path,
        provider: SecretProviderClass,
        share: float,
    ) -> None:
        """`share`: the first round comes after this part of an interval, the next after whole."""
        self.pod = pod
        self.directory = directory
        self.last: Poll | None = None
        self._driver = driver
        self._provider = provider
        self._share = share
        self._stopped = threading.Event()
        self._reading = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"csi {pod}", daemon=True)

    def start(self) -> None:
        """Start to poll at the driver's interval."""
        self._thread.start()

    def stop(self) -> None:
        """Stop polling; returns when no round is under way any more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def read(self) -> bool:
        """Read everything and swap it in; tell whether it changed. Raises MountError."""
        with self._reading:
            files = self._driver.fetch(self.pod, self._provider)
            changed = write_atomically(self.directory, files)
            self.last = Poll(time.time(), changed)
            return changed

    def poll(self) -> Poll:
        """Do one round now, as the driver does: a failure is kept, the old files stay."""
        try:
            self.read()
        except MountError as failure:
            self.last = Poll(time.time(), False, str(failure))
        if self.last is None:
            raise AssertionError("a round leaves its result")
        return self.last

    def _run(self) -> None:
        began, share = time.monotonic(), self._share
        while not self._stopped.wait(_TICK):
            # Asked for each time: the interval may change while the pod runs.
            if time.monotonic() - began >= self._driver.interval() * share:
                began, share = time.monotonic(), 1.0
                self.poll()


def _provider_error(pod: str, vault: str, name: str, error: AzureError) -> str:
    """The text in which driver and provider wrap an answer of Key Vault."""
    return (
        f"rpc error: code = Unknown desc = failed to mount secrets store objects for pod {pod},"
        " err: rpc error: code = Unknown desc = failed to mount objects, error: failed to get"
        f" objectType:secret, objectName:{name}, objectVersion:: GET"
        f" https://{vault}.{VAULT_DNS_SUFFIX}/secrets/{name}/ RESPONSE {error.status}"
        f" ERROR CODE: {error.code} MESSAGE: {error.message}"
    )
