"""The rules that a root and an issuer of a mesh must meet. One rule, one function.

They close what istiod lets through at start-up or on reload and its leaves then fail on. V1 to V11
are the numbers of the rules in the design; a rule names the part of istio, the RFC or the
verifier that it comes from.

A rule yields nothing where another one explains the same mistake: a certificate that is no CA is
not told, too, that it may not sign.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from meshca import durations, go_parsing
from meshca.paths import path_refusals
from meshca.refusals import CertificateRef, Refusal, iso
from meshca.x509_facts import (
    MAX_RSA_BITS,
    MIN_RSA_BITS,
    extension,
    has_plain_key_type,
    is_self_issued,
    is_signed_by,
    is_usable_key,
    key_kind,
    points_to,
    reference,
    same_name,
    serial_number,
    shown,
    value,
)

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_ISSUE_AGAIN = "make a new one with `python -m meshca sign`, or have its CA issue it so"

_UNDERSTOOD_WHEN_CRITICAL = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.CERTIFICATE_POLICIES,
    }
)

_SOUND_DIGESTS = frozenset({"sha256", "sha384", "sha512"})


def root_refusals(name: str, root: x509.Certificate, *, now: datetime) -> list[Refusal]:
    """Whether `root` may be a trust anchor of the mesh at `now` (V6, V11)."""
    return [
        *ca_refusals(name, root, now=now),
        *_is_its_own_issuer(name, root),
        *_serves_both_sides(name, root),
        *_can_be_pointed_to(name, root),
    ]


def issuer_refusals(
    name: str,
    issuer: x509.Certificate,
    *,
    root_name: str,
    root: x509.Certificate,
    now: datetime,
    leaf_ttl: timedelta,
) -> list[Refusal]:
    """Whether `issuer` may sign leaves of `leaf_ttl` directly under `root` at `now` (V4 to V11).

    `root` itself is not judged here: see `root_refusals`.
    """
    under_root = under_refusals(name, issuer, above_name=root_name, above=root, now=now)
    broken = any(refusal.id == "not-signed-by" for refusal in under_root)
    return [
        *ca_refusals(name, issuer, now=now),
        *intermediate_refusals(name, issuer),
        *signer_refusals(name, issuer, now=now, leaf_ttl=leaf_ttl),
        *under_root,
        *([] if broken else path_refusals([(name, issuer), (root_name, root)])),
    ]


def key_refusals(name: str, issuer: x509.Certificate, key: Key) -> list[Refusal]:
    """Whether `key` is the private key of `issuer` (V11).

    istiod takes the pair only when they match (security/pkg/pki/util/keycertbundle.go, Verify).
    A key that matches is as strong as its certificate's, which the certificate's rules judge.
    """
    if issuer.public_key() == key.public_key():
        return []
    if not is_usable_key(key.public_key()):
        return [_unusable_key(f"the private key of {name}", key_kind(key.public_key()))]
    return [
        Refusal(
            id="key-mismatch",
            reason=f"the private key does not belong to the certificate {name}",
            mitigation=(
                "Take the key that the certificate was requested with. The two belong together"
                " when `openssl pkey -in KEY -pubout` and `openssl x509 -in CERTIFICATE -noout"
                " -pubkey` print the same."
            ),
            certificates=(reference(name, issuer),),
        )
    ]


# One certificate by itself


def ca_refusals(name: str, certificate: x509.Certificate, *, now: datetime) -> list[Refusal]:
    """What every CA of the mesh must be by itself, root or intermediate."""
    return [
        *_is_a_signing_ca(name, certificate),
        *_has_a_usable_key(name, certificate),
        *_has_a_subject(name, certificate),
        *_has_a_serial_number(name, certificate),
        *_is_understood(name, certificate),
        *_is_readable_in_go(name, certificate),
        *_asks_for_no_policy(name, certificate),
        *_is_in_force(name, certificate, now),
    ]


def intermediate_refusals(name: str, certificate: x509.Certificate) -> list[Refusal]:
    """What an intermediate must be by itself, beyond what every CA must."""
    return [*_leaves_usages_open(name, certificate), *_is_signed_soundly(name, certificate)]


def signer_refusals(
    name: str, certificate: x509.Certificate, *, now: datetime, leaf_ttl: timedelta
) -> list[Refusal]:
    """What the one that signs must be beyond that: it must outlast its leaves (V7).

    istiod cuts a leaf off at the end of its signer (security/pkg/pki/ca/ca.go, since 1.28.7), so
    near that end leaves get shorter and renewals denser; before, they outlived it.
    """
    left = certificate.not_valid_after_utc - now
    if left <= timedelta(0) or left > leaf_ttl:
        return []
    return [
        Refusal(
            id="ends-too-soon",
            reason=(
                f"{name} ends at {iso(certificate.not_valid_after_utc)}, no later than a leaf of"
                f" {durations.spell(leaf_ttl)} signed now would"
            ),
            mitigation="Sign with an issuer that lives longer than the leaves.",
            certificates=(reference(name, certificate),),
        )
    ]


def _is_a_signing_ca(name: str, certificate: x509.Certificate) -> Iterator[Refusal]:
    """V4, V6: X.509 v3, CA:TRUE, keyUsage with keyCertSign.

    RFC 5280 sections 4.1.2.1, 4.2.1.3 and 4.2.1.9; X509-SVID section 4.3. On reload istiod does
    not look at CA:TRUE, and at no time at keyCertSign; Envoy and Go look at both.
    """
    constraints = value(certificate, x509.BasicConstraints)
    usage = value(certificate, x509.KeyUsage)
    if certificate.version is not x509.Version.v3:
        missing, remedy = "is an X.509 v1 certificate", "as version 3 with CA:TRUE"
        identity = "old-version"
    elif constraints is None or not constraints.ca:
        missing, remedy = "is not a CA certificate", "with basicConstraints CA:TRUE"
        identity = "not-a-ca"
    elif usage is None or not usage.key_cert_sign:
        state = "has no keyUsage" if usage is None else "has a keyUsage without keyCertSign"
        missing, remedy = state, "with keyUsage keyCertSign, cRLSign"
        identity = "cannot-sign"
    else:
        return
    yield Refusal(
        id=identity,
        reason=f"{name} ({shown(certificate.subject)}) {missing}",
        mitigation=f"Issue {name} again {remedy}.",
        certificates=(reference(name, certificate),),
    )


def _has_a_usable_key(name: str, certificate: x509.Certificate) -> Iterator[Refusal]:
    """V11: see `is_usable_key`."""
    if not has_plain_key_type(certificate):
        oid = certificate.public_key_algorithm_oid
        kind = f"of the type {oid.dotted_string}"
    elif not is_usable_key(certificate.public_key()):
        kind = key_kind(certificate.public_key())
    else:
        return
    yield _unusable_key(f"the key of {name}", kind, (reference(name, certificate),))


def _unusable_key(what: str, kind: str, certificates: tuple[CertificateRef, ...] = ()) -> Refusal:
    return Refusal(
        id="key-not-allowed",
        reason=f"{what} is of a kind that not every peer can use: {kind}",
        mitigation=(
            f"Use RSA with {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, ECDSA P-256 or ECDSA P-384."
        ),
        certificates=certificates,
    )


def _has_a_subject(name: str, certificate: x509.Certificate) -> Iterator[Refusal]:
    """A CA's subject must not be empty: every leaf names it (RFC 5280 4.1.2.4 and 4.1.2.6)."""
    if not list(certificate.subject):
        yield Refusal(
            id="empty-subject",
            reason=f"{name} has an empty subject, so what it signs would have no issuer",
            mitigation=f"Issue {name} again with a common name.",
            certificates=(reference(name, certificate),),
        )


