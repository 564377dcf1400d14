"""The certificates of a bundle together: who is whose issuer, and whether all hang on a root.

Rules about one certificate or one pair of them are in `ca_rules`, about one path in `paths`; this
module says to which certificates of a bundle they apply, and what only the whole can break.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations, islice

from cryptography import x509

from meshca.ca_rules import (
    ca_refusals,
    intermediate_refusals,
    root_refusals,
    signer_refusals,
    under_refusals,
)
from meshca.paths import Path, path_refusals, paths
from meshca.refusals import Refusal
from meshca.x509_facts import is_signed_by, reference, same_name, shown, value

ROOT_CERT, CA_CERT, CA_KEY, CERT_CHAIN = "root-cert", "ca-cert", "ca-key", "cert-chain"
"""Names of the Key Vault secrets; istiod reads them as files of these names with `.pem`."""

_MAX_PATHS = 32
"""Paths looked at for one issuer; cross-signed roots make a handful."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The certificates of a bundle, and how to name each of them."""

    roots: tuple[x509.Certificate, ...]
    signer: x509.Certificate
    chain: tuple[x509.Certificate, ...]

    @property
    def intermediates(self) -> tuple[x509.Certificate, ...]:
        """The signer and what else is in the chain file, but for roots; each once."""
        return tuple(
            certificate
            for certificate in dict.fromkeys((self.signer, *self.chain))
            if certificate not in self.roots
        )

    def name(self, certificate: x509.Certificate) -> str:
        """The file that it is in, and its number there if it is not alone."""
        if certificate == self.signer:
            return CA_CERT
        for file, held in ((ROOT_CERT, self.roots), (CERT_CHAIN, self.chain)):
            if certificate in held:
                return file if len(held) == 1 else f"{file} #{held.index(certificate) + 1}"
        raise ValueError("not a certificate of this bundle")


# Each certificate by itself


def each_root(roots: Sequence[x509.Certificate], *, now: datetime) -> Iterator[Refusal]:
    """V6: every root is sound, and there once."""
    for number, root in enumerate(roots, start=1):
        name = ROOT_CERT if len(roots) == 1 else f"{ROOT_CERT} #{number}"
        if root in roots[: number - 1]:
            yield Refusal(
                id="duplicate-root",
                reason=f"{name} is there already",
                mitigation="Keep one copy: istiod before 1.30 compares root-cert as text.",
                certificates=(reference(name, root),),
            )
        else:
            yield from root_refusals(name, root, now=now)


def each_intermediate(
    contents: Contents, *, now: datetime, leaf_ttl: timedelta
) -> Iterator[Refusal]:
    """V4, V7, V11 for the signer and for all that the chain file holds."""
    for certificate in contents.intermediates:
        name = contents.name(certificate)
        yield from ca_refusals(name, certificate, now=now)
        yield from intermediate_refusals(name, certificate)
    yield from signer_refusals(CA_CERT, contents.signer, now=now, leaf_ttl=leaf_ttl)


# How they hang together


def signer_in_chain(contents: Contents) -> Iterator[Refusal]:
    """V1: istiod hands out cert-chain with every leaf and never checks that ca-cert is in it."""
    if contents.signer not in contents.chain:
        yield Refusal(
            id="signer-not-in-chain",
            reason="cert-chain does not contain ca-cert, so no peer could verify a leaf",
            mitigation="Put ca-cert at the beginning of cert-chain.",
            certificates=(reference(CA_CERT, contents.signer),),
        )


def connections(
    contents: Contents, *, now: datetime, trust_domain: str, ambient: bool
) -> Iterator[Refusal]:
    """V1, V5, V7: each issuer has a sound path to a root of root-cert."""
    yield from _lookalikes(ROOT_CERT, contents.roots, contents)
    yield from _lookalikes(CERT_CHAIN, contents.intermediates, contents)
    cut_off = _without_root(contents)
    yield from _orphans(cut_off, contents)
    for certificate in contents.intermediates:
        if certificate in cut_off:
            continue
        above = _best_above(certificate, contents, now)
        found = _under(certificate, above, contents, now)
        yield from found
        if not found:
            yield from _best_path(certificate, contents, trust_domain, ambient)


def _under(
    certificate: x509.Certificate, above: x509.Certificate, contents: Contents, now: datetime
) -> list[Refusal]:
    return under_refusals(
        contents.name(certificate),
        certificate,
        above_name=contents.name(above),
        above=above,
        now=now,
    )


