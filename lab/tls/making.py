"""What each resource type of the `tls` provider is once made: its id and its computed outputs."""

from __future__ import annotations

import base64
import datetime
import hashlib

from cryptography import x509 as _x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from lab.provider.values import Properties
from lab.tls import x509

Made = tuple[str, Properties]


def private_key(inputs: Properties) -> Made:
    """Generate a key; its id is the SHA-1 of the public key."""
    key = x509.make_key(inputs["algorithm"], inputs["rsaBits"], inputs["ecdsaCurve"])
    form = serialization.PrivateFormat
    old_style = form.PKCS8 if isinstance(key, ed25519.Ed25519PrivateKey) \
        else form.TraditionalOpenSSL  # fmt: skip
    has_ssh = not (isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp224r1")
    ssh = b""
    if has_ssh:
        ssh = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
    public = x509.public_der(key)
    return hashlib.sha1(public).hexdigest(), {
        "privateKeyPem": x509.private_pem(key, old_style),
        "privateKeyPemPkcs8": x509.private_pem(key, form.PKCS8),
        "privateKeyOpenssh": x509.private_pem(key, form.OpenSSH) if has_ssh else "",
        "publicKeyPem": key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode(),
        "publicKeyOpenssh": f"{ssh.decode()}\n" if has_ssh else "",
        **_fingerprints(ssh),
    }


def cert_request(inputs: Properties) -> Made:
    """Make a request and sign it with its key; its id is the SHA-1 of the PEM."""
    key = x509.load_key(inputs["privateKeyPem"], "privateKeyPem")
    pem = x509.request(key, inputs.get("subject", {}), _names(inputs))
    return hashlib.sha1(pem.encode()).hexdigest(), {
        "certRequestPem": pem,
        "keyAlgorithm": x509.algorithm_of(key),
    }


def self_signed_cert(inputs: Properties) -> Made:
    """Make a certificate and sign it with its own key; its id is the serial number in decimal."""
    key = x509.load_key(inputs["privateKeyPem"], "privateKeyPem")
    certificate = x509.self_sign(
        key,
        inputs.get("subject", {}),
        _names(inputs),
        _wish(inputs),
        authority_key_id=inputs.get("setAuthorityKeyId", False),
    )
    serial, outputs = _made(certificate)
    return serial, {**outputs, "keyAlgorithm": x509.algorithm_of(key)}


def locally_signed_cert(inputs: Properties) -> Made:
    """Sign a request with the CA's key; its id is the serial number in decimal."""
    key = x509.load_key(inputs["caPrivateKeyPem"], "caPrivateKeyPem")
    request = x509.load_request(inputs["certRequestPem"])
    certificate = x509.sign(request, inputs["caCertPem"], key, _wish(inputs))
    serial, outputs = _made(certificate)
    return serial, {**outputs, "caKeyAlgorithm": x509.algorithm_of(key)}


def _wish(inputs: Properties) -> x509.Wish:
    return x509.Wish(
        hours=inputs["validityPeriodHours"],
        uses=inputs["allowedUses"],
        is_ca=inputs.get("isCaCertificate", False),
        max_path_length=inputs.get("maxPathLength"),
        subject_key_id=inputs.get("setSubjectKeyId", False),
    )


def _names(inputs: Properties) -> list[_x509.GeneralName]:
    return x509.alternative_names(
        inputs.get("dnsNames", []), inputs.get("ipAddresses", []), inputs.get("uris", [])
    )


def _made(certificate: _x509.Certificate) -> Made:
    return str(certificate.serial_number), {
        "certPem": certificate.public_bytes(serialization.Encoding.PEM).decode(),
        "readyForRenewal": False,
        "validityStartTime": _rfc3339(certificate.not_valid_before_utc),
        "validityEndTime": _rfc3339(certificate.not_valid_after_utc),
    }


def _fingerprints(ssh: bytes) -> Properties:
    """Return the fingerprints of a public key in OpenSSH's one-line form, as that prints them."""
    blob = base64.b64decode(ssh.split()[1]) if ssh else b""
    sha256 = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return {
        "publicKeyFingerprintMd5": hashlib.md5(blob).digest().hex(":") if ssh else "",
        "publicKeyFingerprintSha256": f"SHA256:{sha256}" if ssh else "",
    }


def _rfc3339(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
