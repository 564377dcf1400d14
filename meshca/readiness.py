"""The rules about one posture: is everything there, sound, and going to last long enough?"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from cryptography import x509

from meshca import bundle, certificates
from meshca.ledger import Ledger
from meshca.material import Material
from meshca.members import Member
from meshca.refusals import Refusal, iso
from meshca.rotation import Identity, Pace, Phase, Posture
from meshca.settings import Algorithm, KeySource, Settings
from meshca.x509_facts import key_kind

KEY_KINDS: Mapping[Algorithm, str] = {
    Algorithm.RSA_2048: "RSA 2048",
    Algorithm.RSA_3072: "RSA 3072",
    Algorithm.RSA_4096: "RSA 4096",
    Algorithm.ECDSA_P256: "secp256r1",
    Algorithm.ECDSA_P384: "secp384r1",
}
"""What `key_kind` says of a key that was made by an algorithm of the settings."""

SIGNER_LIFETIMES = 6
"""A certificate must have this many leaf lifetimes left when a move brings it in: SPIRE keeps the
same distance between a leaf and its authority."""

A_MOMENT = timedelta(seconds=1)
"""The life of a leaf that is only signed to see whether it verifies."""

ROOT_ROTATION_SINCE = 20
"""The first Istio minor release whose istiod takes a changed root-cert without a restart
(`Updating new ROOT-CA not supported` is its only answer up to 1.19)."""


def certificate_refusals(
    settings: Settings,
    material: Material,
    known: Mapping[str, Member],
    wanted: Posture,
    judged_at: datetime,
    outlives: timedelta,
) -> list[Refusal]:
    """What the rules of a mesh CA say about the files of the wanted posture.

    First each certificate under the name that the configuration gives it; when nothing is wrong
    with any, the four files as istiod would read them. Generated certificates are judged as they
    come into being, by `meshca.bundle`. `outlives` is what the signer must have left
    (`signer_outlives`); of other issuers in the chain nothing is asked, as they sign no leaf.
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
                leaf_ttl=outlives if member.identity == wanted.signer.identity else timedelta(0),
            )
            if (key := material.keys.get(member.name)) is not None:
                refusals += certificates.key_refusals(member.name, member.certificate, key)
            refusals += _algorithm_refusals(settings, member.name, member.certificate)
    return refusals or _bundle_refusals(material, known, wanted, judged_at, outlives)


def _algorithm_refusals(
    settings: Settings, name: str, certificate: x509.Certificate
) -> list[Refusal]:
    """`another-algorithm`: a key that the stack made stays what its certificate was signed for.

    Another algorithm would make another key, and pulumi-tls forgets the one it replaces.
    """
    issuer = settings.issuers[name]
    if issuer.key is not KeySource.GENERATED:
        return []
    signed = key_kind(certificate.public_key())
    if KEY_KINDS[issuer.key_algorithm] == signed:
        return []
    return [
        Refusal(
            "another-algorithm",
            f"issuer {name} is configured with a key of {issuer.key_algorithm}, but its "
            f"certificate was signed for one of {signed}",
            f"Set `issuers.{name}.algorithm` back; a key of another kind belongs to a new issuer "
            "with a name of its own.",
            (certificates.reference(name, certificate),),
        )
    ]


def _bundle_refusals(
    material: Material,
    known: Mapping[str, Member],
    wanted: Posture,
    judged_at: datetime,
    outlives: timedelta,
) -> list[Refusal]:
    """What is wrong with the whole, where all of it is known before anything registers."""
    named = {member.identity: member for member in known.values()}
    held = {
        identity: certificate
        for identity in wanted.members()
        if (certificate := named[identity].certificate) is not None
    }
    if held.keys() != wanted.members():
        return []
    made = bundle.make(
        trust=[held[identity] for identity in wanted.trust],
        signer=held[wanted.signer.identity],
        chain=[held[identity] for identity in wanted.chain],
        key=material.keys.get(named[wanted.signer.identity].name),
    )
    return bundle.refusals(made, now=judged_at, leaf_ttl=outlives)


