"""The four PEM texts that istiod reads, made byte for byte the same each time, and judged.

Names and order: learn.microsoft.com/azure/aks/istio-plugin-ca. What istiod itself checks, and
what it fails to: pilot/pkg/bootstrap/istio_ca.go and server.go, security/pkg/pki/util
/keycertbundle.go, security/pkg/pki/ca/ca.go. `refusals` lets nothing pass that istiod would refuse
at start-up, nor anything that it accepts although no peer could verify what it then signs.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import combinations, islice

from cryptography import x509

from meshca import pem
from meshca.ca_rules import (
    Key,
    ca_refusals,
    intermediate_refusals,
    key_refusals,
    root_refusals,
    signer_refusals,
    under_refusals,
)
from meshca.certificates import encode, encode_key, examine_certificates, parse_key
from meshca.paths import TRUST_DOMAIN, Path, path_refusals, paths
from meshca.refusals import Refusal, Refused
from meshca.trial import trial_refusals
from meshca.x509_facts import is_signed_by, reference, same_name, shown, value

ROOT_CERT, CA_CERT, CA_KEY, CERT_CHAIN = "root-cert", "ca-cert", "ca-key", "cert-chain"
"""Names of the Key Vault secrets; istiod reads them as files of these names with `.pem`."""

LEAF_TTL = timedelta(hours=24)
"""DEFAULT_WORKLOAD_CERT_TTL of istiod, SECRET_TTL of its agents."""

MAX_SECRET_BYTES = 25_000
"""Largest value of a Key Vault secret (learn.microsoft.com/azure/key-vault/secrets
/about-secrets)."""

_MAX_PATHS = 32
"""Paths looked at for one issuer; cross-signed roots make a handful."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The four files of a posture, as PEM text. `ca_key` is None when somebody else writes it.

    `repr` shows none of them: until it is judged, a private key may be anywhere.
    """

    root_cert: str = field(repr=False)
    ca_cert: str = field(repr=False)
    cert_chain: str = field(repr=False)
    ca_key: str | None = field(repr=False)

    def texts(self) -> dict[str, str]:
        """The text of each file, by the name of its Key Vault secret; secret, like `ca_key`."""
        texts = {
            ROOT_CERT: self.root_cert,
            CA_CERT: self.ca_cert,
            CA_KEY: self.ca_key,
            CERT_CHAIN: self.cert_chain,
        }
        return {name: text for name, text in texts.items() if text is not None}


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


def make(
    *,
    trust: Sequence[x509.Certificate],
    signer: x509.Certificate,
    chain: Sequence[x509.Certificate],
    key: Key | None,
) -> Bundle:
    """The bundle that trusts `trust` in that order, signs with `signer`, hands out `chain`.

    Each certificate is always the same bytes, so that a root-cert that gains a root begins with
    the root-cert that it was: istiod before 1.30 compares the two as text.
    """
    return Bundle(
        root_cert="".join(map(encode, trust)),
        ca_cert=encode(signer),
        cert_chain="".join(map(encode, chain)),
        ca_key=None if key is None else encode_key(key),
    )


def refusals(
    bundle: Bundle,
    *,
    now: datetime,
    leaf_ttl: timedelta = LEAF_TTL,
    trust_domain: str = TRUST_DOMAIN,
    ambient: bool = False,
    unread: Collection[str] = (),
) -> list[Refusal]:
    """Every reason why istiod, or a mesh behind it, could not live with this bundle at `now`.

    `leaf_ttl` is the longest life of a leaf, `trust_domain` the host of every SPIFFE identity,
    `ambient` whether ztunnel is among the peers, `unread` the names of files that nobody could
    read and that are passed over. Without a key, the trial (V8) is left out.

    Reads from the text inwards: what each file is, each certificate by itself, how they hang
    together, and at last, when nothing is wrong so far, leaves that are signed and verified.
    """
    texts = {name: text for name, text in bundle.texts().items() if name not in unread}
    found = [*_too_large(texts)]
    roots = _certificates(texts, ROOT_CERT, found)
    signers = _certificates(texts, CA_CERT, found)
    chain = _certificates(texts, CERT_CHAIN, found)
    key = _key(texts, found)

    if roots:
        found += _root_refusals(roots, now=now)
    if signers and len(signers) > 1:
        found.append(_several_signers(len(signers)))
    if key is not None and signers:
        found += key_refusals(CA_CERT, signers[0], key)
    if not (roots and signers and chain):
        return found

    contents = Contents(roots, signers[0], chain)
    found += _intermediate_refusals(contents, now=now, leaf_ttl=leaf_ttl)
    found += _signer_in_chain(contents)
    found += _connection_refusals(contents, now=now, trust_domain=trust_domain, ambient=ambient)
    if key is not None and not found:
        found += trial_refusals(
            signer=contents.signer,
            key=key,
            chain=chain,
            roots=roots,
            now=now,
            leaf_ttl=leaf_ttl,
            trust_domain=trust_domain,
        )
    return found


# The text of the files


def _too_large(texts: Mapping[str, str]) -> Iterator[Refusal]:
    """What does not fit into a Key Vault secret."""
    for name, text in texts.items():
        size = len(text.encode())
        if size > MAX_SECRET_BYTES:
            yield Refusal(
                id="too-large",
                reason=f"{name} has {size} bytes; a Key Vault secret holds {MAX_SECRET_BYTES}",
                mitigation="Leave out what does not belong there: text, old roots, whole bundles.",
            )


def _malformed(name: str, text: str) -> list[Refusal]:
    """What Go's PEM reader would not find, whatever the blocks hold."""
    oddity = pem.oddity(text)
    if oddity is None:
        return []
    return [
        Refusal(
            id="malformed-pem",
            reason=f"istiod cannot read all of {name}: {oddity}",
            mitigation=(
                "Save it as plain text without a byte order mark, each BEGIN and END line alone"
                " and from the first column on."
            ),
        )
    ]


