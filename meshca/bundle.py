"""The four PEM texts that istiod reads, made byte for byte the same each time, and judged.

Names and order: learn.microsoft.com/azure/aks/istio-plugin-ca. What istiod itself checks, and
what it fails to: pilot/pkg/bootstrap/istio_ca.go and server.go, security/pkg/pki/util
/keycertbundle.go, security/pkg/pki/ca/ca.go. `refusals` lets nothing pass that istiod would refuse
at start-up, nor anything that it accepts although no peer could verify what it then signs.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509

from meshca import hierarchy, pem
from meshca.ca_rules import Key, key_refusals
from meshca.certificates import encode, encode_key, examine_certificates, parse_key
from meshca.hierarchy import CA_CERT, CA_KEY, CERT_CHAIN, ROOT_CERT
from meshca.paths import TRUST_DOMAIN
from meshca.refusals import Refusal, Refused
from meshca.trial import trial_refusals

__all__ = [
    "CA_CERT",
    "CA_KEY",
    "CERT_CHAIN",
    "LEAF_TTL",
    "MAX_SECRET_BYTES",
    "ROOT_CERT",
    "Bundle",
    "make",
    "refusals",
    "text",
]

LEAF_TTL = timedelta(hours=24)
"""DEFAULT_WORKLOAD_CERT_TTL of istiod, SECRET_TTL of its agents."""

MAX_SECRET_BYTES = 25_000
"""Largest value of a Key Vault secret (learn.microsoft.com/azure/key-vault/secrets
/about-secrets)."""


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


def make(
    *,
    trust: Sequence[x509.Certificate],
    signer: x509.Certificate,
    chain: Sequence[x509.Certificate],
    key: Key | None,
) -> Bundle:
    """The bundle that trusts `trust` in that order, signs with `signer`, hands out `chain`."""
    return Bundle(
        root_cert=text(trust),
        ca_cert=text([signer]),
        cert_chain=text(chain),
        ca_key=None if key is None else encode_key(key),
    )


def text(certificates: Sequence[x509.Certificate]) -> str:
    """The file that holds these certificates in this order.

    Each is always the same bytes, so that a root-cert that gains a root begins with the root-cert
    that it was: istiod before 1.30 compares the two as text.
    """
    return "".join(map(encode, certificates))


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
    if found:
        # No vault takes it, whatever it holds; and of a whole disk's worth all would be parsed.
        return found
    roots = _certificates(texts, ROOT_CERT, found)
    signers = _certificates(texts, CA_CERT, found)
    chain = _certificates(texts, CERT_CHAIN, found)
    key = _key(texts, found)

    if roots:
        found += hierarchy.each_root(roots, now=now)
    if signers and len(signers) > 1:
        found.append(_several_signers(len(signers)))
    if key is not None and signers:
        found += key_refusals(CA_CERT, signers[0], key)
    if not (roots and signers and chain):
        return found

    contents = hierarchy.Contents(roots, signers[0], chain)
    found += hierarchy.each_intermediate(contents, now=now, leaf_ttl=leaf_ttl)
    found += hierarchy.signer_in_chain(contents)
    found += hierarchy.connections(contents, now=now, trust_domain=trust_domain, ambient=ambient)
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
                "Save it whole, as plain text without a byte order mark, with each BEGIN and END"
                " line alone and from the first column on."
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
