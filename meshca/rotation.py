"""Phases, postures, and the one predicate that decides whether a move may be made.

The invariant. A proxy's leaf and its trust come from one posture that was in force somewhere in
the last W = leaf lifetime + poll + slack; what istiod signs with, and what it hands out as chain,
comes from postures in force in the last P = poll + slack. So every proxy can verify every other
exactly when, for all postures p and q that still count:

    over W:  root(p.signer) is in q.trust
    over P:  p.signer is in q.chain

and every istiod arrives at the posture in force exactly when, over P, one of p.trust and q.trust
stands inside the other: a running istiod takes nothing else, whichever of the two it works with.

A move is legal when the predicate holds over everything that still counts and the wanted posture.
Nothing here knows phase names but `posture`, which spells the four phases of a rotation: they are
the shortest path that the predicate admits.

Sources: how trust reaches a proxy, istio security/pkg/nodeagent/cache/secretcache.go and
security/pkg/server/ca/server.go (CreateCertificate); what a running istiod accepts,
pilot/pkg/bootstrap/istio_ca.go (handleEvent) and security/pkg/pki/util/keycertbundle.go (Verify).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from meshca.refusals import CertificateRef, Refusal, iso

Identity = str
"""What a root or an issuer is, whatever its name: see `meshca.members`."""

GENERATED = "generated:"
"""Begins the identity of what the program generates: such an identity means nothing elsewhere."""

Describe = Callable[[Identity], CertificateRef]
"""Turns an identity into what a reader knows it by."""


class Phase(StrEnum):
    """The one config flag: which posture of a rotation is wanted."""

    STEADY = "steady"
    DISTRIBUTE = "distribute"
    SWITCH = "switch"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True)
class Intermediate:
    """An issuer and the root above it, by identity."""

    identity: Identity
    root: Identity


@dataclass(frozen=True, slots=True)
class Posture:
    """What the four files say: trusted roots in order, the signer, the issuers in the chain."""

    trust: tuple[Identity, ...]
    signer: Intermediate
    chain: tuple[Identity, ...]

    def members(self) -> frozenset[Identity]:
        """Every root and issuer that it is made of."""
        return frozenset((*self.trust, self.signer.identity, self.signer.root, *self.chain))


def posture(phase: Phase, active: Intermediate, following: Intermediate | None = None) -> Posture:
    """The posture of a phase in the rotation from `active` to `following` (DESIGN section 4).

    Roots are appended, never reordered: istiod before 1.30 compares root-cert as text and takes a
    change only when one of old and new contains the other.
    """
    if phase is Phase.STEADY:
        return Posture((active.root,), active, (active.identity,))
    if following is None:
        raise ValueError(f"the phase {phase} needs the issuer that follows")
    both_roots = tuple(dict.fromkeys((active.root, following.root)))
    both_issuers = (following.identity, active.identity)
    if phase is Phase.DISTRIBUTE:
        return Posture(both_roots, active, both_issuers)
    if phase is Phase.SWITCH:
        return Posture(both_roots, following, both_issuers)
    return Posture((following.root,), following, (following.identity,))


def stance(phase: Phase, active: str, following: str | None = None) -> str:
    """A posture as the configuration names it: `steady a1`, `switch a1 b1`."""
    return " ".join(filter(None, (phase.value, active, following)))


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast material travels: leaf lifetime, poll interval, and how late either may be."""

    leaf_ttl: timedelta
    poll: timedelta
    slack: timedelta

    @property
    def reload(self) -> timedelta:
        """P: after this, every istiod replica works with the posture in force."""
        return self.poll + self.slack

    @property
    def renewal(self) -> timedelta:
        """W: after this, every proxy holds a leaf and a trust bundle of the posture in force."""
        return self.leaf_ttl + self.reload

    def slower(self, other: "Pace") -> "Pace":
        """The longer of each: what must be waited for when either may apply."""
        if self == other:  # as in most of a fleet
            return self
        return Pace(
            max(self.leaf_ttl, other.leaf_ttl),
            max(self.poll, other.poll),
            max(self.slack, other.slack),
        )


