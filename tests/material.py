"""Real certificates for tests: built in memory at a fixed moment, or by openssl in a directory.

Nothing is cached on disk and no key is ever committed. Keys are made once in a process, because
an RSA key of 4096 bits takes a second.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from meshca import bundle
from meshca.bundle import Bundle

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
YEAR = 365 * DAY

AnyKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Extensions = Sequence[tuple[x509.ExtensionType, bool]]
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
SKI_OID = ExtensionOID.SUBJECT_KEY_IDENTIFIER
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


@cache
def key(kind: str = "P-256", owner: str = "") -> AnyKey:
    """A key of that kind, such as `P-384` or `RSA-2048`; another one for each owner."""
    curves: dict[str, ec.EllipticCurve] = {
        "P-224": ec.SECP224R1(),
        "P-256": ec.SECP256R1(),
        "P-384": ec.SECP384R1(),
        "P-521": ec.SECP521R1(),
    }
    if kind in curves:
        return ec.generate_private_key(curves[kind])
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    bits = int(kind.removeprefix("RSA-"))
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def rsa_key(owner: str = "") -> rsa.RSAPrivateKey:
    """`key("RSA-2048", owner)`, for who needs to know the type."""
    found = key("RSA-2048", owner)
    assert isinstance(found, rsa.RSAPrivateKey)
    return found


def ec_key(owner: str = "") -> ec.EllipticCurvePrivateKey:
    """`key("P-384", owner)`, for who needs to know the type."""
    found = key("P-384", owner)
    assert isinstance(found, ec.EllipticCurvePrivateKey)
    return found


def key_text(private: AnyKey, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    """The key as unencrypted PEM: PKCS8, or TraditionalOpenSSL for PKCS#1 and SEC1."""
    return private.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def name(text: str) -> x509.Name:
    """`Mesh Root` as a common name, `O=Istio,CN=Root CA` as it says, an empty text as no name."""
    if "=" in text or not text:
        return x509.Name.from_rfc4514_string(text) if text else x509.Name([])
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Authority:
    """A CA certificate and its key."""

    certificate: x509.Certificate
    key: AnyKey = field(repr=False)

    @property
    def pem(self) -> str:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM).decode()


def key_usage(*bits: str) -> x509.KeyUsage:
    """A key usage with exactly these bits set."""
    every = (
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
    return x509.KeyUsage(**{bit: bit in bits for bit in every})


def authority(
    subject: str,
    *,
    under: Authority | None = None,
    private: AnyKey | None = None,
    claimed_key: AnyKey | None = None,
    start: datetime = NOW - DAY,
    end: datetime | None = None,
    basic: x509.BasicConstraints | None = None,
    usage: x509.KeyUsage | None = None,
    leave_out: Sequence[type[x509.ExtensionType]] = (),
    extra: Extensions = (),
    serial: int | None = None,
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
) -> Authority:
    """A root, or an intermediate under `under`; sound unless an argument makes it otherwise.

    `claimed_key` signs in place of the key of `under`: a certificate that names an issuer which
    did not sign it.
    """
    own = private or key("P-256", subject)
    above = under.key if under else own
    issuer = under.certificate.subject if under else name(subject)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(issuer)
        .public_key(own.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end or NOW + (YEAR if under else 10 * YEAR))
    )
    standard: list[tuple[x509.ExtensionType, bool]] = [
        (basic or x509.BasicConstraints(ca=True, path_length=0 if under else None), True),
        (usage or key_usage("key_cert_sign", "crl_sign"), True),
        (x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False),
    ]
    if under:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(under.key.public_key())
        standard.append((identifier, False))
    given = {type(value) for value, _ in extra}
    for value, critical in standard:
        if type(value) not in leave_out and type(value) not in given:
            builder = builder.add_extension(value, critical)
    for value, critical in extra:
        builder = builder.add_extension(value, critical)
    signing = claimed_key or above
    if isinstance(signing, ed25519.Ed25519PrivateKey):
        return Authority(builder.sign(signing, None), own)
    return Authority(builder.sign(signing, digest or hashes.SHA256()), own)


def with_sha1(under: Authority, one: Authority) -> Authority:
    """The same certificate, signed with SHA-1 by `under`; both keys are RSA.

    cryptography signs nothing with SHA-1, so the algorithm is exchanged in the DER, where the two
    identifiers have the same length, and the signature made anew.
    """
    sha256, sha1 = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    assert isinstance(under.key, rsa.RSAPrivateKey)
    body = one.certificate.tbs_certificate_bytes.replace(sha256, sha1)
    signature = under.key.sign(body, padding.PKCS1v15(), hashes.SHA1())
    der = one.certificate.public_bytes(Encoding.DER).replace(sha256, sha1)
    der = der[: -len(signature)] + signature
    return Authority(x509.load_der_x509_certificate(der), one.key)


