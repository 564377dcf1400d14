"""Facts of one certificate, or of a certificate and the one above it. Facts only: the rules that
judge them are in `ca_rules` and `paths`.
"""

import warnings
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import PublicKeyAlgorithmOID

from meshca.refusals import CertificateRef

ExtensionValue = TypeVar("ExtensionValue", bound=x509.ExtensionType)

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
"""Go's crypto/tls (checkKeySize) and BoringSSL refuse a longer RSA key in a peer's chain."""


def extension(
    certificate: x509.Certificate, kind: type[ExtensionValue]
) -> x509.Extension[ExtensionValue] | None:
    """The extension of that kind, or None when the certificate has none."""
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def value(certificate: x509.Certificate, kind: type[ExtensionValue]) -> ExtensionValue | None:
    """The value of that extension, or None when the certificate has none."""
    found = extension(certificate, kind)
    return found.value if found else None


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER, lower-case hex, as the secrets' tags and the refusals carry it."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def reference(name: str, certificate: x509.Certificate) -> CertificateRef:
    """The certificate as a refusal names it."""
    return CertificateRef(name, fingerprint(certificate), certificate.not_valid_after_utc)


def serial_number(certificate: x509.Certificate) -> int:
    """Its serial number, without cryptography's warning: the rules refuse what is not positive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return certificate.serial_number


def shown(name: x509.Name) -> str:
    """A distinguished name for a terminal: RFC 4514, without anything that a terminal obeys."""
    text = name.rfc4514_string()
    return "".join(letter if letter.isprintable() else "?" for letter in text) or "(empty)"


def same_name(one: x509.Name, other: x509.Name) -> bool:
    """Whether two names are the same bytes.

    Go compares them so; BoringSSL folds case and string types first. Only what both take as equal
    chains everywhere.
    """
    return one.public_bytes() == other.public_bytes()


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Whether subject and issuer are the same name (RFC 5280 section 3.2)."""
    return same_name(certificate.subject, certificate.issuer)


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `certificate` names `issuer` as its issuer and carries its signature.

    Says nothing of validity, extensions or the strength of the digest: a root signed with SHA-1
    still is what it is, and nobody relies on a trust anchor's own signature.
    """
    if not same_name(certificate.issuer, issuer.subject):
        return False
    key = issuer.public_key()
    digest = certificate.signature_hash_algorithm
    scheme = certificate.signature_algorithm_parameters
    signed = certificate.tbs_certificate_bytes
    try:
        if isinstance(key, rsa.RSAPublicKey):
            if digest is None or not isinstance(scheme, padding.PKCS1v15 | padding.PSS):
                return False
            if isinstance(scheme, padding.PSS):
                # The one form of PSS that Go has (crypto/x509, getSignatureAlgorithmFromAI).
                scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
            key.verify(certificate.signature, signed, scheme, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            if not isinstance(scheme, ec.ECDSA):
                return False
            key.verify(certificate.signature, signed, scheme)
        else:
            certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True


def points_to(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the authority key identifier of `certificate`, if any, is that of `issuer`.

    BoringSSL (X509_check_akid) compares the key identifier with the issuer's subject key
    identifier, and the serial number and the name with the issuer's own, each only where both
    sides have it. Where one differs, Envoy does not take `issuer` for the issuer at all.
    """
    authority = value(certificate, x509.AuthorityKeyIdentifier)
    if authority is None:
        return True
    own = value(issuer, x509.SubjectKeyIdentifier)
    if own and authority.key_identifier and authority.key_identifier != own.digest:
        return False
    serial = authority.authority_cert_serial_number
    if serial is not None and serial != serial_number(issuer):
        return False
    names = [
        general.value
        for general in authority.authority_cert_issuer or ()
        if isinstance(general, x509.DirectoryName)
    ]
    return not names or same_name(names[0], issuer.issuer)


def key_kind(key: PublicKeyTypes) -> str:
    """A public key in two words: `RSA 2048`, `secp256r1`, `Ed25519`."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name
    return type(key).__name__.removesuffix("PublicKey")


def is_usable_key(key: PublicKeyTypes) -> bool:
    """Whether istiod, its agents, Envoy and Go's TLS can all work with the key (V11).

    istiod itself has no minimum for a plugged-in CA and takes P-224, P-521 and Ed25519 as well;
    its own code signs only with RSA, P-256 and P-384 (security/pkg/pki/util/crypto.go), and peers
    do not know the rest.
    """
    if isinstance(key, rsa.RSAPublicKey):
        return MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(
        key.curve, ec.SECP256R1 | ec.SECP384R1
    )


def has_plain_key_type(certificate: x509.Certificate) -> bool:
    """Whether the key is marked rsaEncryption or id-ecPublicKey.

    An RSA key marked RSASSA-PSS reads as RSA here; Go has no public key for it at all.
    """
    return certificate.public_key_algorithm_oid in (
        PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5,
        PublicKeyAlgorithmOID.EC_PUBLIC_KEY,
    )