def _has_a_serial_number(name: str, certificate: x509.Certificate) -> Iterator[Refusal]:
    """The serial number must be positive (RFC 5280 4.1.2.2); Go does not parse a negative one."""
    if serial_number(certificate) <= 0:
        yield Refusal(
            id="bad-serial-number",
            reason=f"{name} has a serial number that is not positive",
            mitigation=f"Issue {name} again with a positive serial number.",
            certificates=(reference(name, certificate),),
        )


def _is_understood(name: str, certificate: x509.Certificate) -> Iterator[Refusal]:
    """A verifier refuses a critical extension that it does not know (RFC 5280 section 4.2)."""
    unknown = [
        found.oid.dotted_string
        for found in certificate.extensions
        if found.critical and found.oid not in _UNDERSTOOD_WHEN_CRITICAL
    ]
    if unknown:
        yield Refusal(
            id="critical-extension",
            reason=f"{name} has critical extensions that verifiers refuse: {', '.join(unknown)}",
            mitigation=f"Issue {name} again without them, or with them not critical.",
            certificates=(reference(name, certificate),),
        )


def _is_readable_in_go(name: str, certificate: x509.Certificate) -> Iterator[Refusal]:
    """istiod does not start with a certificate that Go cannot parse (crypto/x509, parser.go)."""
    found = go_parsing.unreadable(certificate)
    if found is not None:
        yield Refusal(
            id="unreadable-in-go",
            reason=f"{name} has {found}, which istiod, being a Go program, cannot read",
            mitigation=f"Issue {name} again without it.",
            certificates=(reference(name, certificate),),
        )


