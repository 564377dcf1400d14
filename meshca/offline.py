"""What the offline machine does: make a root, sign the request of an intermediate.

The certificates follow RFC 5280 and, in what a signing certificate of a mesh is, X509-SVID
section 4: CA:TRUE and keyUsage critical, no extendedKeyUsage, no name constraints.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from meshca import pem
from meshca.bundle import LEAF_TTL
from meshca.ca_rules import Key, issuer_refusals, key_refusals, root_refusals
from meshca.certificates import parse_certificate
from meshca.paths import ISTIOD_NAMES
from meshca.refusals import Refusal, Refused, iso
from meshca.x509_facts import is_usable_key, key_kind, reference, shown, value

ROOT_PATH_LENGTH = 1
"""Room for an intermediate with one more below it. 0 would forbid any, and pulumi-tls, which makes
the generated roots, cannot express it."""


class Algorithm(StrEnum):
    """Key algorithms, spelled as in the stack settings."""

    RSA_2048 = "RSA-2048"
    RSA_3072 = "RSA-3072"
    RSA_4096 = "RSA-4096"
    ECDSA_P256 = "ECDSA-P256"
    ECDSA_P384 = "ECDSA-P384"


def make_key(algorithm: Algorithm) -> Key:
    """A new private key."""
    if algorithm is Algorithm.ECDSA_P256:
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm is Algorithm.ECDSA_P384:
        return ec.generate_private_key(ec.SECP384R1())
    bits = int(algorithm.value.removeprefix("RSA-"))
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def make_root(
    key: Key,
    *,
    common_name: str,
    organization: str | None,
    lifetime: timedelta,
    now: datetime,
) -> x509.Certificate:
    """A self-signed root that is valid from `now` (to the second) on.

    Raises Refused when the name cannot be one, or when the root would break a rule.
    """
    if not common_name.strip() or (organization is not None and not organization.strip()):
        raise Refused(
            [
                Refusal(
                    "bad-name",
                    "a common name or an organization of blanks names nobody",
                    "Give it letters.",
                )
            ]
        )
    attributes = [(NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, common_name)]
    try:
        subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in attributes if text])
    except ValueError:
        raise Refused(
            [
                Refusal(
                    "bad-name",
                    "a common name and an organization have 1 to 64 characters each",
                    "Shorten them (RFC 5280 appendix A.1, ub-common-name).",
                )
            ]
        ) from None
    own_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _ca_certificate(now, lifetime, path_length=ROOT_PATH_LENGTH)
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .add_extension(own_id, critical=False)
    )
    root = builder.sign(key, _digest(key))
    _raise_any(root_refusals(common_name, root, now=now))
    return root


def parse_root(text: str, *, where: str) -> x509.Certificate:
    """The only certificate of what was given as the root. Raises Refused."""
    if any(block.is_private_key for block in pem.blocks(text)):
        # It goes nowhere from here, so this is no reason to replace it.
        raise Refused(
            [
                Refusal(
                    "not-a-certificate",
                    f"--root takes the certificate of the root alone, and {where} holds a private"
                    " key",
                    "Name the file with the certificate there, and the key with --key.",
                )
            ]
        )
    return parse_certificate(text, where=where)


def parse_request(text: str, *, where: str) -> x509.CertificateSigningRequest:
    """The only certificate request of `text`. Raises Refused."""
    blocks = pem.blocks(text)
    der = blocks[0].der if len(blocks) == 1 else None
    if der is None or not blocks[0].label.endswith("CERTIFICATE REQUEST"):
        raise Refused(
            [
                Refusal(
                    "not-a-request",
                    f"{where} does not hold one certificate request and nothing else",
                    "Take the request that the stack exports, or make one with `openssl req -new`.",
                )
            ]
        )
    try:
        request = x509.load_der_x509_csr(der)
        list(request.extensions)
        request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension):
        raise Refused(
            [
                Refusal(
                    "not-a-request",
                    f"{where} is not a certificate request that can be parsed",
                    "Look at it with `openssl req -text -noout -in FILE`, and copy it again.",
                )
            ]
        ) from None
    return request


def sign(
    request: x509.CertificateSigningRequest,
    *,
    name: str,
    root: x509.Certificate,
    root_key: Key,
    lifetime: timedelta,
    now: datetime,
) -> x509.Certificate:
    """The request of an intermediate, signed by a root; `name` is what refusals call it.

    Of the request it takes the subject, the key, and the DNS names and URIs; everything else is
    decided here. Raises Refused, with every reason, when the root cannot sign, when the request
    asks for what the rules forbid, or when what would come out breaks a rule.
    """
    _raise_any(
        [
            *root_refusals("root", root, now=now),
            *key_refusals("root", root, root_key),
            *_request_refusals(request, name=name, root_key=root_key),
        ]
    )
    _raise_any(_lifetime_refusals(lifetime, root=root, now=now))
    certificate = _intermediate(request, root, lifetime, now).sign(root_key, _digest(root_key))
    _raise_any(
        issuer_refusals(name, certificate, root_name="root", root=root, now=now, leaf_ttl=LEAF_TTL)
    )
    return certificate


def encrypted(key: Key, passphrase: bytes) -> str:
    """PKCS#8, encrypted with the best that OpenSSL and cryptography both know (PBES2, AES-256)."""
    encryption = BestAvailableEncryption(passphrase)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def _ca_certificate(
    now: datetime, lifetime: timedelta, *, path_length: int
) -> x509.CertificateBuilder:
    """What a root and an intermediate have in common."""
    start = now.replace(microsecond=0)
    usage = x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
    )


