"""Keys, requests and certificates as the real `tls` provider makes them, limits included.

The real one fills Go's x509.Certificate template. What that does is kept here as measured (facts:
lab.md 3): `max_path_length` 0 is lost, a subject key identifier is there only when asked for, a
locally signed certificate takes its authority key identifier from the issuer's subject key
identifier, notBefore is now. `cryptography` does the work.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier

from lab.tls.names import EXTENDED_USES, KEY_USAGES, MaterialError

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_CURVES: Final[dict[str, type[ec.EllipticCurve]]] = {
    "P224": ec.SECP224R1, "P256": ec.SECP256R1, "P384": ec.SECP384R1, "P521": ec.SECP521R1,
}  # fmt: skip

_SUBJECT: Final[tuple[tuple[str, ObjectIdentifier], ...]] = (
    ("country", NameOID.COUNTRY_NAME),
    ("organization", NameOID.ORGANIZATION_NAME),
    ("organizationalUnit", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ("locality", NameOID.LOCALITY_NAME),
    ("province", NameOID.STATE_OR_PROVINCE_NAME),
    ("streetAddresses", NameOID.STREET_ADDRESS),
    ("postalCode", NameOID.POSTAL_CODE),
    ("commonName", NameOID.COMMON_NAME),
    ("serialNumber", NameOID.SERIAL_NUMBER),
    ("emailAddress", NameOID.EMAIL_ADDRESS),
)
"""The order in which Go writes a name's attributes."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a certificate is to be like, beyond its subject and names."""

    hours: int
    uses: Sequence[str]
    is_ca: bool
    max_path_length: int | None
    subject_key_id: bool


def make_key(algorithm: str, rsa_bits: int, curve: str) -> Key:
    """Return a new private key; algorithm is RSA, ECDSA or ED25519."""
    if algorithm == "RSA":
        return rsa.generate_private_key(65537, rsa_bits)
    if algorithm == "ECDSA":
        return ec.generate_private_key(_CURVES[curve]())
    return ed25519.Ed25519PrivateKey.generate()


def load_key(pem: str, where: str) -> Key:
    """Return the private key in a PEM text; MaterialError names the input `where`."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise MaterialError(f"{where} is no unencrypted private key in PEM") from None
    if not isinstance(key, Key):
        raise MaterialError(f"{where} is a key of a kind that tls does not support")
    return key


def algorithm_of(key: Key | PublicKey) -> str:
    """Return RSA, ECDSA or ED25519."""
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return "RSA"
    return "ECDSA" if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) \
        else "ED25519"  # fmt: skip


def private_pem(key: Key, form: serialization.PrivateFormat) -> str:
    """Return the unencrypted PEM of a private key in the given format."""
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    return key.private_bytes(encoding, form, plain).decode()


def public_der(key: Key | PublicKey) -> bytes:
    """Return the DER of the SubjectPublicKeyInfo."""
    public = key.public_key() if isinstance(key, Key) else key
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def request(key: Key, subject: Mapping[str, Any], names: Sequence[x509.GeneralName]) -> str:
    """Return a certificate request in PEM."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(distinguished_name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not subject)
    signed = builder.sign(key, _digest(key))
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def load_request(pem: str) -> x509.CertificateSigningRequest:
    """Return the request in a PEM text whose signature holds; MaterialError otherwise."""
    try:
        found = x509.load_pem_x509_csr(pem.encode())
        valid = found.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        raise MaterialError("certRequestPem is no certificate request in PEM") from None
    if not valid:
        raise MaterialError("the signature of certRequestPem does not hold")
    return found


def self_sign(
    key: Key,
    subject: Mapping[str, Any],
    names: Sequence[x509.GeneralName],
    wish: Wish,
    *,
    authority_key_id: bool,
) -> x509.Certificate:
    """Return a certificate that its own key signs."""
    name = distinguished_name(subject)
    builder = _builder(name, name, key.public_key(), names, wish)
    if authority_key_id:
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = _with_authority(builder, own.digest)
    return builder.sign(key, _digest(key))


def sign(
    found: x509.CertificateSigningRequest, issuer_pem: str, issuer_key: Key, wish: Wish
) -> x509.Certificate:
    """Return a certificate for a request, signed by an issuer."""
    try:
        issuer = x509.load_pem_x509_certificate(issuer_pem.encode())
    except ValueError:
        raise MaterialError("caCertPem is no certificate in PEM") from None
    if public_der(issuer_key) != issuer.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    ):
        raise MaterialError("caPrivateKeyPem is not the key of caCertPem")
    public = found.public_key()
    if not isinstance(public, PublicKey):
        raise MaterialError("certRequestPem holds a key of a kind that tls does not support")
    names = _names_in(found.extensions)
    builder = _builder(found.subject, issuer.subject, public, names, wish)
    identifier = _subject_key_id(issuer)
    if identifier is not None and found.subject != issuer.subject:
        builder = _with_authority(builder, identifier)
    return builder.sign(issuer_key, _digest(issuer_key))


def alternative_names(
    dns: Sequence[str], addresses: Sequence[str], uris: Sequence[str]
) -> list[x509.GeneralName]:
    """Return the subject alternative names, in Go's order: DNS, addresses, URIs."""
    return [
        *(x509.DNSName(name) for name in dns),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
        *(x509.UniformResourceIdentifier(uri) for uri in uris),
    ]


def distinguished_name(subject: Mapping[str, Any]) -> x509.Name:
    """Return the name that a `subject` block means."""
    attributes = []
    for field, oid in _SUBJECT:
        given = subject.get(field, [])
        values = [given] if isinstance(given, str) else given
        attributes += [x509.NameAttribute(oid, value) for value in values]
    return x509.Name(attributes)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: PublicKey,
    names: Sequence[x509.GeneralName],
    wish: Wish,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(hours=wish.hours))
    )
    bits = {KEY_USAGES[use] for use in wish.uses if use in KEY_USAGES}
    if bits:
        flags = {name: name in bits for name in KEY_USAGES.values()}
        builder = builder.add_extension(x509.KeyUsage(**flags), critical=True)
    purposes = [ObjectIdentifier(EXTENDED_USES[use]) for use in wish.uses if use in EXTENDED_USES]
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    # Go's template without MaxPathLenZero: a path length of 0 means none at all.
    length = wish.max_path_length if wish.is_ca and (wish.max_path_length or 0) > 0 else None
    constraints = x509.BasicConstraints(ca=wish.is_ca, path_length=length)
    builder = builder.add_extension(constraints, critical=True)
    if wish.subject_key_id:
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key), critical=False
        )
    if names:
        critical = not list(subject)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=critical)
    return builder


def _with_authority(builder: x509.CertificateBuilder, identifier: bytes) -> x509.CertificateBuilder:
    extension = x509.AuthorityKeyIdentifier(identifier, None, None)
    return builder.add_extension(extension, critical=False)


def _subject_key_id(certificate: x509.Certificate) -> bytes | None:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    return found.value.digest


def _names_in(extensions: x509.Extensions) -> list[x509.GeneralName]:
    try:
        return list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _digest(key: Key) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    if isinstance(key, rsa.RSAPrivateKey):
        return hashes.SHA256()
    match key.curve.key_size:
        case 384:
            return hashes.SHA384()
        case 521:
            return hashes.SHA512()
        case _:
            return hashes.SHA256()
