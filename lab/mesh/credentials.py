"""The cluster's own certificates and kubeconfig files (nothing to do with the mesh's CA).

One authority per cluster signs what the control plane shows and what its clients show. ECDSA
P-256, a year; keys are files of mode 0600 under the lab's state.
"""

import base64
import ipaddress
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=365)

MASTERS = "system:masters"
"""The group that Kubernetes' own RBAC lets do everything."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, as PEM files."""

    certificate: Path
    key: Path


class ClusterAuthority:
    """The authority of one cluster, kept in a folder; made the first time it is asked for."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self.certificate = directory / "ca.crt"
        self._key_file = directory / "ca.key"
        if self.certificate.is_file():
            self._read()
        else:
            self._make()

    def _read(self) -> None:
        loaded = serialization.load_pem_private_key(self._key_file.read_bytes(), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self._key_file}: not an EC key")
        self._key = loaded
        self._subject = x509.load_pem_x509_certificate(self.certificate.read_bytes()).subject

    def _make(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name("kubernetes")
        certificate = (
            _builder(self._subject, self._subject, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        write_private(self._key_file, _pem(self._key))
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *addresses: str, group: str | None = None) -> Pair:
        """Return the pair called `name`, for servers at `addresses` and for clients alike.

        `group` becomes the organisation: the group that the API server sees in a client.
        """
        pair = Pair(self._directory / f"{_file(name)}.crt", self._directory / f"{_file(name)}.key")
        if pair.certificate.is_file() and pair.key.is_file():
            return pair
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = _builder(_name(name, group), self._subject, key).add_extension(
            x509.ExtendedKeyUsage(usages), critical=False
        )
        if addresses:
            alternatives = [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]
            builder = builder.add_extension(
                x509.SubjectAlternativeName(alternatives), critical=False
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        write_private(pair.key, _pem(key))
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return pair

    def signing_key(self, name: str) -> Path:
        """Return a private key without a certificate, for the API server's own tokens."""
        path = self._directory / f"{_file(name)}.key"
        if not path.is_file():
            write_private(path, _pem(ec.generate_private_key(ec.SECP256R1())))
        return path

    def kubeconfig(self, server: str, user: str, group: str, cluster: str) -> str:
        """Return a kubeconfig (JSON, which is YAML) that stands alone: everything is in it."""
        pair = self.issue(user, group=group)
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": cluster,
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": _base64(self.certificate),
                    },
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate-data": _base64(pair.certificate),
                        "client-key-data": _base64(pair.key),
                    },
                }
            ],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
            "current-context": cluster,
        }
        return json.dumps(content, indent=2) + "\n"


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, replacing what was there in one step."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)
    fresh.replace(path)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _LIFE)
    )


def _name(common_name: str, group: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if group:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(attributes)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        # SEC1: the API server's --service-account-key-file does not read PKCS#8.
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")


def _file(name: str) -> str:
    return name.replace(":", "-")
