"""From settings, certificates and the ledger to the posture to bring about, or to refusals.

Everything here runs before a resource registers, so that a preview shows the same refusal as an
`up`, and neither `--target` nor `--skip-preview` goes around it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from meshca import certificates
from meshca.ledger import Attempt, Ledger
from meshca.material import Material
from meshca.refusals import CertificateRef, Refusal, Refused, iso
from meshca.rotation import (
    Describe,
    Held,
    Identity,
    Intermediate,
    Pace,
    Phase,
    Posture,
    first_step,
    posture,
    stance,
    trust_refusals,
    window_refusals,
)
from meshca.settings import Settings

SIGNER_LIFETIMES = 6
"""A certificate must have this many leaf lifetimes left when a move brings it in: SPIRE keeps the
same distance between a leaf and its authority."""

ROOT_ROTATION_SINCE = 20
"""The first Istio minor release whose istiod takes a changed root-cert without a restart
(`Updating new ROOT-CA not supported` is its only answer up to 1.19)."""

NEVER_ADMITTED = frozenset({"not-ready", "ledger-unreadable", "override-useless"})
"""Refusals that no override lifts: there is nothing to write, or nothing is known."""


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
    def reference(self) -> CertificateRef:
        """How a refusal names it."""
        if self.certificate is None:
            return CertificateRef(self.name)
        return certificates.reference(self.name, self.certificate)


@dataclass(frozen=True, slots=True)
class Plan:
    """The posture to bring about, admitted."""

    stance: str
    posture: Posture
    pace: Pace
    members: Mapping[Identity, Member]
    attempt: Attempt
    moves: bool
    """False when the posture is already in force: then no secret is written."""
    judged_at: datetime
    """When its certificates must be sound: now, or when the posture came into force."""
    override: Mapping[str, str] | None
    admitted: tuple[Refusal, ...]
    """The refusals that the override lifted."""

    def named(self, identity: Identity) -> str:
        """The configuration's name of a root or an issuer of the posture."""
        return self.members[identity].name


def members(
    settings: Settings, material: Material, *, scope: str, now: datetime
) -> dict[str, Member]:
    """Every root and every issuer that has, or will get, a certificate; by name, issuers last.

    An offline certificate is its SHA-256, whatever its name. What the program generates is known
    by stack (`scope`), name and recipe: a changed recipe would make another certificate.
    """
    found: dict[str, Member] = {}
    for name, root in settings.roots.items():
        certificate = material.roots.get(name)
        if certificate is not None:
            found[name] = _offline(name, None, certificate)
        elif root.generated is not None:
            recipe = root.generated.model_dump_json()
            found[name] = _generated(scope, name, None, recipe, now + root.generated.validity)
    for name, issuer in settings.issuers.items():
        above = found[issuer.root]
        certificate = material.issuers.get(name)
        if certificate is not None:
            found[name] = _offline(name, above.identity, certificate)
        elif not settings.pending(name):
            recipe = json.dumps([issuer.model_dump_json(), _public(material, name)])
            found[name] = _generated(scope, name, above.identity, recipe, now + issuer.validity)
    return found


def _offline(name: str, root: Identity | None, certificate: x509.Certificate) -> Member:
    identity = f"sha256:{certificates.fingerprint(certificate)}"
    return Member(name, identity, root, certificate, certificate.not_valid_after_utc)


def _generated(
    scope: str, name: str, root: Identity | None, recipe: str, not_after: datetime
) -> Member:
    digest = hashlib.sha256(f"{root}\n{recipe}".encode()).hexdigest()[:16]
    return Member(name, f"generated:{scope}/{name}:{digest}", root, None, not_after)


def _public(material: Material, name: str) -> str | None:
    key = material.keys.get(name)
    if key is None:
        return None
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()


def pace_of(settings: Settings) -> Pace:
    """How fast material travels in the configured mesh."""
    return Pace(settings.leaf_ttl, settings.cluster.poll, settings.slack)