def _asks_for_no_policy(name: str, certificate: x509.Certificate) -> Iterator[Refusal]:
    """istiod's leaves carry no certificate policy, so none may be required (RFC 5280 4.2.1.11).

    Go applies it even where it is not critical; where it is, `_is_understood` refuses it.
    """
    found = extension(certificate, x509.PolicyConstraints)
    if found and not found.critical and found.value.require_explicit_policy is not None:
        yield Refusal(
            id="policy-required",
            reason=f"{name} requires a certificate policy, and the leaves of a mesh have none",
            mitigation=f"Issue {name} again without policyConstraints.",
            certificates=(reference(name, certificate),),
        )


def _is_in_force(name: str, certificate: x509.Certificate, now: datetime) -> Iterator[Refusal]:
    """Every certificate of every path is checked against the clock (RFC 5280 6.1.3 (a) (2))."""
    if now > certificate.not_valid_after_utc:
        yield Refusal(
            id="expired",
            reason=f"{name} ended at {iso(certificate.not_valid_after_utc)}",
            mitigation=f"Replace {name} by a certificate that is still valid.",
            certificates=(reference(name, certificate),),
        )
    elif now < certificate.not_valid_before_utc:
        yield Refusal(
            id="not-yet-valid",
            reason=f"{name} is valid only from {iso(certificate.not_valid_before_utc)} on",
            mitigation="Wait until then, and check the clock of the machine that issued it.",
            certificates=(reference(name, certificate),),
            legal_at=certificate.not_valid_before_utc,
        )


def _leaves_usages_open(name: str, certificate: x509.Certificate) -> Iterator[Refusal]:
    """V4: no extendedKeyUsage on an intermediate.

    X509-SVID section 4.4 warns that verifiers disagree on it. With serverAuth alone istiod
    accepts the CA and every client certificate under it fails; with clientAuth alone Go's default
    refuses it.
    """
    if value(certificate, x509.ExtendedKeyUsage) is not None:
        yield Refusal(
            id="has-extended-key-usage",
            reason=f"{name} has an extendedKeyUsage, on which verifiers disagree in a CA",
            mitigation=f"Issue {name} again without extendedKeyUsage: {_ISSUE_AGAIN}.",
            certificates=(reference(name, certificate),),
        )


def _is_signed_soundly(name: str, certificate: x509.Certificate) -> Iterator[Refusal]:
    """SHA-1, MD5 and what Go has no name for are refused below a root (crypto/x509, Verify)."""
    digest = certificate.signature_hash_algorithm
    if digest is None or digest.name not in _SOUND_DIGESTS:
        yield Refusal(
            id="weak-signature",
            reason=f"{name} is signed with {digest.name if digest else 'an unknown digest'}",
            mitigation=f"Issue {name} again with SHA-256, SHA-384 or SHA-512.",
            certificates=(reference(name, certificate),),
        )


# A root by itself


def _is_its_own_issuer(name: str, root: x509.Certificate) -> Iterator[Refusal]:
    """V6: a root signs itself.

    Stricter than Envoy, which takes an issuer for an anchor too: a rotation counts on root-cert
    naming roots. An authority key identifier, if any, must be its own (RFC 5280 section 4.2.1.1).
    """
    if not is_self_issued(root):
        problem = f"is issued by {shown(root.issuer)}, not by itself"
    elif not is_signed_by(root, root):
        problem = "carries a signature that is not its own"
    elif not points_to(root, root):
        problem = "has an authority key identifier that is not its own"
    else:
        return
    yield Refusal(
        id="not-self-signed",
        reason=f"{name} ({shown(root.subject)}) {problem}",
        mitigation="Put the self-signed root here; intermediates belong into cert-chain.",
        certificates=(reference(name, root),),
    )


