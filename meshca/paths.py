"""Certification paths from a signer to a root, and the rules that only a whole path can break.

RFC 5280 section 6.1, as far as a mesh needs it: path length and name constraints. Signatures and
names join the path (`x509_facts.is_signed_by`); what one certificate must be by itself is in
`ca_rules`.
"""

from collections.abc import Iterator, Sequence

from cryptography import x509

from meshca.refusals import Refusal
from meshca.x509_facts import is_signed_by, points_to, reference, shown, value

Path = tuple[x509.Certificate, ...]
"""A signer first, then each one's issuer, a root last; of length one when the root signs."""

MAX_DEPTH = 6
"""Longest path that is looked for. Deeper hierarchies than four are unknown in practice."""

TRUST_DOMAIN = "cluster.local"
"""What the AKS add-on puts into every SPIFFE identity."""

ISTIOD_NAMES = ("istiod.istio-system.svc", "istiod.aks-istio-system.svc")
"""DNS names of istiod's own certificate (istio pilot/pkg/bootstrap/server.go, getDNSNames): the
namespace is istio-system upstream and aks-istio-system in the add-on."""


def spiffe_id(trust_domain: str = TRUST_DOMAIN) -> str:
    """The identity of a workload like any other (SPIFFE-ID section 2)."""
    return f"spiffe://{trust_domain}/ns/default/sa/default"


def leaf_names(trust_domain: str = TRUST_DOMAIN) -> list[x509.GeneralName]:
    """Every name that a certificate signed by a mesh CA may have to carry."""
    return [
        x509.UniformResourceIdentifier(spiffe_id(trust_domain)),
        *(x509.DNSName(name) for name in ISTIOD_NAMES),
    ]


def paths(
    signer: x509.Certificate,
    issuers: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
) -> Iterator[Path]:
    """Every path from `signer` over `issuers` to one of `roots`, shortest first in each branch."""
    yield from _extended((signer,), issuers, roots)


def _extended(
    path: Path, issuers: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> Iterator[Path]:
    last = path[-1]
    if last in roots:
        yield path
        return
    if len(path) == MAX_DEPTH:
        return
    for above in (*roots, *issuers):
        if above not in path and is_signed_by(last, above) and points_to(last, above):
            yield from _extended((*path, above), issuers, roots)


def path_refusals(
    named: Sequence[tuple[str, x509.Certificate]],
    *,
    trust_domain: str = TRUST_DOMAIN,
    ambient: bool = False,
) -> list[Refusal]:
    """What is wrong with a path as a whole: signer first, root last, each with its name."""
    return [
        *_too_short(named),
        *_excluded_names(named, trust_domain=trust_domain),
        *(_unknown_to_ztunnel(named) if ambient else ()),
    ]


def _too_short(named: Sequence[tuple[str, x509.Certificate]]) -> Iterator[Refusal]:
    """V5: pathLenConstraint counts the intermediates below, the leaf not (RFC 5280 4.2.1.9).

    istiod verifies only up to ca-cert, one level short of what it signs, and so accepts a path
    that no leaf can use.
    """
    for below, (name, certificate) in enumerate(named):
        constraints = value(certificate, x509.BasicConstraints)
        allowed = constraints.path_length if constraints else None
        if allowed is not None and below > allowed:
            yield Refusal(
                id="path-too-long",
                reason=(
                    f"{name} allows {allowed} CA certificates below it (pathlen:{allowed}), and"
                    f" {below} are: {', '.join(lower for lower, _ in named[:below])}"
                ),
                mitigation=(f"Issue {name} again with pathlen {below} or more, or none between."),
                certificates=(reference(name, certificate),),
            )


def _excluded_names(
    named: Sequence[tuple[str, x509.Certificate]], *, trust_domain: str
) -> Iterator[Refusal]:
    """Name constraints must let through what the mesh signs (RFC 5280 section 4.2.1.10).

    istiod does not check them for what it signs: a URI constraint for another trust domain breaks
    every workload, a DNS constraint that leaves out istiod breaks istiod's own port.
    """
    below: list[x509.GeneralName] = leaf_names(trust_domain)
    for name, certificate in named:
        constraints = value(certificate, x509.NameConstraints)
        if constraints is not None:
            for problem in _objections(constraints, below):
                yield Refusal(
                    id="name-constraints",
                    reason=f"{name} ({shown(certificate.subject)}) {problem}",
                    mitigation=(
                        f"Issue {name} again with name constraints that permit the URI host"
                        f" {trust_domain} and the DNS names {' and '.join(ISTIOD_NAMES)}."
                    ),
                    certificates=(reference(name, certificate),),
                )
                break
        below.extend(value(certificate, x509.SubjectAlternativeName) or ())


def _objections(
    constraints: x509.NameConstraints, names: Sequence[x509.GeneralName]
) -> Iterator[str]:
    permitted = constraints.permitted_subtrees or ()
    excluded = constraints.excluded_subtrees or ()
    for tree in _subtrees(constraints):
        if not isinstance(tree, _UNDERSTOOD):
            kind = type(tree).__name__
            yield f"constrains names of the kind {kind}, which not every verifier understands"
            return
    for name in names:
        if not isinstance(name, x509.DNSName | x509.UniformResourceIdentifier):
            continue
        same_kind = [tree for tree in permitted if type(tree) is type(name)]
        if same_kind and not any(_within(name, tree) for tree in same_kind):
            yield f"does not permit the name {name.value}"
        elif any(_within(name, tree) for tree in excluded if type(tree) is type(name)):
            yield f"excludes the name {name.value}"


_UNDERSTOOD = (x509.DNSName, x509.UniformResourceIdentifier, x509.IPAddress, x509.RFC822Name)
"""What Go's crypto/x509 understands: with any other kind it refuses a critical extension."""


def _within(name: x509.DNSName | x509.UniformResourceIdentifier, tree: x509.GeneralName) -> bool:
    """Whether the subtree holds the name; where verifiers differ, only what all of them take.

    A leading dot means "at least one label more". Without one a DNS constraint holds its domain
    and everything below, a URI constraint only that one host (Go would take what is below, too).
    """
    domain = str(tree.value).lower()
    if isinstance(name, x509.DNSName):
        host = name.value.lower()
        return (
            host.endswith(domain)
            if domain[:1] in ("", ".")
            else (host == domain or host.endswith("." + domain))
        )
    host = name.value.partition("//")[2].partition("/")[0].lower()
    return host.endswith(domain) if domain.startswith(".") else host == domain


def _unknown_to_ztunnel(named: Sequence[tuple[str, x509.Certificate]]) -> Iterator[Refusal]:
    """V9: rustls-webpki refuses whatever is below any URI constraint, and ztunnel is built on it.

    The AKS add-on has no ambient mode, so only a caller who says `ambient` gets this one.
    """
    for name, certificate in named:
        if constrains_uris(certificate):
            yield Refusal(
                id="uri-name-constraint",
                reason=f"{name} has a URI name constraint, with which ztunnel refuses every leaf",
                mitigation=f"Issue {name} again without URI name constraints.",
                certificates=(reference(name, certificate),),
            )


def constrains_uris(certificate: x509.Certificate) -> bool:
    """Whether the certificate permits or excludes URIs for what is below it."""
    constraints = value(certificate, x509.NameConstraints)
    return constraints is not None and any(
        isinstance(tree, x509.UniformResourceIdentifier) for tree in _subtrees(constraints)
    )


def _subtrees(constraints: x509.NameConstraints) -> list[x509.GeneralName]:
    return [*(constraints.permitted_subtrees or ()), *(constraints.excluded_subtrees or ())]
