"""A mesh with nothing wrong: its certificates, the ledger of its stack, and a crowd of pods."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lightkube import codecs

from lab.mesh.credentials import write_private
from meshca import bundle, certificates, evidence
from meshca.ledger import Access, Ledger, Record
from meshca.refusals import CertificateRef
from meshca.rotation import Intermediate, Pace, Phase, posture
from tests import material
from tests.cluster.plane import Plane

TODAY = datetime.now(UTC).replace(microsecond=0)
ROOT = material.authority(
    "CN=Root A,O=Istio", start=TODAY - timedelta(days=1), end=TODAY + timedelta(days=900)
)
ISSUER = material.authority(
    "CN=Issuer A1,O=Istio",
    under=ROOT,
    start=TODAY - timedelta(days=1),
    end=TODAY + timedelta(days=400),
)
FILES = bundle.Bundle(root_cert=ROOT.pem, ca_cert=ISSUER.pem, ca_key=None, cert_chain=ISSUER.pem)


def _record(name: str, authority: material.Authority, root: str | None) -> Record:
    certificate = authority.certificate
    return Record(
        CertificateRef(
            name, certificates.fingerprint(certificate), certificate.not_valid_after_utc
        ),
        root,
        evidence.serial(certificate),
    )


LEDGER = Ledger(
    1,
    "steady a1",
    posture(Phase.STEADY, Intermediate("a1", "a")),
    TODAY - timedelta(days=1),
    Pace(timedelta(hours=24), timedelta(minutes=2), timedelta(minutes=5)),
    records={"a": _record("a", ROOT, None), "a1": _record("a1", ISSUER, "a")},
    access=Access("/subscriptions/1/resourceGroups/g/providers/x/vaults/kv", "0b1ec7"),
    mesh=True,
)
"""What the stack of this mesh has recorded."""


def arguments(plane: Plane, directory: Path) -> tuple[str, ...]:
    """How `verify` is told of this mesh: a kubeconfig and a ledger, written to `directory`."""
    kubeconfig, ledger = directory / "kubeconfig", directory / "ledger.json"
    write_private(kubeconfig, plane.kubeconfig.encode())
    ledger.write_text(json.dumps(LEDGER.as_json()))
    return ("--kubeconfig", str(kubeconfig), "--ledger", str(ledger))


def crowd(plane: Plane, namespace: str, count: int) -> None:
    """Fill a namespace with meshed pods, which never get ready."""
    plane.hold(namespace)
    variables = [{"name": f"VARIABLE_{number}", "value": "x" * 40} for number in range(20)]
    containers = [{"name": name, "image": "x", "env": variables} for name in ("app", "istio-proxy")]
    for number in range(count):
        plane.client.create(
            codecs.from_dict(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": f"p{number:04}", "namespace": namespace},
                    "spec": {"containers": containers},
                }
            )
        )
