"""From settings, certificates and the ledger to the posture to bring about, or to refusals.

Everything here runs before a resource registers, so that a preview shows the same refusal as an
`up`, and neither `--target` nor `--skip-preview` goes around it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product

from meshca import external_keys
from meshca.ledger import Attempt, Ledger, pending_attempt
from meshca.material import Material
from meshca.members import Member, members
from meshca.readiness import (
    certificate_refusals,
    clock_refusals,
    expiry_refusals,
    ledger_refusals,
    revision_refusals,
    signer_outlives,
)
from meshca.refusals import CertificateRef, Refusal, Refused
from meshca.rotation import (
    Describe,
    Held,
    Identity,
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

ADMISSIBLE = frozenset(
    {
        "signs-too-early",
        "retires-too-early",
        "chain-too-early",
        "drops-chain-too-early",
        "trust-jumps",
        "will-expire",
        "revision",
        "ledger-missing",
        "clock-behind",
    }
)
"""What an override may lift: risks that an operator can judge. It never lifts what istiod itself
would refuse to load."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The posture to bring about, admitted."""

    stance: str
    posture: Posture
    pace: Pace
    members: Mapping[Identity, Member]
    attempt: Attempt
    moves: bool
    """False when the posture is already in force: then no secret is written, unless an
    interrupted attempt at another one is taken back."""
    made_at: datetime
    judged_at: datetime
    """When its certificates must be sound: now, or when the posture came into force."""
    outlives: timedelta
    """What its signer must have left then."""
    override: Mapping[str, str] | None
    admitted: tuple[Refusal, ...]
    """The refusals that the override lifted."""
    uncertain: tuple[Posture, ...] = ()
    """What may have been in force before, of a mesh whose ledger was lost."""
    external: bool = False
    """Whether somebody else writes the signer's key."""
    key_written: datetime | None = None
    """When it was written, as the configuration says."""

    @property
    def trusted(self) -> frozenset[str]:
        """The names of the roots that the posture trusts."""
        return frozenset(self.named(identity) for identity in self.posture.trust)

    @property
    def made_of(self) -> frozenset[str]:
        """The names of the roots and issuers of the posture."""
        return frozenset(self.named(identity) for identity in self.posture.members())

    def named(self, identity: Identity) -> str:
        """The configuration's name of a root or an issuer of the posture."""
        return self.members[identity].name


def pace_of(settings: Settings) -> Pace:
    """How fast material travels in the configured mesh."""
    return Pace(settings.leaf_ttl, settings.cluster.poll, settings.slack)