def _serves_both_sides(name: str, root: x509.Certificate) -> Iterator[Refusal]:
    """An extendedKeyUsage of a root must allow client and server: Go applies it to the path."""
    usages = value(root, x509.ExtendedKeyUsage)
    if usages is None or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages:
        return
    if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} <= set(usages):
        yield Refusal(
            id="has-extended-key-usage",
            reason=f"{name} has an extendedKeyUsage without both serverAuth and clientAuth",
            mitigation="Use a root without extendedKeyUsage: `python -m meshca root new`.",
            certificates=(reference(name, root),),
        )


def _can_be_pointed_to(name: str, root: x509.Certificate) -> Iterator[Refusal]:
    """V6: a subject key identifier, by which BoringSSL tells roots of one name apart."""
    if root.version is x509.Version.v3 and value(root, x509.SubjectKeyIdentifier) is None:
        yield Refusal(
            id="no-subject-key-id",
            reason=f"{name} has no subject key identifier",
            mitigation=(
                "Use a root with one: `python -m meshca root new`, or `subjectKeyIdentifier ="
                " hash` in the openssl configuration."
            ),
            certificates=(reference(name, root),),
        )


# A certificate and the one above it


def under_refusals(
    name: str,
    certificate: x509.Certificate,
    *,
    above_name: str,
    above: x509.Certificate,
    now: datetime,
) -> list[Refusal]:
    """Whether `certificate` is soundly issued by `above`."""
    if not is_signed_by(certificate, above):
        return [_not_signed_by(name, certificate, above_name, above)]
    return [
        *_points_above(name, certificate, above_name, above),
        *_has_another_subject(name, certificate, above_name, above),
        *_ends_before(name, certificate, above_name, above, now),
    ]


def _not_signed_by(
    name: str, certificate: x509.Certificate, above_name: str, above: x509.Certificate
) -> Refusal:
    """istiod takes a signer only under a root in root-cert (keycertbundle.go, Verify)."""
    if same_name(certificate.issuer, above.subject):
        how = f"names {above_name} as its issuer, but is signed with another key"
    else:
        how = f"is issued by {shown(certificate.issuer)}, not by {shown(above.subject)}"
    return Refusal(
        id="not-signed-by",
        reason=f"{name} {how}",
        mitigation=f"Pair {name} with the root that signed it, or have {above_name} sign it.",
        certificates=(reference(name, certificate), reference(above_name, above)),
    )


def _points_above(
    name: str, certificate: x509.Certificate, above_name: str, above: x509.Certificate
) -> Iterator[Refusal]:
    """See `points_to`: istiod does not look at key identifiers, Envoy does."""
    if not points_to(certificate, above):
        yield Refusal(
            id="wrong-authority-key-id",
            reason=f"{name} has an authority key identifier that is not that of {above_name}",
            mitigation=f"Issue {name} again under the present certificate of {above_name}.",
            certificates=(reference(name, certificate), reference(above_name, above)),
        )


def _has_another_subject(
    name: str, certificate: x509.Certificate, above_name: str, above: x509.Certificate
) -> Iterator[Refusal]:
    """An intermediate with its issuer's name counts as self-issued (RFC 5280 section 3.2).

    Verifiers then disagree on the path length, and may take one for the other.
    """
    if list(certificate.subject) and is_self_issued(certificate):
        yield Refusal(
            id="subject-of-its-issuer",
            reason=f"{name} has the same subject as {above_name}: {shown(above.subject)}",
            mitigation=f"Issue {name} again with a subject of its own.",
            certificates=(reference(name, certificate), reference(above_name, above)),
        )


def _ends_before(
    name: str,
    certificate: x509.Certificate,
    above_name: str,
    above: x509.Certificate,
    now: datetime,
) -> Iterator[Refusal]:
    """V7: it ends no later than what it depends on; a leaf is cut off only at its own signer."""
    if certificate.not_valid_after_utc > above.not_valid_after_utc >= now:
        yield Refusal(
            id="outlives-issuer",
            reason=(
                f"{name} ends at {iso(certificate.not_valid_after_utc)}, after {above_name}, which"
                f" ends at {iso(above.not_valid_after_utc)}"
            ),
            mitigation=f"Issue {name} again with an end no later than that of {above_name}.",
            certificates=(reference(name, certificate), reference(above_name, above)),
        )