_EXPLAINED_BY_FORM = frozenset(
    {"malformed-pem", "no-certificate", "not-a-certificate", "not-one-key", "not-a-key"}
)
"""What a reader says of a text that is malformed, because it is."""


def _unexplained(read: Sequence[Refusal], malformed: Sequence[Refusal]) -> list[Refusal]:
    return [one for one in read if not (malformed and one.id in _EXPLAINED_BY_FORM)]


def _certificates(
    texts: Mapping[str, str], name: str, found: list[Refusal]
) -> tuple[x509.Certificate, ...] | None:
    """The certificates of a file, or None, with the reason in `found`, when some are in doubt."""
    if name not in texts:
        return None
    malformed = _malformed(name, texts[name])
    read = examine_certificates(texts[name], where=name)
    found += [*malformed, *_unexplained(read.refusals, malformed)]
    return None if read.refusals else read.certificates


def _key(texts: Mapping[str, str], found: list[Refusal]) -> Key | None:
    """V2: one key and nothing else; istiod takes the first block of ca-key, whatever it is."""
    if CA_KEY not in texts:
        return None
    malformed = _malformed(CA_KEY, texts[CA_KEY])
    found += malformed
    try:
        key = parse_key(texts[CA_KEY], where=CA_KEY)
    except Refused as refused:
        found += _unexplained(refused.refusals, malformed)
        return None
    if len(pem.blocks(texts[CA_KEY])) > 1:
        found.append(
            Refusal(
                id="not-one-key",
                reason="ca-key holds EC PARAMETERS before the key, and istiod reads no further",
                mitigation="Write the key alone: `(umask 077; openssl pkey -in KEY -out NEW-KEY)`.",
            )
        )
    return key


def _several_signers(count: int) -> Refusal:
    """V2: istiod uses the first and ignores the rest."""
    return Refusal(
        id="not-one-certificate",
        reason=f"ca-cert holds {count} certificates; istiod uses the first and ignores the rest",
        mitigation="Keep the certificate that signs; the others belong into cert-chain.",
    )


# Each certificate by itself


def _root_refusals(roots: Sequence[x509.Certificate], *, now: datetime) -> Iterator[Refusal]:
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


def _intermediate_refusals(
    contents: Contents, *, now: datetime, leaf_ttl: timedelta
) -> Iterator[Refusal]:
    """V4, V7, V11 for the signer and for all that the chain file holds."""
    for certificate in contents.intermediates:
        name = contents.name(certificate)
        yield from ca_refusals(name, certificate, now=now)
        yield from intermediate_refusals(name, certificate)
    yield from signer_refusals(CA_CERT, contents.signer, now=now, leaf_ttl=leaf_ttl)


# How they hang together


def _signer_in_chain(contents: Contents) -> Iterator[Refusal]:
    """V1: istiod hands out cert-chain with every leaf and never checks that ca-cert is in it."""
    if contents.signer not in contents.chain:
        yield Refusal(
            id="signer-not-in-chain",
            reason="cert-chain does not contain ca-cert, so no peer could verify a leaf",
            mitigation="Put ca-cert at the beginning of cert-chain.",
            certificates=(reference(CA_CERT, contents.signer),),
        )


def _connection_refusals(
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
