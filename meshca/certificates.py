"""Certificates and private keys: PEM in, PEM out, and what the rest of the program asks of them.

Input is what people have: CRLF or LF, with or without a final newline, with text around the
blocks, keys as PKCS#8, PKCS#1 or SEC1. Output has one form only, so that the same certificate is
always the same bytes: 64 columns, LF, one final newline, keys as PKCS#8.

Nothing here shows a private key, nor any other text of a file that was refused.
"""

import shlex
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.utils import CryptographyDeprecationWarning

from meshca import pem
from meshca.ca_rules import Key, issuer_refusals, key_refusals, root_refusals
from meshca.refusals import Refusal, Refused
from meshca.x509_facts import fingerprint, key_kind, reference, shown

__all__ = [
    "CertificatesRead",
    "Key",
    "described",
    "encode",
    "encode_key",
    "examine_certificates",
    "fingerprint",
    "issuer_refusals",
    "key_refusals",
    "load_key",
    "parse_certificate",
    "parse_certificates",
    "parse_key",
    "read_certificate",
    "read_key",
    "read_text",
    "reference",
    "root_refusals",
    "same_key",
    "shown",
]

MAX_FILE_BYTES = 1_000_000
"""No certificate or key is near this; a path that points at a disk image is."""

DECODE_CERTIFICATE = "openssl x509 -inform der -in {} -out {}"
DECODE_KEY = "(umask 077; openssl pkey -inform der -in {} -out {})"
DECODE_REQUEST = "openssl req -inform der -in {} -out {}"

_KEY_LABELS = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")
"""PKCS#8, PKCS#1, SEC1: what istiod reads (security/pkg/pki/util/crypto.go)."""


# Reading


def parse_certificate(text: str, *, where: str) -> x509.Certificate:
    """The only certificate of `text`. `where` names its place: a file, a key of the settings.

    Raises Refused when there is none or more than one, and as `parse_certificates` does.
    """
    found = parse_certificates(text, where=where)
    if len(found) > 1:
        raise _refused(
            "not-one-certificate",
            f"{where} holds {len(found)} certificates; one belongs there",
            "Keep the one that is meant, and give each of the others a place of its own.",
        )
    return found[0]


def parse_certificates(text: str, *, where: str) -> list[x509.Certificate]:
    """Every certificate of `text`, in order: one at least.

    Raises Refused, with everything that is wrong, when there is none, when a block cannot be read,
    or when there is anything but certificates.
    """
    found = examine_certificates(text, where=where)
    if found.refusals:
        raise Refused(found.refusals)
    return list(found.certificates)


@dataclass(frozen=True, slots=True)
class CertificatesRead:
    """What could be read of a text, and what could not."""

    certificates: tuple[x509.Certificate, ...]
    refusals: tuple[Refusal, ...]


def examine_certificates(text: str, *, where: str) -> CertificatesRead:
    """Like `parse_certificates`, without raising: for who wants to go on with what was read."""
    certificates: list[x509.Certificate] = []
    refusals: list[Refusal] = []
    blocks = pem.blocks(text)
    for number, block in enumerate(blocks, start=1):
        place = where if len(blocks) == 1 else f"block {number} of {where}"
        try:
            certificates.append(_certificate(block, place))
        except Refused as refused:
            refusals.extend(refused.refusals)
    if pem.has_stray_marker(text):
        refusals.append(_stray_marker(where))
    if not blocks and not refusals:
        refusals.append(
            Refusal(
                "no-certificate",
                f"{where} {'holds no certificate' if text.strip() else 'is empty'}",
                "Put the PEM text there, from the BEGIN to the END line.",
            )
        )
    return CertificatesRead(tuple(certificates), tuple(refusals))


def parse_key(text: str, *, where: str) -> Key:
    """The only private key of `text`: RSA or elliptic curve, in PKCS#8, PKCS#1 or SEC1.

    The `EC PARAMETERS` block that `openssl ecparam -genkey` writes before the key is skipped.
    Raises Refused when there is no key, more than one, or one that is encrypted, damaged or of
    another kind; whether it is strong enough is for `key_refusals`.
    """
    return load_key(text, where=where, passphrase=None)


