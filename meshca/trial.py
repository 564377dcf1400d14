"""The trial: sign the two kinds of certificate that istiod signs, and verify them as a peer does.

V8. The rules say why a CA cannot work; this says whether it does, with a path validator that is
not ours: cryptography's, by the RFC 5280 profile of C2SP/x509-limbo. Its web PKI defaults for CA
extensions are replaced by what Envoy and Go require, because a mesh CA is none of the web.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    ClientVerifier,
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from meshca.ca_rules import Key
from meshca.name_constraints import constrains_uris
from meshca.paths import ISTIOD_NAMES, spiffe_id
from meshca.refusals import Refusal
from meshca.x509_facts import is_signed_by, reference, value

_CLOCK_SKEW = timedelta(minutes=2)
"""istiod dates a leaf back by this much (security/pkg/pki/util/generate_cert.go)."""

_USES = {
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
}


def trial_refusals(
    *,
    signer: x509.Certificate,
    key: Key,
    chain: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: datetime,
    leaf_ttl: timedelta,
    trust_domain: str,
) -> Iterator[Refusal]:
    """A refusal for each kind of leaf, and each role, that a peer could not verify at `now`.

    cryptography refuses every path under a URI name constraint; under one the leaves' signatures
    are verified and the rest is left to `paths.path_refusals`.
    """
    workload: list[x509.GeneralName] = [x509.UniformResourceIdentifier(spiffe_id(trust_domain))]
    istiod: list[x509.GeneralName] = [x509.DNSName(name) for name in ISTIOD_NAMES]
    within_reach = not any(constrains_uris(issuer) for issuer in (*chain, *roots))
    for owner, names in (("a workload", workload), ("istiod", istiod)):
        leaf = _leaf(names, signer=signer, key=key, now=now, leaf_ttl=leaf_ttl)
        if not is_signed_by(leaf, signer):
            yield _unverifiable(owner, "its signature is wrong", signer)
        elif within_reach:
            for role, use in _USES.items():
                try:
                    _peer(use, roots, now).verify(leaf, list(chain))
                except VerificationError as error:
                    yield _unverifiable(f"{owner} as {role}", str(error), signer)


def _leaf(
    names: Sequence[x509.GeneralName],
    *,
    signer: x509.Certificate,
    key: Key,
    now: datetime,
    leaf_ttl: timedelta,
) -> x509.Certificate:
    """What istiod signs (security/pkg/pki/util/generate_cert.go, genCertTemplateFromCSR)."""
    usage = x509.KeyUsage(
        digital_signature=True,
        key_encipherment=True,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(signer.subject)
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(min(now + leaf_ttl, signer.not_valid_after_utc))
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage(list(_USES.values())), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
    )
    own = value(signer, x509.SubjectKeyIdentifier)
    if own is not None:
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
        builder = builder.add_extension(authority, critical=False)
    return builder.sign(key, hashes.SHA256())


def _peer(
    use: x509.ObjectIdentifier, roots: Sequence[x509.Certificate], now: datetime
) -> ClientVerifier:
    """A peer that trusts `roots`. It is a client verifier for both roles, since a server verifier
    wants one DNS name, and identities in a mesh are URIs.
    """

    def may_sign(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
        if usage is not None and not usage.key_cert_sign:
            raise ValueError("a CA without keyCertSign")

    def may_vouch(_: Policy, __: x509.Certificate, uses: x509.ExtendedKeyUsage | None) -> None:
        if uses is not None and not {use, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(uses):
            raise ValueError("a CA with an extendedKeyUsage for something else")

    either = Criticality.AGNOSTIC
    ca = (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, either, None)
        .may_be_present(x509.KeyUsage, either, may_sign)
        .may_be_present(x509.ExtendedKeyUsage, either, may_vouch)
        .may_be_present(x509.CertificatePolicies, either, None)
    )
    leaf = ExtensionPolicy.permit_all().require_present(x509.SubjectAlternativeName, either, None)
    return (
        PolicyBuilder()
        .store(Store(list(roots)))
        .time(now)
        .extension_policies(ca_policy=ca, ee_policy=leaf)
        .build_client_verifier()
    )


def _unverifiable(leaf: str, why: str, signer: x509.Certificate) -> Refusal:
    return Refusal(
        id="leaf-unverifiable",
        reason=f"a leaf of {leaf}, signed with ca-key for a trial, does not verify: {why}",
        mitigation=(
            "Look at every certificate with `openssl x509 -text -noout`, and issue ca-cert again"
            " with `python -m meshca sign`."
        ),
        certificates=(reference("ca-cert", signer),),
    )