def _issuers_of(certificate: x509.Certificate, contents: Contents) -> list[x509.Certificate]:
    return [
        above
        for above in (*contents.roots, *contents.intermediates)
        if above != certificate and is_signed_by(certificate, above)
    ]


def _best_above(
    certificate: x509.Certificate, contents: Contents, now: datetime
) -> x509.Certificate:
    """The issuer that fits; the first one when none does."""
    above = _issuers_of(certificate, contents)
    return next((one for one in above if not _under(certificate, one, contents, now)), above[0])


def _best_path(
    certificate: x509.Certificate, contents: Contents, trust_domain: str, ambient: bool
) -> list[Refusal]:
    """What is wrong with the best path: nothing, or what is wrong with the first."""

    def judged(path: Path) -> list[Refusal]:
        named = [(contents.name(one), one) for one in path]
        return path_refusals(named, trust_domain=trust_domain, ambient=ambient)

    all_paths = paths(certificate, contents.intermediates, contents.roots)
    verdicts = [judged(path) for path in islice(all_paths, _MAX_PATHS)]
    return min(verdicts, key=len, default=[])


def _without_root(contents: Contents) -> list[x509.Certificate]:
    """The issuers that hang on no root of root-cert."""
    connected = list(contents.roots)
    waiting = list(contents.intermediates)
    while True:
        joined = [one for one in waiting if any(is_signed_by(one, up) for up in connected)]
        if not joined:
            return waiting
        connected += joined
        waiting = [one for one in waiting if one not in joined]


def _orphans(cut_off: Sequence[x509.Certificate], contents: Contents) -> Iterator[Refusal]:
    """One refusal for each break: what is below a cut is explained by it."""
    tops = [one for one in cut_off if not any(is_signed_by(one, up) for up in cut_off if up != one)]
    for certificate in tops or cut_off:
        name = contents.name(certificate)
        namesake = next(
            (root for root in contents.roots if same_name(root.subject, certificate.issuer)), None
        )
        if is_signed_by(certificate, certificate):
            reason = f"{name} is the root {shown(certificate.subject)}, which is not in root-cert"
        elif namesake is not None:
            reason = (
                f"{name} names {contents.name(namesake)} as its issuer, but is signed with"
                " another key"
            )
        else:
            reason = (
                f"{name} is issued by {shown(certificate.issuer)}, which is neither in root-cert"
                " nor in cert-chain"
            )
        yield Refusal(
            id="no-path",
            reason=reason,
            mitigation=(
                "Add the certificate that signed it: a root to root-cert, an intermediate to"
                " cert-chain; or take out what does not belong there."
            ),
            certificates=(reference(name, certificate),),
        )


def _lookalikes(
    file: str, certificates: Sequence[x509.Certificate], contents: Contents
) -> Iterator[Refusal]:
    """CAs of one name and different keys must be told apart by key identifiers.

    BoringSSL takes the first that fits by name and key identifier and tries no other
    (crypto/x509/x509_lu.cc, X509_STORE_CTX_get1_issuer). Go tries them all, so istiod notices
    nothing. Roots of Istio's own Makefile all have one name.
    """
    for one, other in combinations(dict.fromkeys(certificates), 2):
        if not same_name(one.subject, other.subject) or one.public_key() == other.public_key():
            continue
        ids = [value(each, x509.SubjectKeyIdentifier) for each in (one, other)]
        below = [
            each
            for each in contents.intermediates
            if any(is_signed_by(each, up) for up in (one, other))
            and not _has_authority_key_id(each)
        ]
        if None not in ids and ids[0] != ids[1] and not below:
            continue
        names = [contents.name(each) for each in (one, other)]
        culprits = below or [one, other]
        yield Refusal(
            id="lookalikes",
            reason=(
                f"{names[0]} and {names[1]} have the same subject {shown(one.subject)} and"
                " different keys, and nothing by which Envoy could tell which one is meant"
            ),
            mitigation=(
                f"Give each CA in {file} a subject of its own, or issue them and what they sign"
                " with subject and authority key identifiers."
            ),
            certificates=tuple(reference(contents.name(each), each) for each in culprits),
        )


def _has_authority_key_id(certificate: x509.Certificate) -> bool:
    authority = value(certificate, x509.AuthorityKeyIdentifier)
    return authority is not None and authority.key_identifier is not None