def load_key(text: str, *, where: str, passphrase: Callable[[], bytes] | None) -> Key:
    """As `parse_key`; asks `passphrase` for the passphrase if, and only if, the key needs one."""
    blocks = [block for block in pem.blocks(text) if block.label != "EC PARAMETERS"]
    if pem.has_stray_marker(text):
        raise Refused([_stray_marker(where)])
    if len(blocks) != 1:
        raise _refused(
            "not-one-key",
            f"{where} holds {len(blocks) or 'no'} PEM blocks; one private key belongs there",
            "Keep the private key only, from its BEGIN to its END line.",
        )
    [block] = blocks
    encrypted = block.label == "ENCRYPTED PRIVATE KEY" or "ENCRYPTED" in block.headers
    if encrypted and passphrase is None:
        raise _refused(
            "encrypted-key",
            f"{where} holds an encrypted private key; istiod cannot ask for a passphrase",
            "Decrypt it where nobody else can read: `(umask 077; openssl pkey -in KEY -out"
            " PLAIN-KEY)`.",
        )
    if block.label not in _KEY_LABELS and not encrypted:
        raise _refused(
            "not-a-key",
            f"{where} holds a {block.shown_label} block, not a private key",
            "Put the private key there: PKCS#8 (BEGIN PRIVATE KEY), PKCS#1 or SEC1.",
        )
    if block.der is None and not block.headers:
        # OpenSSL would skip what is no base64; Go does not.
        raise _refused(
            "not-a-key",
            f"{where} is not a private key: its base64 is damaged",
            "Copy it again from where it was made.",
        )
    secret = passphrase() if encrypted and passphrase else None
    return _loaded(block, where, secret)


def read_certificate(path: Path) -> x509.Certificate:
    """The only certificate of a file. Raises Refused, also when the file cannot be read."""
    return parse_certificate(read_text(path), where=str(path))


def read_key(path: Path) -> Key:
    """The only private key of a file. Raises Refused, also when the file cannot be read."""
    return parse_key(read_text(path, decode=DECODE_KEY), where=str(path))


def read_text(path: Path, *, decode: str = DECODE_CERTIFICATE) -> str:
    """The text of a PEM file. Raises Refused, with one line that says why it cannot be read.

    `decode` is the command that makes PEM of DER of the kind that belongs there.
    """
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            raise _refused("not-a-file", f"{path} is a directory", "Name the PEM file in it.")
        if not stat.S_ISREG(about.st_mode):
            raise _refused("not-a-file", f"{path} is not a regular file", "Name a PEM file.")
        if about.st_size > MAX_FILE_BYTES:
            raise _refused(
                "file-too-large",
                f"{path} has {about.st_size} bytes, more than any PEM file of a CA",
                "Name the PEM file that is meant.",
            )
        return path.read_bytes().decode()
    except FileNotFoundError:
        raise _refused(
            "no-such-file", f"{path} does not exist", "Correct the path, or make the file."
        ) from None
    except UnicodeDecodeError:
        raise _refused(
            "not-text",
            f"{path} is not text",
            f"If it is DER, convert it: `{decode.format(*_quoted(path))}`.",
        ) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a path"
        raise _refused(
            "unreadable-file", f"{path} cannot be read: {why}", "Correct path or permissions."
        ) from None


def _quoted(path: Path) -> tuple[str, str]:
    return shlex.quote(str(path)), shlex.quote(f"{path}.pem")


# Writing


def encode(certificate: x509.Certificate) -> str:
    """PEM: 64 columns, LF, one final newline. The same certificate gives the same bytes."""
    return certificate.public_bytes(Encoding.PEM).decode()


