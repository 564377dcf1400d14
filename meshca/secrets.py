"""The four Key Vault secrets of a posture: names, contents, ends and tags.

Names and layout: learn.microsoft.com/azure/aks/istio-plugin-ca.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from meshca.bundle import CA_CERT, CA_KEY, CERT_CHAIN, ROOT_CERT
from meshca.certificates import fingerprint

CONTENT_TYPE = "application/x-pem-file"

WRITE_ORDER = (ROOT_CERT, CA_KEY, CERT_CHAIN, CA_CERT)
"""Each waits for the one before. In the moves of a rotation any order is sound. In a one-step
change of the issuer (break-glass) the certificate comes last, so that after each write but the
last a running istiod finds a key that does not match, refuses the set and keeps the old one
(istio security/pkg/pki/util/keycertbundle.go, Verify)."""


@dataclass(frozen=True, slots=True)
class Named:
    """A certificate under the name that the configuration gives it."""

    name: str
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class Secret:
    """What is public about one of the four secrets."""

    name: str
    not_before: int
    """Unix seconds: when the last of its certificates becomes valid."""
    expires: int
    """Unix seconds: when the first of its certificates ends."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """`authority`: the names of what is in it; `sha256`: their fingerprints, in the same order.
    Together they say which part of which posture this version of the secret is."""


def describe(
    *, trust: Sequence[Named], signer: Named, chain: Sequence[Named], key: bool
) -> dict[str, Secret]:
    """The secrets of a posture, in the order in which they are written.

    `key` is False when somebody else writes `ca-key`. The key's tags are those of its certificate.
    """
    holds: dict[str, Sequence[Named]] = {
        ROOT_CERT: trust,
        CA_KEY: [signer],
        CERT_CHAIN: chain,
        CA_CERT: [signer],
    }
    return {name: _secret(name, holds[name]) for name in WRITE_ORDER if key or name != CA_KEY}


def _secret(name: str, members: Sequence[Named]) -> Secret:
    certificates = [member.certificate for member in members]
    return Secret(
        name,
        _seconds(max(certificate.not_valid_before_utc for certificate in certificates)),
        _seconds(min(certificate.not_valid_after_utc for certificate in certificates)),
        {
            "authority": " ".join(member.name for member in members),
            "sha256": " ".join(fingerprint(certificate) for certificate in certificates),
        },
    )


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