@dataclass(frozen=True, slots=True)
class Held:
    """A posture that is in force (`until` None) or was until then, here or in a peer's mesh."""

    posture: Posture
    pace: Pace
    until: datetime | None = None
    peer: str | None = None

    def leaves_trust_window(self) -> datetime | None:
        """When no proxy holds a leaf or trust of this posture any more; None while in force."""
        return self.until + self.pace.renewal if self.until else None

    def leaves_chain_window(self) -> datetime | None:
        """When no istiod signs with this posture any more; None while in force."""
        return self.until + self.pace.reload if self.until else None


def _counts(end: datetime | None, now: datetime) -> bool:
    return end is None or end > now


def trust_moves_one_way(before: tuple[Identity, ...], after: tuple[Identity, ...]) -> bool:
    """True when one list of roots stands, in order and unbroken, inside the other.

    Stricter than sets, so that it holds for the text comparison of istiod up to 1.29 as well as
    for the set comparison since 1.30 (pilot/pkg/bootstrap/istio_ca.go).
    """
    short, long = sorted((before, after), key=len)
    return any(
        long[start : start + len(short)] == short for start in range(len(long) - len(short) + 1)
    )


def compatible(one: Posture, other: Posture) -> bool:
    """The predicate over two postures: proxies and istiods of either serve those of the other."""
    return all(
        p.signer.root in q.trust and p.signer.identity in q.chain
        for p in (one, other)
        for q in (one, other)
    )


@dataclass(frozen=True, slots=True)
class Rule:
    """One part of the predicate, over the trust window (W) or else the chain window (P)."""

    id: str
    over_trust: bool
    missing: Callable[[Held, Posture], Iterable[Identity]]
    """The roots or issuers that break it; none when it holds."""
    reason: str
    why_wait: str


def _if_absent(identity: Identity, present: tuple[Identity, ...]) -> Iterable[Identity]:
    return () if identity in present else (identity,)


def _jumping(held: Held, wanted: Posture) -> Iterable[Identity]:
    """What would jump for an istiod that lags behind; `trust_refusals` judges those that do not."""
    if held.until is None or trust_moves_one_way(held.posture.trust, wanted.trust):
        return ()
    return dict.fromkeys((*held.posture.trust, *wanted.trust))


JUMP = (
    "roots would be added and dropped (or reordered) in one move: a running istiod refuses that "
    "and takes it at its next restart"
)

RULES = (
    Rule(
        "signs-too-early",
        True,
        lambda held, wanted: _if_absent(wanted.signer.root, held.posture.trust),
        "proxies that do not trust its root yet would refuse leaves of the new signer",
        "every proxy has renewed since the root was distributed",
    ),
    Rule(
        "retires-too-early",
        True,
        lambda held, wanted: _if_absent(held.posture.signer.root, wanted.trust),
        "leaves that chain to a root no longer trusted would still be in use",
        "no leaf under that root can be alive",
    ),
    Rule(
        "chain-too-early",
        False,
        lambda held, wanted: _if_absent(wanted.signer.identity, held.posture.chain),
        "an istiod that reads the new signer with the old chain file would hand out leaves that "
        "nobody can verify",
        "every istiod has read the chain file that carries the new signer",
    ),
    Rule(
        "drops-chain-too-early",
        False,
        lambda held, wanted: _if_absent(held.posture.signer.identity, wanted.chain),
        "an istiod that still signs with the old issuer would hand out leaves without their issuer",
        "every istiod has stopped signing with the old issuer",
    ),
    Rule(
        "trust-jumps",
        False,
        _jumping,
        f"for an istiod that has not taken the posture in force yet, {JUMP}",
        "every istiod has taken the roots in force",
    ),
)
"""The predicate, a rule for each way to break it. What is over P concerns the own istiods only: a
leaf carries its chain along to peers."""


