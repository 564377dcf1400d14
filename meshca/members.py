"""The roots and issuers of the configuration, as the rotation knows them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from meshca import certificates
from meshca.material import Material
from meshca.refusals import CertificateRef
from meshca.rotation import GENERATED, Identity, Intermediate
from meshca.settings import GeneratedRoot, Issuer, Settings


@dataclass(frozen=True, slots=True)
class Member:
    """A root or an issuer of the configuration, as the rotation sees it."""

    name: str
    identity: Identity
    root: Identity | None
    """None for a root."""
    certificate: x509.Certificate | None
    """None for what the program generates: it is known only while resources run."""
    not_after: datetime

    @property
    def intermediate(self) -> Intermediate:
        """An issuer with its root."""
        assert self.root is not None, "only an issuer has a root above it"
        return Intermediate(self.identity, self.root)

    @property
    def reference(self) -> CertificateRef:
        """How a refusal names it."""
        if self.certificate is None:
            return CertificateRef(self.name)
        return certificates.reference(self.name, self.certificate)


def members(settings: Settings, material: Material, *, now: datetime) -> dict[str, Member]:
    """Every root and every issuer that has, or will get, a certificate; by name, issuers last.

    An offline certificate is its SHA-256, whatever its name. What the program generates is known
    by name and recipe, before it exists: a changed recipe would make another certificate.
    """
    found: dict[str, Member] = {}
    for name, root in settings.roots.items():
        certificate = material.roots.get(name)
        if certificate is not None:
            found[name] = _offline(name, None, certificate)
        elif root.generated is not None:
            recipe = _root_recipe(name, root.generated)
            found[name] = _generated(name, None, recipe, now + root.generated.validity)
    for name, issuer in settings.issuers.items():
        above = found[issuer.root]
        certificate = material.issuers.get(name)
        if certificate is not None:
            found[name] = _offline(name, above.identity, certificate)
        elif not settings.pending(name):
            recipe = _issuer_recipe(name, issuer, _public(material, name))
            found[name] = _generated(name, above.identity, recipe, now + issuer.validity)
    return found


def _offline(name: str, root: Identity | None, certificate: x509.Certificate) -> Member:
    identity = f"sha256:{certificates.fingerprint(certificate)}"
    return Member(name, identity, root, certificate, certificate.not_valid_after_utc)


def _root_recipe(name: str, root: GeneratedRoot) -> Sequence[object]:
    """What a certificate is made of: a default that is spelled out makes no other one."""
    subject = (root.common_name_of(name), root.organization)
    return [root.algorithm, *subject, root.validity.total_seconds()]


def _issuer_recipe(name: str, issuer: Issuer, public: str | None) -> Sequence[object]:
    subject = (issuer.common_name_of(name), issuer.organization)
    return [issuer.key, issuer.key_algorithm, *subject, issuer.validity.total_seconds(), public]


def _generated(
    name: str, root: Identity | None, recipe: Sequence[object], not_after: datetime
) -> Member:
    digest = hashlib.sha256(json.dumps([root, *recipe]).encode()).hexdigest()[:16]
    return Member(name, f"{GENERATED}{name}:{digest}", root, None, not_after)


def _public(material: Material, name: str) -> str | None:
    key = material.keys.get(name)
    if key is None:
        return None
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()
