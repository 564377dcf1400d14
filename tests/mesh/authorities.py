"""Roots and issuers for a mesh, made afresh: ECDSA P-256, so that handshakes are cheap.

They follow the rules of `meshca` (key usages, path lengths, key identifiers), which the first
test of the oracle checks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meshca import bundle

Texts = Mapping[str, str]
"""Secret name (root-cert, ca-cert, ca-key, cert-chain) -> PEM text."""


@dataclass(frozen=True)
class Authority:
    """A certificate authority: its certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def serial(self) -> str:
        """The serial number as istiod's log prints it."""
        return f"{self.certificate.serial_number:x}"


def root(name: str) -> Authority:
    """Make a self-signed trust anchor of ten years."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"Root {name}")
    certificate = _sign(subject, key, subject, key, path_length=1, days=3650)
    return Authority(certificate, key)


def issuer(name: str, above: Authority) -> Authority:
    """Make an intermediate of a year under a root."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(
        _subject(f"Issuer {name}"),
        key,
        above.certificate.subject,
        above.key,
        path_length=0,
        days=365,
    )
    return Authority(certificate, key)


def texts(
    trust: Sequence[Authority], signer: Authority, chain: Sequence[Authority] | None = None
) -> Texts:
    """Return the four files of a posture; `chain` is the signer alone unless given."""
    return bundle.make(
        trust=[each.certificate for each in trust],
        signer=signer.certificate,
        chain=[each.certificate for each in chain or (signer,)],
        key=signer.key,
    ).texts()


def _sign(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_name: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    path_length: int,
    days: int,
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lab"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