def plan(
    settings: Settings,
    material: Material,
    *,
    ledger: Ledger | None,
    peers: Sequence[Held] = (),
    now: datetime,
) -> Plan | None:
    """The admitted plan; None while no issuer is active yet (the bootstrap of an offline CA).

    Raises Refused with every refusal of the wanted move at once.
    """
    if settings.active_issuer is None:
        if ledger is not None:
            raise Refused([_issuer_taken_away(ledger)])
        return None
    known = members(settings, material, now=now)
    _refuse_pending(settings, known)
    _refuse_twins(known)
    wanted = _posture(known, settings.rotation_phase, settings.active_issuer, settings.next_issuer)
    by_identity = {member.identity: member for member in known.values()}
    pace = pace_of(settings)
    moves = ledger is None or ledger.posture != wanted
    judged_at = now if ledger is None or moves else ledger.since
    outlives = signer_outlives(settings, ledger, wanted)
    refusals = [
        *clock_refusals(ledger, now),
        *certificate_refusals(settings, material, known, wanted, judged_at, outlives),
    ]
    if moves:
        describe = _describer(by_identity, ledger)
        advice = ledger and external_keys.advice(settings, ledger)
        advice = advice or _advice(settings, known, ledger, wanted)
        held = (*(_in_use(settings, ledger) if ledger else ()), *peers)
        held = tuple(Held(h.posture, h.pace.slower(pace), h.until, h.peer) for h in held)
        refusals += [
            *ledger_refusals(settings, ledger),
            *window_refusals(held, wanted, now=now, describe=describe, advice=advice),
            *trust_refusals(held, wanted, describe=describe, advice=advice),
            *expiry_refusals(wanted, settings.rotation_phase, ledger, by_identity, pace, now),
            *revision_refusals(settings, wanted, ledger),
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
        made_at=now,
        judged_at=judged_at,
        outlives=outlives,
        override=override,
        admitted=admitted,
        uncertain=_uncertain(settings, known) if ledger is None else (),
        external=external_keys.is_external(settings, by_identity[wanted.signer.identity].name),
        key_written=settings.issuers[by_identity[wanted.signer.identity].name].key_written,
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
    stays = [refusal for refusal in refusals if refusal.id not in ADMISSIBLE]
    lifted = tuple(refusal for refusal in refusals if refusal.id in ADMISSIBLE)
    if override.move != move:
        raise Refused([*refusals, _useless(f"admits `{override.move}`, but this is `{move}`")])
    if not lifted:
        raise Refused([*stays, _useless(f"admits `{move}`, which nothing refuses")])
    if stays:
        raise Refused(stays)
    return {"move": override.move, "reason": override.reason}, lifted


def _useless(what: str) -> Refusal:
    return Refusal(
        "override-useless",
        f"the override {what}",
        "Remove `override` from the stack configuration: it is for one refused move only.",
    )


def _posture(
    known: Mapping[str, Member], phase: Phase, active: str, following: str | None
) -> Posture:
    after = known[following].intermediate if following is not None else None
    return posture(phase, known[active].intermediate, after)


def _describer(known: Mapping[Identity, Member], ledger: Ledger | None) -> Describe:
    def describe(identity: Identity) -> CertificateRef:
        if ledger and identity in ledger.records:
            return ledger.records[identity].certificate
        if identity in known:
            return known[identity].reference
        return _somebody_elses(identity)

    return describe


def _somebody_elses(identity: Identity) -> CertificateRef:
    """What only a peer uses: its ledger's window says no more of it than this."""
    kind, _, digest = identity.rpartition(":")
    shown = f"sha256 {digest[:16]}" if kind == "sha256" else identity
    return CertificateRef(f"{shown}, of another stack", foreign=True)


def _in_use(settings: Settings, ledger: Ledger) -> tuple[Held, ...]:
    """What counts in this mesh: the posture in force, and the window."""
    return (Held(ledger.posture, ledger.pace), *external_keys.window(settings, ledger))


def _uncertain(settings: Settings, known: Mapping[str, Member]) -> tuple[Posture, ...]:
    """Every other phase of a move that goes on without a ledger.

    The override that lets it go on speaks for this one move: the next are judged as if each of
    these had been in force until now.
    """
    active, following = settings.active_issuer, settings.next_issuer
    if active is None or following is None:
        return ()
    phases = [_posture(known, Phase.STEADY, name, None) for name in (active, following)]
    phases += [
        _posture(known, phase, active, following)
        for phase in (Phase.DISTRIBUTE, Phase.SWITCH, Phase.RETIRE)
    ]
    wanted = _posture(known, settings.rotation_phase, active, following)
    return tuple(dict.fromkeys(each for each in phases if each != wanted))


def _advice(
    settings: Settings, known: Mapping[str, Member], ledger: Ledger | None, wanted: Posture
) -> str | None:
    """What to do first on the way from the ledger's posture to the wanted one."""
    if ledger is None:
        return None
    for identity in sorted(ledger.posture.members()):
        name = ledger.records[identity].certificate.name
        if name in known and known[name].identity != identity:
            return (
                f"The configuration makes `{name}` another certificate than the one in use: "
                "restore it, and give the new one a name of its own."
            )
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
    step = first_step(ledger.posture, wanted, candidates)
    return f"Make the move `{step}` first." if step else None


def _refuse_pending(settings: Settings, known: Mapping[str, Member]) -> None:
    wanted = (settings.active_issuer, settings.next_issuer)
    pending = [name for name in wanted if name is not None and name not in known]
    if pending:
        raise Refused(_not_ready(name, settings.issuers[name].root) for name in pending)


def _refuse_twins(known: Mapping[str, Member]) -> None:
    """`same-certificate`: the ledger knows certificates by what they are, and each by one name."""
    named: dict[Identity, list[Member]] = {}
    for member in known.values():
        named.setdefault(member.identity, []).append(member)
    twins = [group for group in named.values() if len(group) > 1]
    if twins:
        raise Refused(
            Refusal(
                "same-certificate",
                f"{' and '.join(member.name for member in group)} are the same certificate",
                "Give each the path of its own certificate, or take one of them out.",
                tuple(member.reference for member in group),
            )
            for group in twins
        )


def _not_ready(name: str, root: str) -> Refusal:
    return Refusal(
        "not-ready",
        f"issuer {name} has no certificate yet",
        f"Leave {name} out of activeIssuer and nextIssuer, run `pulumi up`, sign the request in "
        f"the output `csrs` on the machine that holds root {root} (`python -m meshca sign`), and "
        f"set `issuers.{name}.certificate` to the file.",
        (CertificateRef(name),),
    )


def _issuer_taken_away(ledger: Ledger) -> Refusal:
    return Refusal(
        "signer-untrusted",
        f"the mesh is in force with `{ledger.stance}`, but no activeIssuer is configured",
        "Set `activeIssuer` again; to turn the mesh off, set `cluster.mesh` to false.",
    )


def unfinished(ledger: Ledger | None, recorded: Attempt | None, wanted: Attempt) -> Refusal | None:
    """Why another move may not start over an interrupted one; None when it may.

    What the interrupted `up` started may be in force beside the ledger's posture. Finishing it and
    taking it back are always safe (the move was legal, and the predicate is symmetric); anything
    else is judged once it is known which of the two holds. Before the first ledger no mesh reads
    the secrets yet, so nothing can break.
    """
    pending = pending_attempt(ledger, recorded)
    if ledger is None or pending is None or pending.posture == wanted.posture:
        return None
    return Refusal(
        "move-unfinished",
        f"an interrupted `up` may have started `{pending.stance}`, on the way from "
        f"`{ledger.stance}`; `{wanted.stance}` cannot start over it",
        f"Set the configuration to `{pending.stance}` and run `pulumi up` to finish it, or to "
        f"`{ledger.stance}` to take it back; then make this move.",
    )