def leaf(signer: Authority, *names: x509.GeneralName) -> x509.Certificate:
    """A certificate such as istiod signs, valid at NOW."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(signer.certificate.subject)
        .public_key(key("P-256", "leaf").public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(minutes=2))
        .not_valid_after(NOW + DAY)
        .add_extension(key_usage("digital_signature", "key_encipherment"), True)
        .add_extension(x509.ExtendedKeyUsage([*SERVER, *CLIENT]), False)
        .add_extension(x509.SubjectAlternativeName(names), True)
    )
    own = [found.value for found in signer.certificate.extensions if found.oid == SKI_OID]
    if own:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own[0])
        builder = builder.add_extension(identifier, False)
    assert not isinstance(signer.key, ed25519.Ed25519PrivateKey)
    return builder.sign(signer.key, hashes.SHA256())


def texts(
    roots: Sequence[Authority],
    signer: Authority,
    chain: Sequence[Authority] | None = None,
    *,
    private: AnyKey | None = None,
) -> Bundle:
    """The bundle of these authorities; `chain` is the signer alone unless given."""
    return Bundle(
        root_cert="".join(root.pem for root in roots),
        ca_cert=signer.pem,
        cert_chain="".join(one.pem for one in (chain if chain is not None else [signer])),
        ca_key=key_text(private or signer.key),
    )


def refused(judged: Bundle, **about: object) -> list[str]:
    """The ids of what `bundle.refusals` says of a bundle at NOW."""
    return [refusal.id for refusal in bundle.refusals(judged, now=NOW, **about)]  # type: ignore[arg-type]


def write_bundle(directory: Path, judged: Bundle) -> Path:
    """The four files as istiod finds them mounted."""
    directory.mkdir(parents=True, exist_ok=True)
    for file, text in judged.texts().items():
        (directory / f"{file}.pem").write_text(text, newline="")
    return directory


# What openssl makes

_REQUEST = """[req]
distinguished_name = subject
x509_extensions = extensions
req_extensions = extensions
prompt = no
utf8 = yes
[subject]
{subject}
[extensions]
{extensions}
"""

_ISTIO_USAGE = "keyUsage = critical, digitalSignature, nonRepudiation, keyEncipherment, keyCertSign"
_ISTIO_ROOT = f"subjectKeyIdentifier = hash\nbasicConstraints = critical, CA:true\n{_ISTIO_USAGE}"
_ISTIO_INTERMEDIATE = (
    "subjectKeyIdentifier = hash\nbasicConstraints = critical, CA:true, pathlen:0\n"
    f"{_ISTIO_USAGE}\nsubjectAltName = DNS:istiod.istio-system.svc"
)


def openssl(directory: Path, *arguments: str) -> str:
    """Runs openssl in `directory` and returns what it prints."""
    done = subprocess.run(
        ["openssl", *arguments], cwd=directory, check=True, capture_output=True, text=True
    )
    return done.stdout


def openssl_root(
    directory: Path,
    prefix: str = "root",
    *,
    new_key: Sequence[str] = ("rsa:4096",),
    subject: str = "O = Istio\nCN = Root CA",
) -> None:
    """Writes PREFIX-cert.pem and PREFIX-key.pem, as the Makefile of Istio's tools/certs does."""
    settings = directory / f"{prefix}.conf"
    settings.write_text(_REQUEST.format(subject=subject, extensions=_ISTIO_ROOT))
    openssl(
        directory,
        *("req", "-x509", "-sha256", "-nodes", "-days", "3650", "-config", settings.name),
        *("-newkey", *new_key, "-keyout", f"{prefix}-key.pem", "-out", f"{prefix}-cert.pem"),
    )


def openssl_intermediate(
    directory: Path,
    prefix: str = "ca",
    *,
    root: str = "root",
    new_key: Sequence[str] = ("rsa:4096",),
    subject: str = "O = Istio\nCN = Intermediate CA\nL = cluster1",
) -> None:
    """Writes PREFIX-cert.pem, PREFIX-key.pem and PREFIX.csr, as the same Makefile does."""
    settings = directory / f"{prefix}.conf"
    settings.write_text(_REQUEST.format(subject=subject, extensions=_ISTIO_INTERMEDIATE))
    openssl(
        directory,
        *("req", "-new", "-sha256", "-nodes", "-config", settings.name),
        *("-newkey", *new_key, "-keyout", f"{prefix}-key.pem", "-out", f"{prefix}.csr"),
    )
    openssl(
        directory,
        *("x509", "-req", "-sha256", "-days", "730", "-in", f"{prefix}.csr"),
        *("-CA", f"{root}-cert.pem", "-CAkey", f"{root}-key.pem", "-CAcreateserial"),
        *("-extfile", settings.name, "-extensions", "extensions", "-out", f"{prefix}-cert.pem"),
    )


def openssl_bundle(directory: Path, *, new_key: Sequence[str] = ("rsa:4096",)) -> Path:
    """A directory with the four files of the article: cert-chain is ca-cert and root-cert."""
    directory.mkdir(parents=True, exist_ok=True)
    openssl_root(directory, new_key=new_key)
    openssl_intermediate(directory, new_key=new_key)
    chain = (directory / "ca-cert.pem").read_text() + (directory / "root-cert.pem").read_text()
    (directory / "cert-chain.pem").write_text(chain)
    return directory


P256 = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
P384 = ("ec", "-pkeyopt", "ec_paramgen_curve:secp384r1")