def _intermediate(
    request: x509.CertificateSigningRequest,
    root: x509.Certificate,
    lifetime: timedelta,
    now: datetime,
) -> x509.CertificateBuilder:
    own_id = x509.SubjectKeyIdentifier.from_public_key(request.public_key())
    root_id = value(root, x509.SubjectKeyIdentifier)
    # root_refusals lets no root pass that has none.
    assert root_id is not None
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_id)
    # Istio's own tools/certs puts istiod's name there too; nothing depends on it.
    names = dict.fromkeys([*_requested_names(request), x509.DNSName(ISTIOD_NAMES[0])])
    return (
        _ca_certificate(now, lifetime, path_length=0)
        .subject_name(request.subject)
        .issuer_name(root.subject)
        .public_key(request.public_key())
        .add_extension(own_id, critical=False)
        .add_extension(authority, critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )


def _digest(key: Key) -> hashes.SHA256 | hashes.SHA384:
    """The digest that matches the curve (RFC 5758 section 3.2); SHA-256 for RSA."""
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1):
        return hashes.SHA384()
    return hashes.SHA256()


def _requested_names(request: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    try:
        return list(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _request_refusals(
    request: x509.CertificateSigningRequest, *, name: str, root_key: Key
) -> Iterator[Refusal]:
    """What a request must be by itself; what its certificate must be, `ca_rules` says."""
    weak = _weak_digest(request)
    if weak is not None:
        yield Refusal(
            "weak-signature",
            f"{name} is signed with {weak}",
            "Make the request again with SHA-256: `openssl req -new -sha256`.",
        )
    elif not request.is_signature_valid:
        yield Refusal(
            "bad-request-signature",
            f"{name} is not signed with the key that it asks a certificate for",
            "Make the request again: it was damaged, or somebody put another key into it.",
        )
    key = request.public_key()
    if not is_usable_key(key):
        yield Refusal(
            "key-not-allowed",
            f"{name} asks for a key that not every peer can use ({key_kind(key)})",
            "Use RSA with 2048 bits or more, ECDSA P-256 or ECDSA P-384.",
        )
    elif key == root_key.public_key():
        yield Refusal(
            "key-of-the-root",
            f"{name} asks a certificate for the root's own key",
            "Make a key for the intermediate: the root's never leaves the offline machine.",
        )
    odd = [each for each in _requested_names(request) if not isinstance(each, _ALLOWED_NAMES)]
    if odd:
        kinds = ", ".join(sorted({type(each).__name__ for each in odd}))
        yield Refusal(
            "name-not-allowed",
            f"{name} asks for alternative names of the kind {kinds}",
            "Ask for DNS names and URIs only; a mesh CA needs none at all.",
        )


def _weak_digest(request: x509.CertificateSigningRequest) -> str | None:
    """The digest under a request's signature, when nobody should trust it."""
    try:
        digest = request.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "an unknown digest"
    if digest is None or isinstance(digest, hashes.SHA256 | hashes.SHA384 | hashes.SHA512):
        return None
    return digest.name.upper().replace("SHA", "SHA-", 1)


_ALLOWED_NAMES = (x509.DNSName, x509.UniformResourceIdentifier)


def _lifetime_refusals(
    lifetime: timedelta, *, root: x509.Certificate, now: datetime
) -> Iterator[Refusal]:
    """V7, before signing, in terms of what can be asked for instead."""
    if lifetime <= LEAF_TTL:
        yield Refusal(
            "ends-too-soon",
            f"a certificate of {lifetime.days} day would end no later than a leaf that it signs",
            "Ask for more days with --days, such as the 365 that are the default.",
        )
    if now + lifetime > root.not_valid_after_utc:
        days = (root.not_valid_after_utc - now) // timedelta(days=1)
        yield Refusal(
            "outlives-issuer",
            f"{lifetime.days} days from now are after the root {shown(root.subject)}, which ends"
            f" at {iso(root.not_valid_after_utc)}",
            f"Ask for at most {days} days, or sign with a newer root."
            if days > 1
            else "Sign with a newer root.",
            (reference("root", root),),
        )


def _raise_any(refusals: Iterator[Refusal] | list[Refusal]) -> None:
    found = list(refusals)
    if found:
        raise Refused(found)
