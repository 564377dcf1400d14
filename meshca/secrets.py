"""The four Key Vault secrets of a posture: names, contents, ends and tags.

Names and layout: learn.microsoft.com/azure/aks/istio-plugin-ca.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from meshca.bundle import CA_CERT, CA_KEY, CERT_CHAIN, ROOT_CERT
from meshca.certificates import fingerprint
from meshca.rotation import Identity, Posture

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


def holds(posture: Posture) -> Mapping[str, tuple[Identity, ...]]:
    """Secret -> the certificates that it is about, in order; `ca-key` is about its certificate."""
    signer = (posture.signer.identity,)
    return {
        ROOT_CERT: posture.trust,
        CA_KEY: signer,
        CERT_CHAIN: posture.chain,
        CA_CERT: signer,
    }


def describe(name: str, members: Sequence[Named]) -> Secret:
    """The secret of that name, which is about `members`."""
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
