"""Stand-ins for istiod on the control plane: pods, a log and ConfigMaps, all as a test says.

The pods are real objects; what istiod would log goes to the log that the API server hands out,
and what it would write to each namespace is written to the namespaces of the test.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx2
from cryptography import x509
from lightkube.resources.core_v1 import ConfigMap, Pod

from lab.azure import data_plane
from lab.azure.errors import AzureError
from lab.mesh.pods import NODE, is_ready
from meshca import bundle, certificates
from tests.cluster.plane import ISTIOD_NAMESPACE, Plane

TRUST = "istio-ca-root-cert"


class Istiods:
    """Some replicas of istiod, and the namespaces that they serve."""

    def __init__(self, plane: Plane, namespaces: Sequence[str], replicas: int = 2) -> None:
        """Create the pods, which get ready like any other."""
        self._plane = plane
        self.namespaces = tuple(namespaces)
        stamp = f"{time.monotonic_ns():x}"
        self.pods = [f"istiod-asm-1-29-{stamp}-{number}" for number in range(replicas)]
        self._logs: dict[str, list[str]] = {pod: [] for pod in self.pods}
        plane.ensure_namespace(ISTIOD_NAMESPACE)
        for pod in self.pods:
            self.put(pod)
        self.wait_until_ready()

    def put(self, pod: str, *, held: bool = False, volume: bool = True) -> None:
        """Create an istiod pod. `held` pods do not get ready; `volume`: has it the CSI mount?"""
        source = {
            "name": "cacerts",
            "csi": {
                "driver": "secrets-store.csi.k8s.io",
                "readOnly": True,
                "volumeAttributes": {"secretProviderClass": "istio-spc-asm-1-29"},
            },
        }
        labels = {
            "app": "istiod",
            "istio.io/rev": "asm-1-29",
            **({"test/held": ""} if held else {}),
        }
        self._plane.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": pod, "namespace": ISTIOD_NAMESPACE, "labels": labels},
                "spec": {
                    "nodeName": NODE,
                    "containers": [{"name": "discovery", "image": "x"}],
                    "volumes": [source] if volume else [],
                    "terminationGracePeriodSeconds": 0,
                },
            }
        )
        self._plane.write_log(pod, "")

    def wait_until_ready(self) -> None:
        """Return when all pods are."""
        deadline = time.monotonic() + 20.0
        client = self._plane.client
        while not all(
            is_ready(client.get(Pod, pod, namespace=ISTIOD_NAMESPACE)) for pod in self.pods
        ):
            if time.monotonic() > deadline:
                raise AssertionError("the stand-in istiods do not get ready")
            time.sleep(0.05)

    def log(self, pod: str, *lines: str) -> None:
        """Append lines to a replica's log, stamped now."""
        for line in lines:
            stamp = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
            self._logs[pod].append(f"{stamp}\tinfo\t{line}\n")
            time.sleep(0.00001)
        self._plane.write_log(pod, "".join(self._logs[pod]))

    def serve(self, pod: str, signer: x509.Certificate, chain: Sequence[x509.Certificate]) -> None:
        """Log what a replica logs when it has taken signer and chain."""
        leaf = f'Issuer: "{_name(signer.subject)}", Subject: "", SN: 1eaf, NotBefore: ""'
        above = [
            f'Issuer: "{_name(each.issuer)}", Subject: "{_name(each.subject)}",'
            f' SN: {each.serial_number:x}, NotBefore: ""'
            for each in chain
        ]
        lines = [f"x509 cert - {line}" for line in (leaf, *above)]
        self.log(pod, "Update Istiod cacerts", *lines, "Istiod certificates are reloaded")

    def trust(self, namespace: str, text: str) -> None:
        """Write the bundle that a namespace trusts."""
        self._plane.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": TRUST,
                    "namespace": namespace,
                    "labels": {"istio.io/config": "true"},
                },
                "data": {"root-cert.pem": text},
            }
        )

    def take(self, files: bundle.Bundle) -> None:
        """Show a bundle: every replica, every namespace."""
        signer = certificates.parse_certificate(files.ca_cert, where="ca-cert")
        chain = certificates.parse_certificates(files.cert_chain, where="cert-chain")
        for pod in self.pods:
            self.serve(pod, signer, chain)
        for namespace in self.namespaces:
            self.trust(namespace, files.root_cert)

    def remove(self) -> None:
        """Delete what was created."""
        client = self._plane.client
        client.deletecollection(Pod, namespace=ISTIOD_NAMESPACE, grace_period=0)
        for namespace in self.namespaces:
            try:
                client.delete(ConfigMap, TRUST, namespace=namespace)
            except httpx2.HTTPError:
                continue

    @contextmanager
    def following(self, state: Path) -> Iterator[None]:
        """Take whatever the only vault of a local cloud holds, twice a second, meanwhile."""
        stop = threading.Event()
        taken: bundle.Bundle | None = None

        def follow() -> None:
            nonlocal taken
            while not stop.wait(0.2):
                found = _mounted(state)
                if found is not None and found != taken:
                    taken = found
                    self.take(found)

        thread = threading.Thread(target=follow, name="stand-in istiods", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _mounted(state: Path) -> bundle.Bundle | None:
    [cluster] = data_plane.mesh(state)
    plugin = cluster.plugin
    if plugin is None or plugin.vault is None or cluster.identity is None:
        return None
    vault, principal = plugin.vault, cluster.identity
    try:
        root, cert, chain = (
            data_plane.read_secret(state, vault=vault, name=name, principal=principal)
            for name in ("root-cert", "ca-cert", "cert-chain")
        )
    except AzureError:
        return None
    return bundle.Bundle(root_cert=root, ca_cert=cert, ca_key=None, cert_chain=chain)


def _name(subject: x509.Name) -> str:
    return str(subject.rfc4514_string())