def plan(
    settings: Settings,
    material: Material,
    *,
    ledger: Ledger | None,
    peers: Sequence[Held] = (),
    scope: str,
    now: datetime,
) -> Plan | None:
    """The admitted plan; None while no issuer is active yet (the bootstrap of an offline CA).

    Raises Refused with every refusal of the wanted move at once.
    """
    if settings.active_issuer is None:
        if ledger is not None:
            raise Refused([_issuer_taken_away(ledger)])
        return None
    known = members(settings, material, scope=scope, now=now)
    _refuse_pending(settings, material, known)
    wanted = _posture(known, settings.rotation_phase, settings.active_issuer, settings.next_issuer)
    by_identity = {member.identity: member for member in known.values()}
    pace = pace_of(settings)
    moves = ledger is None or ledger.posture != wanted
    judged_at = now if ledger is None or moves else ledger.since
    refusals = _certificate_refusals(settings, material, known, wanted, judged_at)
    if moves:
        describe = _describer(by_identity, ledger)
        step = _step(settings, known, ledger, wanted)
        held = (*(ledger.held() if ledger else ()), *peers)
        held = tuple(Held(h.posture, h.pace.slower(pace), h.until, h.peer) for h in held)
        refusals += [
            *_ledger_refusals(settings, ledger),
            *window_refusals(held, wanted, now=now, describe=describe, step=step),
            *trust_refusals(held, wanted, describe=describe, step=step),
            *_expiry_refusals(wanted, ledger, by_identity, pace, now),
            *_revision_refusals(settings, wanted, ledger),
        ]
    move = f"{ledger.stance if ledger else 'unknown'} -> {settings.stance}"
    override, admitted = _admit(settings, move, refusals)
    return Plan(
        stance=settings.stance,
        posture=wanted,
        pace=pace,
        members=by_identity,
        attempt=Attempt(ledger.serial if ledger else 0, settings.stance, wanted),
        moves=moves,
        judged_at=judged_at,
        override=override,
        admitted=admitted,
    )


def _admit(
    settings: Settings, move: str, refusals: Sequence[Refusal]
) -> tuple[Mapping[str, str] | None, tuple[Refusal, ...]]:
    """What the override lifts; raises Refused for what stays, or for an override without use."""
    override = settings.override
    if override is None:
        if refusals:
            raise Refused(refusals)
        return None, ()
    stays = [refusal for refusal in refusals if refusal.id in NEVER_ADMITTED]
    lifted = tuple(refusal for refusal in refusals if refusal.id not in NEVER_ADMITTED)
    if override.move != move or not lifted:
        what = f"admits `{override.move}`, but this is `{move}`"
        if override.move == move:
            what = f"admits `{move}`, which nothing refuses"
        useless = Refusal(
            "override-useless",
            f"the override {what}",
            "Remove `override` from the stack configuration; it is for one refused move only.",
        )
        raise Refused([*refusals, useless] if override.move != move else [useless, *stays])
    if stays:
        raise Refused(stays)
    return {"move": override.move, "reason": override.reason}, lifted


def _posture(
    known: Mapping[str, Member], phase: Phase, active: str, following: str | None
) -> Posture:
    return (
        posture(phase, _intermediate(known[active]), _intermediate(known[following]))
        if (following)
        else posture(phase, _intermediate(known[active]))
    )


def _intermediate(member: Member) -> Intermediate:
    assert member.root is not None, "an issuer has a root"
    return Intermediate(member.identity, member.root)


def _describer(known: Mapping[Identity, Member], ledger: Ledger | None) -> Describe:
    def describe(identity: Identity) -> CertificateRef:
        if ledger and identity in ledger.records:
            return ledger.records[identity].certificate
        if identity in known:
            return known[identity].reference
        return CertificateRef(identity.removeprefix("sha256:")[:16])

    return describe


def _step(
    settings: Settings, known: Mapping[str, Member], ledger: Ledger | None, wanted: Posture
) -> str | None:
    """The move to make first on the way from the ledger's posture to the wanted one."""
    if ledger is None:
        return None
    named = dict.fromkeys(
        name
        for name in (*ledger.stance.split()[1:], settings.active_issuer, settings.next_issuer)
        if name is not None and name in known and known[name].root is not None
    )
    candidates = {
        stance(Phase.STEADY, name): _posture(known, Phase.STEADY, name, None) for name in named
    }
    for active, following in product(named, named):
        if active != following:
            for phase in (Phase.DISTRIBUTE, Phase.SWITCH, Phase.RETIRE):
                candidates[stance(phase, active, following)] = _posture(
                    known, phase, active, following
                )
    return first_step(ledger.posture, wanted, candidates)


def _refuse_pending(settings: Settings, material: Material, known: Mapping[str, Member]) -> None:
    wanted = (settings.active_issuer, settings.next_issuer)
    pending = [name for name in wanted if name is not None and name not in known]
    if pending:
        raise Refused(_not_ready(name, settings.issuers[name].root) for name in pending)


