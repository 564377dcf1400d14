"""Certification paths from a signer to a root, and the rules that only a whole path can break.

RFC 5280 section 6.1, as far as a mesh needs it: path length and name constraints. Signatures and
names join the path (`x509_facts.is_signed_by`); what one certificate must be by itself is in
`ca_rules`.
"""

from collections.abc import Iterator, Sequence

from cryptography import x509

from meshca.name_constraints import constrains_uris, objection
from meshca.refusals import Refusal
from meshca.x509_facts import is_signed_by, points_to, reference, same_name, shown, value

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
        if not _stands_in(above, path) and is_signed_by(last, above) and points_to(last, above):
            yield from _extended((*path, above), issuers, roots)


def _stands_in(certificate: x509.Certificate, path: Path) -> bool:
    """Whether the path has that CA already, be it by another certificate (RFC 4158 section 2.4.2).

    Without it, a few renewals of one CA would make thousands of paths that lead nowhere.
    """
    return any(
        same_name(one.subject, certificate.subject) and one.public_key() == certificate.public_key()
        for one in path
    )


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
            lower = ", ".join(name for name, _ in named[:below])
            yield Refusal(
                id="path-too-long",
                reason=(
                    f"{name} allows no more than {allowed} CA certificates below it"
                    f" (pathlen:{allowed}), but has {lower}"
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
    names: list[x509.GeneralName] = leaf_names(trust_domain)
    for name, certificate in named:
        # Its own names as well: cryptography, for one, applies the constraints to them.
        names.extend(value(certificate, x509.SubjectAlternativeName) or ())
        problem = objection(certificate, names)
        if problem:
            yield Refusal(
                id="name-constraints",
                reason=f"{name} ({shown(certificate.subject)}) {problem}",
                mitigation=(
                    f"Issue {name} again with name constraints that permit the URI host"
                    f" {trust_domain} and the DNS names {' and '.join(ISTIOD_NAMES)}."
                ),
                certificates=(reference(name, certificate),),
            )


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
