"""Certificate authorities in every shape, sound or not, and the four files made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID

Files = dict[str, bytes]
"""File name in istiod's cacerts directory -> content."""

ROOT_CERT: Final = "root-cert.pem"
CA_CERT: Final = "ca-cert.pem"
CA_KEY: Final = "ca-key.pem"
CERT_CHAIN: Final = "cert-chain.pem"

SIGNS: Final = ("key_cert_sign", "crl_sign")
UNKNOWN_EXTENSION: Final = x509.UnrecognizedExtension(
    x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"
)

_ROOT_LIFE = timedelta(days=3650)
_ISSUER_LIFE = timedelta(days=365)


@dataclass(frozen=True)
class Ca:
    """A certificate authority."""

    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        return pem(self.certificate)


@dataclass(frozen=True)
class Shape:
    """What an authority looks like; the defaults are sound."""

    key: str = "P-256"
    is_ca: bool | None = True
    """None leaves basicConstraints out."""
    path_length: int | None = None
    usages: Sequence[str] | None = SIGNS
    """Names as in x509.KeyUsage; None leaves keyUsage out."""
    extended: Sequence[x509.ObjectIdentifier] = ()
    names: Sequence[x509.GeneralName] = ()
    permitted: Sequence[x509.GeneralName] = ()
    starts: timedelta = timedelta(hours=-1)
    ends: timedelta | None = None
    """None: ten years for a root, one for an issuer."""
    subject_key_id: bool = True
    authority_key_id: bytes | bool = True
    """True: of the issuer's key; bytes: these instead."""
    critical: x509.UnrecognizedExtension | None = None
    nameless: bool = False


def make(name: str, above: Ca | None = None, shape: Shape | None = None) -> Ca:
    """Make an authority under another one, or self-signed."""
    shape = shape or Shape()
    key = make_key(shape.key)
    issuer_key = above.key if above else key
    subject = _subject("" if shape.nameless else name)
    now = datetime.now(UTC)
    ends = shape.ends or (_ISSUER_LIFE if above else _ROOT_LIFE)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above.certificate.subject if above else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + shape.starts)
        .not_valid_after(now + ends)
    )
    for extension, critical in _extensions(shape, key, issuer_key):
        builder = builder.add_extension(extension, critical)
    digest = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Ca(builder.sign(issuer_key, digest), key)


def make_key(kind: str) -> CertificateIssuerPrivateKeyTypes:
    """Make a key: `P-256`, `RSA-2048`, `Ed25519` and the like."""
    if kind.startswith("RSA-"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("RSA-")))
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    curves: dict[str, ec.EllipticCurve] = {
        "P-224": ec.SECP224R1(),
        "P-256": ec.SECP256R1(),
        "P-384": ec.SECP384R1(),
        "P-521": ec.SECP521R1(),
    }
    return ec.generate_private_key(curves[kind])


def files(trust: Sequence[Ca], signer: Ca, chain: Sequence[Ca] | None = None) -> Files:
    """Return the four files; `chain` is the signer alone unless given."""
    return {
        ROOT_CERT: b"".join(each.pem for each in trust),
        CA_CERT: signer.pem,
        CA_KEY: key_pem(signer.key),
        CERT_CHAIN: b"".join(each.pem for each in (chain if chain is not None else [signer])),
    }


def pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(
    key: CertificateIssuerPrivateKeyTypes, *, traditional: bool = False, password: bytes = b""
) -> bytes:
    """Return a key as PKCS#8, or as PKCS#1 or SEC1, or encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL
        if traditional
        else serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )


def der(ca: Ca) -> bytes:
    """Return a certificate in binary form."""
    return ca.certificate.public_bytes(serialization.Encoding.DER)


def relabel(text: bytes, old: str, new: str) -> bytes:
    """Return PEM text under another label, its content as it was."""
    for line in ("BEGIN", "END"):
        text = text.replace(f"-----{line} {old}-----".encode(), f"-----{line} {new}-----".encode())
    return text


def corrupt(text: bytes) -> bytes:
    """Return a PEM block whose content is no certificate."""
    return relabel(b"-----BEGIN X-----\nAAAA\n-----END X-----\n", "X", _label(text))


def one_line(text: bytes) -> bytes:
    """Return a PEM block with its base64 on a single line."""
    first, *body, last = text.decode("ascii").splitlines()
    return f"{first}\n{''.join(body)}\n{last}\n".encode()


def revocation_list(ca: Ca, *, current: bool = True) -> bytes:
    """Return an empty CRL; one that is not `current` is past its next update."""
    now = datetime.now(UTC)
    ends = now + timedelta(days=1) if current else now - timedelta(days=1)
    key = ca.key
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(now - timedelta(days=2))
        .next_update(ends)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(_public(key)), critical=False
        )
        .sign(key, digest)
        .public_bytes(serialization.Encoding.PEM)
    )


def _extensions(
    shape: Shape, key: CertificateIssuerPrivateKeyTypes, issuer: CertificateIssuerPrivateKeyTypes
) -> list[tuple[x509.ExtensionType, bool]]:
    made: list[tuple[x509.ExtensionType, bool]] = []
    if shape.is_ca is not None:
        length = shape.path_length if shape.is_ca else None
        made.append((x509.BasicConstraints(shape.is_ca, length), True))
    if shape.usages is not None:
        made.append((_usage(shape.usages), True))
    if shape.extended:
        made.append((x509.ExtendedKeyUsage(shape.extended), False))
    if shape.names:
        made.append((x509.SubjectAlternativeName(shape.names), False))
    if shape.permitted:
        made.append((x509.NameConstraints(shape.permitted, None), True))
    if shape.subject_key_id:
        made.append((x509.SubjectKeyIdentifier.from_public_key(_public(key)), False))
    if isinstance(shape.authority_key_id, bytes):
        made.append((x509.AuthorityKeyIdentifier(shape.authority_key_id, None, None), False))
    elif shape.authority_key_id:
        made.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(_public(issuer)), False))
    if shape.critical is not None:
        made.append((shape.critical, True))
    return made


def _public(
    key: CertificateIssuerPrivateKeyTypes,
) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        return public
    raise TypeError(f"no test uses keys of the type {type(key).__name__}")


def _usage(names: Sequence[str]) -> x509.KeyUsage:
    known = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in names for name in known})


def _subject(name: str) -> x509.Name:
    if not name:
        return x509.Name([])
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lab"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _label(text: bytes) -> str:
    return text.split(b"-----BEGIN ")[1].split(b"-----")[0].decode("ascii")
