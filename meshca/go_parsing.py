"""What Go's crypto/x509 cannot read of a certificate that other parsers take (parser.go).

istiod does not start with one, and no Go peer verifies a chain that holds one.
"""

import ipaddress
import re
from collections.abc import Iterator

from cryptography import x509

from meshca.name_constraints import subtrees
from meshca.x509_facts import value

_NUMERIC, _IA5 = 0x12, 0x16
_STRINGS = {0x0C, _NUMERIC, 0x13, 0x14, _IA5, 0x1E}
"""UTF8String, NumericString, PrintableString, T61String, IA5String, BMPString."""

_SAFE = r"-A-Za-z0-9_~!$&'()*+,;="
_HOST = rf"\[[0-9A-Fa-f:.]+\]|[{_SAFE}]+(?:\.[{_SAFE}]+)*"
_REST = rf"(?:[{_SAFE}.:@/?]|%[0-9A-Fa-f]{{2}})*"
_URI = re.compile(
    rf"[A-Za-z][-A-Za-z0-9+.]*:"
    rf"(?://(?:[{_SAFE}.:]*@)?(?:{_HOST})?(?::[0-9]*)?(?=[/?#]|\Z)|(?!//))"
    rf"{_REST}(?:#{_REST})?"
)
"""An absolute URI (RFC 3986) whose host has no empty label. Go takes a few others."""


def unreadable(certificate: x509.Certificate) -> str | None:
    """What Go cannot read of it, in words; None when it reads all."""
    return next(_unreadable(certificate), None)


def _unreadable(certificate: x509.Certificate) -> Iterator[str]:
    for which, name in (("subject", certificate.subject), ("issuer", certificate.issuer)):
        if not all(_is_readable_text(tag, content) for tag, content in _texts(name)):
            yield f"a {which} in a kind of text other than UTF8String or PrintableString"
    alternative = value(certificate, x509.SubjectAlternativeName)
    for general in alternative or ():
        if not _is_readable_name(general):
            yield f"the alternative name {_shown(general)}"
    constraints = value(certificate, x509.NameConstraints)
    for tree in subtrees(constraints) if constraints is not None else ():
        if not _is_readable_constraint(tree):
            yield f"the name constraint {_shown(tree)}"
    policies = [one.policy_identifier for one in value(certificate, x509.CertificatePolicies) or ()]
    if len(policies) != len(set(policies)):
        yield "a certificate policy twice"


def _shown(name: x509.GeneralName) -> str:
    return ascii(name.value)


def _is_readable_name(name: x509.GeneralName) -> bool:
    if isinstance(name, x509.DNSName | x509.RFC822Name):
        return name.value.isascii()
    return not isinstance(name, x509.UniformResourceIdentifier) or bool(_URI.fullmatch(name.value))


def _is_readable_constraint(tree: x509.GeneralName) -> bool:
    """parseNameConstraintsExtension: a domain, for mail perhaps a mailbox, for URIs no address."""
    if not isinstance(tree, x509.DNSName | x509.RFC822Name | x509.UniformResourceIdentifier):
        return True
    domain = tree.value
    if isinstance(tree, x509.RFC822Name):
        domain = domain.rpartition("@")[2]
    if isinstance(tree, x509.UniformResourceIdentifier) and _is_address(domain):
        return False
    labels = domain.removeprefix(".").split(".")
    return tree.value.isascii() and (labels == [""] or all(labels))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_readable_text(tag: int, content: bytes) -> bool:
    if tag == _IA5:
        return content.isascii()
    if tag == _NUMERIC:
        return all(byte in b"0123456789 " for byte in content)
    return tag in _STRINGS


def _texts(name: x509.Name) -> Iterator[tuple[int, bytes]]:
    """The values of a name's attributes, each with its ASN.1 tag, which cryptography hides."""
    [(_, relative_names)] = _elements(name.public_bytes())
    for _, relative_name in _elements(relative_names):
        for _, attribute in _elements(relative_name):
            _, (tag, content) = _elements(attribute)
            yield tag, content


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The DER elements of well-formed `data`, one after the other, each as tag and content."""
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(data[at : at + size]), at + size
        yield tag, data[at : at + length]
        at += length