def _not_ready(name: str, root: str) -> Refusal:
    return Refusal(
        "not-ready",
        f"issuer {name} has no certificate yet",
        f"Leave {name} out of activeIssuer and nextIssuer, run `pulumi up`, sign the request in "
        f"the output `csrs` on the machine that holds root {root} (`python -m meshca sign`), and set "
        f"`issuers.{name}.certificate` to the file.",
        (CertificateRef(name),),
    )


def _issuer_taken_away(ledger: Ledger) -> Refusal:
    return Refusal(
        "signer-untrusted",
        f"the mesh is in force with `{ledger.stance}`, but no activeIssuer is configured",
        "Set `activeIssuer` again; to turn the mesh off, set `cluster.mesh` to false.",
    )


def _certificate_refusals(
    settings: Settings,
    material: Material,
    known: Mapping[str, Member],
    wanted: Posture,
    judged_at: datetime,
) -> list[Refusal]:
    """What the rules of a mesh CA say about the files of the wanted posture.

    Generated certificates are judged as they come into being, by `meshca.bundle`.
    """
    refusals: list[Refusal] = []
    for member in known.values():
        if member.certificate is None:
            continue
        if member.root is None:
            if member.identity in wanted.trust:
                refusals += certificates.root_refusals(
                    member.name, member.certificate, now=judged_at
                )
        elif member.identity in wanted.chain:
            root_name = settings.issuers[member.name].root
            root = known[root_name].certificate
            assert root is not None, "settings refuse a certificate under a generated root"
            refusals += certificates.issuer_refusals(
                member.name,
                member.certificate,
                root_name=root_name,
                root=root,
                now=judged_at,
                leaf_ttl=settings.leaf_ttl,
            )
            if (key := material.keys.get(member.name)) is not None:
                refusals += certificates.key_refusals(member.name, member.certificate, key)
    return refusals


def _ledger_refusals(settings: Settings, ledger: Ledger | None) -> list[Refusal]:
    if ledger is not None or settings.rotation_phase is Phase.STEADY:
        return []
    return [
        Refusal(
            "ledger-missing",
            f"nothing is known of what this mesh trusts and uses, so `{settings.stance}` cannot be "
            "judged",
            "Start with `rotationPhase: steady` and the issuer that signs today; the first "
            "completed `pulumi up` writes the ledger.",
        )
    ]


def enough_life(not_after: datetime, leaf_ttl: timedelta, now: datetime) -> bool:
    """True when a certificate brought in now has the life a signer needs."""
    return not_after - now >= SIGNER_LIFETIMES * leaf_ttl


def _expiry_refusals(
    wanted: Posture,
    ledger: Ledger | None,
    known: Mapping[Identity, Member],
    pace: Pace,
    now: datetime,
) -> list[Refusal]:
    """`will-expire`: what a move brings in must outlive what it is brought in for.

    Istio clamps a leaf to the end of its signer (security/pkg/pki/ca/ca.go), so leaves under an
    ending signer get shorter and renewals denser, until none can be issued.
    """
    before = ledger.posture if ledger else None
    brought_in = [
        identity
        for identity in dict.fromkeys((*wanted.trust, wanted.signer.identity, *wanted.chain))
        if before is None
        or identity not in (*before.trust, *before.chain)
        or (identity == wanted.signer.identity and before.signer != wanted.signer)
    ]
    ending = [
        known[identity]
        for identity in brought_in
        if not enough_life(known[identity].not_after, pace.leaf_ttl, now)
    ]
    if not ending:
        return []
    needed = now + SIGNER_LIFETIMES * pace.leaf_ttl
    return [
        Refusal(
            "will-expire",
            f"what a move brings in must be valid until {iso(needed)} at least "
            f"({SIGNER_LIFETIMES} leaf lifetimes)",
            "Issue a certificate with a longer life, and rotate to that one.",
            tuple(member.reference for member in ending),
        )
    ]


def _revision_refusals(settings: Settings, wanted: Posture, ledger: Ledger | None) -> list[Refusal]:
    """`revision`: Istio releases that do not take a changed root-cert while running."""
    if ledger is None or ledger.posture.trust == wanted.trust:
        return []
    old = [
        revision
        for revision in settings.cluster.revisions
        if int(revision.rsplit("-", 1)[1]) < ROOT_ROTATION_SINCE
    ]
    if not old:
        return []
    return [
        Refusal(
            "revision",
            f"the trusted roots would change, and {', '.join(old)} ignores that until it restarts",
            f"Upgrade the mesh to asm-1-{ROOT_ROTATION_SINCE} or later first.",
        )
    ]
