"""The mesh that the documents speak of: roots a and b, issuers a1, a2 and b1, steady in a1."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from meshca import certificates, offline
from tests.engine.workspace import Workspace

ROOTS = ("a", "b")
ISSUERS = ("a1", "a2", "b1")
"""An issuer's root is its first letter."""

CONFIGURATION: dict[str, Any] = {
    "rotationPhase": "steady",
    "activeIssuer": "a1",
    "leafTtl": "1s",
    "slack": "1s",
    "roots": {name: {"certificate": f"certificates/root-{name}.pem"} for name in ROOTS},
    "issuers": {
        name: {"root": name[0], "certificate": f"certificates/{name}.pem", "key": "secret"}
        for name in ISSUERS
    },
    "cluster": {
        "name": "mesh",
        "resourceGroup": "mesh",
        "revisions": ["asm-1-29"],
        "rotationPollInterval": "1s",
    },
    "keyVault": {"name": "mesh-ca", "accessModel": "accessPolicy"},
}


def steady_mesh(directory: Path) -> Workspace:
    """A stack that has converged; its certificates are made afresh."""
    mesh = Workspace(directory)
    mesh.configure(CONFIGURATION)
    make_certificates(mesh)
    for _ in range(2):
        mesh.done()
    return mesh


def make_certificates(mesh: Workspace) -> None:
    """Certificates as files beside the program, keys in the secure configuration."""
    folder = mesh.directory / "certificates"
    folder.mkdir()
    now = datetime.now(UTC) - timedelta(days=1)
    roots = {}
    for name in ROOTS:
        key = offline.make_key(offline.Algorithm.ECDSA_P256)
        root = offline.make_root(
            key,
            common_name=f"Mesh root {name}",
            organization="Example",
            lifetime=timedelta(days=3650),
            now=now,
        )
        roots[name] = (root, key)
        (folder / f"root-{name}.pem").write_text(certificates.encode(root))
    for name in ISSUERS:
        root, root_key = roots[name[0]]
        key = offline.make_key(offline.Algorithm.ECDSA_P256)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Mesh issuer {name}")])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject)
        issuer = offline.sign(
            request.sign(key, hashes.SHA256()),
            name=name,
            root=root,
            root_key=root_key,
            lifetime=timedelta(days=365),
            now=now,
        )
        (folder / f"{name}.pem").write_text(certificates.encode(issuer))
        mesh.set_secret(f"issuerKeys.{name}", certificates.encode_key(key))