def clock_refusals(ledger: Ledger | None, now: datetime) -> list[Refusal]:
    """`clock-behind`: the windows are counted by the clock of whoever runs this.

    One that is behind would enter postures as long gone that were in force until now. A slack of
    difference is part of every window.
    """
    if ledger is None:
        return []
    known = [ledger.since, *map(datetime.fromisoformat, ledger.written.values())]
    known += [entry.until for entry in ledger.window if entry.until is not None]
    latest = max(known)
    if now + ledger.pace.slack >= latest:
        return []
    return [
        Refusal(
            "clock-behind",
            f"the clock of this machine says {iso(now)}, and an earlier `pulumi up` was at "
            f"{iso(latest)}",
            "Set the clock (NTP) and run this again.",
            legal_at=latest,
        )
    ]


def ledger_refusals(settings: Settings, ledger: Ledger | None) -> list[Refusal]:
    """`ledger-missing`: without a ledger only a steady start can be judged."""
    if ledger is not None or settings.rotation_phase is Phase.STEADY:
        return []
    return [
        Refusal(
            "ledger-missing",
            f"nothing is known of what this mesh trusts and uses, so `{settings.stance}` cannot be "
            "judged",
            "Start with `rotationPhase: steady` and the issuer that signs today, unless a rotation "
            "is under way: then go on with the phase that is in force, by `override` (move "
            f"`unknown -> {settings.stance}`).",
        )
    ]


def brings_signer_in(ledger: Ledger | None, wanted: Posture, phase: Phase) -> bool:
    """Whether another issuer starts to sign.

    Not by a move into `distribute`, where the old issuer signs: such a move leaves the signer as
    it is, or goes back to it, and the way out of a signer that is about to end must be open.
    """
    if ledger is None:
        return True
    return ledger.posture.signer != wanted.signer and phase is not Phase.DISTRIBUTE


def signer_outlives(settings: Settings, ledger: Ledger | None, wanted: Posture) -> timedelta:
    """How long the signer must live on, for the rules of a mesh CA: as long as a leaf when it is
    brought in, else just yet.
    """
    incoming = brings_signer_in(ledger, wanted, settings.rotation_phase)
    return settings.leaf_ttl if incoming else A_MOMENT


def enough_life(not_after: datetime, leaf_ttl: timedelta, now: datetime) -> bool:
    """True when a certificate brought in now has the life a signer needs."""
    return not_after - now >= SIGNER_LIFETIMES * leaf_ttl


def expiry_refusals(
    wanted: Posture,
    phase: Phase,
    ledger: Ledger | None,
    known: Mapping[Identity, Member],
    pace: Pace,
    now: datetime,
) -> list[Refusal]:
    """`will-expire`: what a move brings in must outlive what it is brought in for.

    Istio clamps a leaf to the end of its signer (security/pkg/pki/ca/ca.go), so leaves under an
    ending signer get shorter and renewals denser, until none can be issued. What is distributed
    signs a window later, and must have that life left then.
    """
    held = (*ledger.posture.trust, *ledger.posture.chain) if ledger else ()
    brought_in = {
        identity: known[identity].reference
        for identity in (*wanted.trust, wanted.signer.identity, *wanted.chain)
        if identity not in held
        or (identity == wanted.signer.identity and brings_signer_in(ledger, wanted, phase))
    }
    if ledger is not None:
        # What was generated by an earlier `up` has an age, which only the ledger knows.
        brought_in |= {
            identity: ledger.records[identity].certificate
            for identity in brought_in
            if identity in ledger.records
        }
    signs_at = now + pace.renewal if ledger and phase is Phase.DISTRIBUTE else now
    ending = []
    for identity, reference in brought_in.items():
        ends = reference.not_after or known[identity].not_after
        # What has ended already is refused by the rules of a mesh CA, in plainer words.
        if ends >= now and not enough_life(ends, pace.leaf_ttl, signs_at):
            ending.append(reference)
    if not ending:
        return []
    needed = signs_at + SIGNER_LIFETIMES * pace.leaf_ttl
    return [
        Refusal(
            "will-expire",
            f"what a move brings in must be valid until {iso(needed)} at least "
            f"({SIGNER_LIFETIMES} leaf lifetimes from when it may sign)",
            "Issue a certificate with a longer life, and rotate to that one.",
            tuple(ending),
        )
    ]


def revision_refusals(settings: Settings, wanted: Posture, ledger: Ledger | None) -> list[Refusal]:
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