def window_refusals(
    held: Sequence[Held],
    wanted: Posture,
    *,
    now: datetime,
    describe: Describe,
    advice: str | None = None,
    rules: Sequence[Rule] = RULES,
) -> list[Refusal]:
    """Every rule of the predicate that the wanted posture breaks, with the time that mends it.

    `advice` is what to do first when an offending posture is still in force (waiting does not help
    then). `rules` exists for the proof that each of them is needed.
    """
    refusals = []
    for rule in rules:
        offending: list[tuple[Held, datetime | None]] = []
        missing: dict[Identity, None] = {}
        for entry in held:
            if not rule.over_trust and entry.peer is not None:
                continue
            end = entry.leaves_trust_window() if rule.over_trust else entry.leaves_chain_window()
            if _counts(end, now) and (absent := tuple(rule.missing(entry, wanted))):
                offending.append((entry, end))
                missing.update(dict.fromkeys(absent))
        if offending:
            ends = [end for _, end in offending]
            legal_at = None if None in ends else max(end for end in ends if end is not None)
            refusals.append(
                Refusal(
                    rule.id,
                    rule.reason,
                    _mitigation(rule, offending, legal_at, advice),
                    tuple(describe(identity) for identity in missing),
                    legal_at,
                )
            )
    return refusals


def _mitigation(
    rule: Rule,
    offending: Sequence[tuple[Held, datetime | None]],
    legal_at: datetime | None,
    advice: str | None,
) -> str:
    peers = sorted({entry.peer for entry, _ in offending if entry.peer})
    blocking = sorted({entry.peer for entry, end in offending if entry.peer and end is None})
    if legal_at is not None:
        where = f" (stacks {', '.join(peers)} too)" if peers else ""
        return f"Wait until {iso(legal_at)}: only then {rule.why_wait}{where}."
    if blocking:
        verb = (
            "trust the root of the signer" if rule.id == "signs-too-early" else "move off that root"
        )
        return f"First make these stacks {verb}: {', '.join(blocking)}."
    return advice or "No sequence of moves leads there: rotate from a steady phase."


def trust_refusals(
    held: Sequence[Held], wanted: Posture, *, describe: Describe, advice: str | None = None
) -> list[Refusal]:
    """`trust-jumps` for the posture in force: trust only grows or only shrinks in one move.

    A running istiod refuses anything else (istio_ca.go, handleEvent) and then takes it at its
    next restart, when nobody is watching. Waiting does not help; for postures that are no longer
    in force it does, and `window_refusals` judges those.
    """
    for entry in held:
        if entry.peer is not None or entry.until is not None:
            continue
        if not trust_moves_one_way(entry.posture.trust, wanted.trust):
            changed = dict.fromkeys((*entry.posture.trust, *wanted.trust))
            return [
                Refusal(
                    "trust-jumps",
                    JUMP,
                    advice or "Add roots in one move and drop them in a later one.",
                    tuple(describe(identity) for identity in changed),
                )
            ]
    return []


def first_step(current: Posture, wanted: Posture, candidates: Mapping[str, Posture]) -> str | None:
    """The first of the fewest moves that lead from `current` to `wanted`, given time enough.

    `candidates` maps a stance to its posture. None when no sequence of them leads there, or when
    the wanted move itself is the first.
    """
    seen = {current}
    frontier: list[tuple[Posture, str | None]] = [(current, None)]
    while frontier:
        following: list[tuple[Posture, str | None]] = []
        for reached, first in frontier:
            for name, candidate in candidates.items():
                if candidate in seen or not (
                    compatible(reached, candidate)
                    and trust_moves_one_way(reached.trust, candidate.trust)
                ):
                    continue
                if candidate == wanted:
                    return first
                seen.add(candidate)
                following.append((candidate, first or name))
        frontier = following
    return None
