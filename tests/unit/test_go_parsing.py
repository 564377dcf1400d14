"""What Go cannot parse. Each verdict was Go's own (crypto/x509 of Go 1.26, ParseCertificate)."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtensionOID, NameOID

from meshca import ca_rules
from meshca.go_parsing import unreadable
from tests.material import DAY, NOW, authority, key

ROOT = authority("O=Istio,CN=Root")
SAN, CONSTRAINTS = ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ExtensionOID.NAME_CONSTRAINTS
POLICIES = ExtensionOID.CERTIFICATE_POLICIES
MAIL, DNS, URI = 0x81, 0x82, 0x86
"""Tags of general names."""


def der(tag: int, *parts: bytes) -> bytes:
    """One DER element."""
    content = b"".join(parts)
    assert len(content) < 128
    return bytes([tag, len(content)]) + content


def issuer(oid: x509.ObjectIdentifier, raw: bytes) -> x509.Certificate:
    """An issuer with an extension that no builder would make."""
    extra = [(x509.UnrecognizedExtension(oid, raw), False)]
    return authority("O=Istio,CN=Issuer", under=ROOT, extra=extra).certificate


def named(tag: int, text: str) -> x509.Certificate:
    """An issuer with that alternative name."""
    return issuer(SAN, der(0x30, der(tag, text.encode())))


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        (DNS, "istiod.istio-system.svc"),
        (DNS, "a b"),
        (DNS, ""),
        (MAIL, "ca@example.com"),
        (URI, "spiffe://cluster.local/ns/istio-system/sa/istiod"),
        (URI, "spiffe:///path"),
        (URI, "https://user@[::1]:8443/a%20b?c=d#e"),
        (URI, "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
    ],
)
def test_names_that_go_reads(tag: int, text: str) -> None:
    """Also a few that are no names at all."""
    assert unreadable(named(tag, text)) is None


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        (DNS, "föö"),
        (MAIL, "ä@example.com"),
        (URI, "spiffe://föö/x"),
        (URI, "spiffe://my mesh/ca"),
        (URI, "spiffe://cluster..local/x"),
        (URI, "http://[::1"),
        (URI, "spiffe://cluster.local/%zz"),
        (URI, ":foo"),
    ],
)
def test_names_that_go_does_not_read(tag: int, text: str) -> None:
    """The reason shows them without a letter that a terminal would take for something else."""
    found = unreadable(named(tag, text))
    assert found == f"the alternative name {text!a}"


@pytest.mark.parametrize(
    ("tag", "text", "readable"),
    [
        (DNS, "cluster.local", True),
        (DNS, ".cluster.local", True),
        (DNS, "a..b", False),
        (MAIL, "example.com", True),
        (MAIL, "ca@example.com", True),
        (MAIL, "ö@", False),
        (URI, "cluster.local", True),
        (URI, "1.2.3.4", False),
    ],
)
def test_name_constraints(tag: int, text: str, readable: bool) -> None:
    """A domain, for mail perhaps a mailbox, and no address for URIs."""
    raw = der(0x30, der(0xA1, der(0x30, der(tag, text.encode()))))
    assert (unreadable(issuer(CONSTRAINTS, raw)) is None) == readable


def test_a_policy_may_not_be_named_twice() -> None:
    """Once is fine."""
    policy = der(0x30, b"\x06\x02\x2a\x03")
    assert unreadable(issuer(POLICIES, der(0x30, policy))) is None
    assert unreadable(issuer(POLICIES, der(0x30, policy, policy))) == "a certificate policy twice"


@pytest.mark.parametrize(
    ("kind", "text", "readable"),
    [
        (_ASN1Type.UTF8String, "Wurzel ö", True),
        (_ASN1Type.PrintableString, "Root", True),
        (_ASN1Type.T61String, "Root", True),
        (_ASN1Type.BMPString, "Wurzel ö", True),
        (_ASN1Type.IA5String, "Root", True),
        (_ASN1Type.NumericString, "12 3", True),
        (_ASN1Type.IA5String, "Wurzel ö", False),
        (_ASN1Type.NumericString, "Root", False),
        (_ASN1Type.UniversalString, "Root", False),
        (_ASN1Type.VisibleString, "Root", False),
    ],
)
def test_kinds_of_text(kind: _ASN1Type, text: str, readable: bool) -> None:
    """Of the subject; a long name has a length of more than one byte."""
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "u" * 64),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "v" * 64),
        x509.NameAttribute(NameOID.COMMON_NAME, text, _type=kind),
    ]
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(x509.Name([]))
        .public_key(key("P-256", 77).public_key())
        .serial_number(77)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
        .sign(key("P-256", 77), hashes.SHA256())
    )
    assert (unreadable(made) is None) == readable


def test_an_unreadable_ca_is_refused() -> None:
    """Whether it is a root, an issuer or only in the chain: istiod would not start."""
    [refusal] = ca_rules.ca_refusals("a1", named(DNS, "föö"), now=NOW)
    assert refusal.id == "unreadable-in-go"
