"""What a CA's name constraints say about the names of a mesh (RFC 5280 section 4.2.1.10).

Verifiers differ in details. A name counts as permitted only where Go, BoringSSL, OpenSSL and
cryptography all permit it, and as excluded where one of them excludes it.
"""

from collections.abc import Sequence

from cryptography import x509

from meshca.x509_facts import value

MeshName = x509.DNSName | x509.UniformResourceIdentifier

_UNDERSTOOD = (x509.DNSName, x509.UniformResourceIdentifier, x509.IPAddress, x509.RFC822Name)
"""What Go's crypto/x509 understands: with any other kind it refuses a critical extension."""


def objection(certificate: x509.Certificate, names: Sequence[x509.GeneralName]) -> str | None:
    """Why a certificate with one of `names` could fail below this CA, or None.

    Only DNS names and URIs are looked at; nothing else occurs in a mesh.
    """
    constraints = value(certificate, x509.NameConstraints)
    if constraints is None:
        return None
    for tree in subtrees(constraints):
        if not isinstance(tree, _UNDERSTOOD):
            kind = type(tree).__name__
            return f"constrains names of the kind {kind}, which not every verifier understands"
        if isinstance(tree, x509.DNSName) and (not tree.value or tree.value.startswith(".")):
            return f"has the DNS constraint '{tree.value}', on which verifiers disagree"
    for name in names:
        if isinstance(name, MeshName):
            found = _verdict(constraints, name)
            if found:
                return found
    return None


def constrains_uris(certificate: x509.Certificate) -> bool:
    """Whether the certificate permits or excludes URIs for what is below it."""
    constraints = value(certificate, x509.NameConstraints)
    return constraints is not None and any(
        isinstance(tree, x509.UniformResourceIdentifier) for tree in subtrees(constraints)
    )


def subtrees(constraints: x509.NameConstraints) -> list[x509.GeneralName]:
    """What is permitted and what is excluded."""
    return [*(constraints.permitted_subtrees or ()), *(constraints.excluded_subtrees or ())]


def _verdict(constraints: x509.NameConstraints, name: MeshName) -> str | None:
    host = _host(name)
    permitted = _domains(constraints.permitted_subtrees, name)
    excluded = _domains(constraints.excluded_subtrees, name)
    if permitted and not any(_surely_within(host, domain, name) for domain in permitted):
        return f"does not permit the name {name.value}"
    if any(_is_or_is_below(host, domain.removeprefix(".")) for domain in excluded):
        return f"excludes the name {name.value}"
    return None


def _domains(trees: Sequence[x509.GeneralName] | None, name: MeshName) -> list[str]:
    """The subtrees of the same kind as `name`."""
    return [tree.value.lower() for tree in trees or () if isinstance(tree, type(name))]


def _host(name: MeshName) -> str:
    """What is compared: of a URI only the host, so of a SPIFFE ID only the trust domain."""
    if isinstance(name, x509.DNSName):
        return name.value.lower()
    return name.value.partition("//")[2].partition("/")[0].lower()


def _surely_within(host: str, domain: str, name: MeshName) -> bool:
    """A DNS constraint holds its domain and all below; a URI constraint one host, or, with a
    leading dot, all below it. (Go would take what is below a URI constraint in any case.)
    """
    if isinstance(name, x509.DNSName):
        return _is_or_is_below(host, domain)
    return host.endswith(domain) if domain.startswith(".") else host == domain


def _is_or_is_below(host: str, domain: str) -> bool:
    return not domain or host == domain or host.endswith("." + domain)