def encode_key(key: Key) -> str:
    """Unencrypted PKCS#8, in the same form. What it returns is secret."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


# Saying and comparing


def described(certificate: x509.Certificate) -> str:
    """Subject, fingerprint and end in one line."""
    return str(reference(shown(certificate.subject), certificate))


def same_key(certificate: x509.Certificate, key: Key) -> bool:
    """Whether `key` is the private key of `certificate`."""
    return certificate.public_key() == key.public_key()


# Blocks


def _certificate(block: pem.Block, where: str) -> x509.Certificate:
    if block.is_private_key:
        raise _refused(
            "private-key-in-certificate",
            f"{where} holds a private key, which would reach every workload of the mesh",
            "Take it out, and replace the key if anybody else could read it.",
        )
    if block.label == "CERTIFICATE REQUEST" or block.label == "NEW CERTIFICATE REQUEST":
        raise _refused(
            "not-a-certificate",
            f"{where} holds a certificate request",
            "Sign it first: `python -m meshca sign`.",
        )
    if block.label != "CERTIFICATE":
        raise _refused(
            "not-a-certificate",
            f"{where} holds a {block.shown_label} block; istiod and Go skip it",
            "Write it as CERTIFICATE: `openssl x509 -in FILE -out FILE.pem`.",
        )
    if block.der is None or block.headers:
        raise _refused(
            "not-a-certificate",
            f"{where} is not a certificate: "
            + ("it has PEM headers" if block.headers else "its base64 is damaged"),
            "Copy it again from where it was issued.",
        )
    try:
        with warnings.catch_warnings():
            # What these warnings are about is refused by the rules, with a reason.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            certificate = x509.load_der_x509_certificate(block.der)
            _touch(certificate)
    except UnsupportedAlgorithm:
        raise _refused(
            "key-not-allowed",
            f"{where} has a key that cannot be used",
            "Use RSA with 2048 bits or more, ECDSA P-256 or ECDSA P-384.",
        ) from None
    except (ValueError, TypeError, x509.DuplicateExtension, x509.InvalidVersion):
        raise _refused(
            "not-a-certificate",
            f"{where} is not a certificate that can be parsed",
            "Look at it with `openssl x509 -text -noout -in FILE`, and copy it again.",
        ) from None
    return certificate


def _touch(certificate: x509.Certificate) -> None:
    """Parses everything that is otherwise parsed only when asked for."""
    list(certificate.extensions)
    certificate.subject.public_bytes()
    certificate.issuer.public_bytes()
    certificate.public_key()
    certificate.not_valid_before_utc  # noqa: B018
    certificate.not_valid_after_utc  # noqa: B018


def _loaded(block: pem.Block, where: str, passphrase: bytes | None) -> Key:
    try:
        # The check that OpenSSL makes on loading includes primality tests: 0.25 s for RSA 4096.
        # What Go checks is checked below, and that the key signs is tried before it is trusted.
        key = load_pem_private_key(
            block.text().encode(), passphrase, unsafe_skip_rsa_key_validation=True
        )
    except UnsupportedAlgorithm:
        raise _unusable_key(where, "of an unknown kind") from None
    except (ValueError, TypeError):
        if passphrase is not None:
            raise _refused(
                "wrong-passphrase",
                f"the private key in {where} cannot be decrypted",
                "Give the passphrase that it was encrypted with.",
            ) from None
        raise _refused(
            "not-a-key",
            f"{where} is not a private key of the form that its BEGIN line says",
            "Write it again: `(umask 077; openssl pkey -in KEY -out NEW-KEY)`.",
        ) from None
    if isinstance(key, rsa.RSAPrivateKey):
        if not _is_consistent(key):
            raise _refused(
                "not-a-key",
                f"{where} is a damaged RSA key: its numbers do not belong together",
                "Copy it again from where it was made.",
            )
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key
    raise _unusable_key(where, f"of the kind {key_kind(key.public_key())}")


def _is_consistent(key: rsa.RSAPrivateKey) -> bool:
    """The equations that Go requires on loading (crypto/rsa, PrivateKey.Validate)."""
    numbers = key.private_numbers()
    p, q, exponent = numbers.p, numbers.q, numbers.public_numbers.e
    return (
        p > 1
        and q > 1
        and p * q == numbers.public_numbers.n
        and exponent * numbers.d % (p - 1) == 1
        and exponent * numbers.d % (q - 1) == 1
        and numbers.dmp1 == numbers.d % (p - 1)
        and numbers.dmq1 == numbers.d % (q - 1)
        and numbers.iqmp * q % p == 1
    )


def _unusable_key(where: str, kind: str) -> Refused:
    return _refused(
        "key-not-allowed",
        f"{where} holds a private key {kind}",
        "Use RSA with 2048 bits or more, ECDSA P-256 or ECDSA P-384.",
    )


def _stray_marker(where: str) -> Refusal:
    return Refusal(
        "malformed-pem",
        f"{where} has a BEGIN or END line without its counterpart",
        "Copy it again, from the BEGIN to the END line.",
    )


def _refused(identity: str, reason: str, mitigation: str) -> Refused:
    return Refused([Refusal(identity, reason, mitigation)])
