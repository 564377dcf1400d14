"""What the last completed `up` recorded, and until when to wait.

The ledger is the stack output `rotation`: plain JSON, read back by the next preview and by the
previews of peers. It holds no secret. Moments are RFC 3339 text; spans are whole seconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from meshca.refusals import CertificateRef, iso
from meshca.rotation import (
    Held,
    Identity,
    Intermediate,
    Pace,
    Phase,
    Posture,
    posture,
    stance,
    window_refusals,
)

VERSION = 1
PROPAGATION = ("waiting", "restarts")
"""How propagation is established: windows pass, or restarts are the evidence that they may."""


@dataclass(frozen=True, slots=True)
class Record:
    """A root or an issuer as the ledger knows it."""

    certificate: CertificateRef
    root: Identity | None = None
    """The root above an issuer; None for a root."""
    serial: str | None = None
    """The serial number in lower-case hex, as istiod's log prints it; None when not known."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who was granted what: the vault's ARM id, and the object id of the add-on's identity."""

    vault: str
    principal: str


@dataclass(frozen=True, slots=True)
class Restarts:
    """Workloads restarted so that what was in force before need not be waited for."""

    digest: str
    """Of the trust and the signer that they were restarted for (`meshca.restarts`)."""
    shown: datetime
    """From this moment on every istiod showed them. The API server's clock, as pods' ages are."""
    workloads: tuple[str, ...] = ()
    laggards: tuple[str, ...] = ()
    """Meshed pods, as namespace/name, that are older than that moment."""

    def as_json(self) -> dict[str, Any]:
        """Every field as JSON values."""
        return {
            "digest": self.digest,
            "shownAt": iso(self.shown),
            "workloads": list(self.workloads),
            "laggards": list(self.laggards),
        }


@dataclass(frozen=True, slots=True)
class NextMove:
    """Where a rotation goes from here, and not before when."""

    stance: str
    not_before: datetime

    def as_json(self) -> dict[str, str]:
        """Both as text."""
        return {"stance": self.stance, "notBefore": iso(self.not_before)}


@dataclass(frozen=True, slots=True)
class Attempt:
    """A move as it is recorded before its first write: what an interrupted `up` may have started.

    `base` is the serial of the ledger it started from, so that a ledger that has moved on tells
    it is over.
    """

    base: int
    stance: str
    posture: Posture

    def as_json(self) -> dict[str, Any]:
        """The form kept in the state by the Stash that every secret waits for."""
        return {"base": self.base, "stance": self.stance, "posture": _posture_json(self.posture)}


@dataclass(frozen=True, slots=True)
class Ledger:
    """The posture in force, the postures that still count, and what they are made of."""

    serial: int
    """Grows with every completed move and with every interrupted one that was taken back."""
    stance: str
    posture: Posture
    since: datetime
    pace: Pace
    window: tuple[Held, ...] = ()
    records: Mapping[Identity, Record] = field(default_factory=dict)
    access: Access | None = None
    mesh: bool = False
    """Whether the mesh reads the secrets: from then on its vault cannot change."""
    propagation: str = "waiting"
    """One of PROPAGATION."""
    override: Mapping[str, str] | None = None
    """The break-glass that admitted the move in force, as it stood in the configuration."""
    mixed: str | None = None
    """The stance whose secrets were only partly written; None when the four files are whole."""
    written: Mapping[str, str] = field(default_factory=dict)
    """By secret, which `up` wrote it last: what its tag in the vault says."""
    restarts: Restarts | None = None
    """The last restarts that were made as evidence; None when trust and signer came without."""

    def held(self) -> tuple[Held, ...]:
        """Everything that may still be in use here: the posture in force, and the window."""
        return (Held(self.posture, self.pace), *self.window)

    def next_move(self) -> "NextMove | None":
        """The next move of the rotation under way, and when time alone makes it legal.

        None in a steady phase, where the next rotation is the operator's to begin.
        """
        phase, active, *following = self.stance.split()
        if not following:
            return None
        [incoming] = following
        if Phase(phase) is Phase.RETIRE:
            move = stance(Phase.STEADY, incoming)
            wanted = posture(Phase.STEADY, self._issuer(incoming))
        else:
            after = Phase.SWITCH if Phase(phase) is Phase.DISTRIBUTE else Phase.RETIRE
            move = stance(after, active, incoming)
            wanted = posture(after, self._issuer(active), self._issuer(incoming))
        # A pace that became slower also holds for what entered the window before, as for a move.
        # An open entry ends now at the earliest.
        held = [
            Held(self.posture, self.pace),
            *(
                replace(entry, pace=entry.pace.slower(self.pace), until=entry.until or self.since)
                for entry in self.window
            ),
        ]
        refusals = window_refusals(held, wanted, now=self.since, describe=self.describe)
        ends = [refusal.legal_at for refusal in refusals if refusal.legal_at is not None]
        return NextMove(move, max(ends, default=self.since))

    def describe(self, identity: Identity) -> CertificateRef:
        """What a root or an issuer of the ledger is known by."""
        record = self.records.get(identity)
        return record.certificate if record else CertificateRef(identity)

    def _issuer(self, name: str) -> Intermediate:
        """The one in force if there are two: an earlier configuration may have had the name."""
        for identity in (*self.posture.chain, *self.records):
            record = self.records[identity]
            if record.root is not None and record.certificate.name == name:
                return Intermediate(identity, record.root)
        raise ValueError(f"the ledger knows no issuer {name}")

    def with_mixed(self, stance: str) -> "Ledger":
        """The same, knowing that only a part of another posture's secrets was written."""
        return replace(self, mixed=stance)

    def as_json(self) -> dict[str, Any]:
        """The stack output `rotation`, for people and for the next preview."""
        phase, active, *following = self.stance.split()
        move = self.next_move()

        def certificate(identity: Identity) -> dict[str, Any]:
            return self.records[identity].certificate.as_json()

        return {
            "version": VERSION,
            "serial": self.serial,
            "state": "mixed" if self.mixed else "complete",
            "mixed": self.mixed,
            "stance": self.stance,
            "phase": phase,
            "activeIssuer": active,
            "nextIssuer": following[0] if following else None,
            "trusted": [certificate(identity) for identity in self.posture.trust],
            "signer": certificate(self.posture.signer.identity),
            "since": iso(self.since),
            "propagation": self.propagation,
            "nextMove": move.as_json() if move else None,
            "posture": _posture_json(self.posture),
            "pace": _pace_json(self.pace),
            "window": [_held_json(entry) for entry in self.window],
            "records": {
                identity: {
                    **record.certificate.as_json(),
                    "root": record.root,
                    "serial": record.serial,
                }
                for identity, record in self.records.items()
            },
            "access": {"vault": self.access.vault, "principal": self.access.principal}
            if self.access
            else None,
            "mesh": self.mesh,
            "override": dict(self.override) if self.override else None,
            "written": dict(self.written),
            "restarts": self.restarts.as_json() if self.restarts else None,
        }


def advance(
    ledger: Ledger | None,
    *,
    now: datetime,
    stance: str,
    posture: Posture,
    pace: Pace,
    records: Mapping[Identity, Record],
    access: Access | None,
    mesh: bool,
    attempt: Attempt | None = None,
    override: Mapping[str, str] | None = None,
    written: Mapping[str, str] | None = None,
    restarted: datetime | None = None,
    restarts: Restarts | None = None,
    uncertain: Sequence[Posture] = (),
    external: bool = False,
    key_written: datetime | None = None,
) -> Ledger:
    """The ledger after an `up` that completed `posture` at `now`.

    Whatever was or may have been in force until now enters the window: the previous posture, and
    an interrupted attempt at another one. `restarted` is a moment at which every istiod showed the
    new material, and than which no meshed pod is older: what was in force before has ended by
    then, and counts no longer. `restarts` tells what that rests on; where it names laggards, it
    only tells since when the posture is in force. Restarts that were made before this `up`, or an
    earlier one, wrote a secret prove nothing about what it replaced (`written` says when).
    `uncertain` is what may have been in force before the first ledger. With an `external` key of
    the signer nobody knows when a posture of another signer ends, until `key_written` tells.
    Without any change the ledger stays as it is, byte for byte.
    """
    shown = None
    if restarts is not None and _tells_of_now(restarts, ledger, written):
        shown = restarts.shown
        restarted = restarted if restarts.laggards else shown

    def end(was: Posture) -> datetime | None:
        evident = restarted or shown
        return evident or (None if external and was.signer != posture.signer else now)

    if ledger is None:
        return Ledger(
            1,
            stance,
            posture,
            now,
            pace,
            window=tuple(Held(was, pace, end(was)) for was in uncertain),
            records=records,
            access=access,
            mesh=mesh,
            override=override,
            written=written or {},
        )
    unfinished = pending_attempt(ledger, attempt)
    moved = ledger.posture != posture
    over = [ledger.posture] if moved else []
    if unfinished and unfinished.posture != posture:
        over.append(unfinished.posture)
    slower = ledger.pace.slower(pace)
    ended = [Held(was, slower, end(was)) for was in over]
    if slower != pace:
        # Leaves of the longer life, under the posture that stays, are about until they end.
        ended.append(Held(posture, slower, now))
    window = closed(ledger.window, restarted or shown or key_written, since=ledger.since)
    if ended or restarted:
        counting = (*window, *ended)
        window = tuple(entry for entry in counting if _still_counts(entry, now, restarted))
    remembered = {
        identity: record
        for identity, record in ledger.records.items()
        if identity not in records and any(identity in was.posture.members() for was in window)
    }
    return replace(
        ledger,
        serial=ledger.serial + 1 if moved or unfinished else ledger.serial,
        stance=stance,
        posture=posture,
        since=now if moved else ledger.since,
        pace=pace,
        window=window,
        records={**remembered, **records},
        access=access,
        mesh=mesh,
        propagation="restarts" if restarted else "waiting" if moved else ledger.propagation,
        override=override if moved else ledger.override,
        mixed=None,
        written=written or {},
        restarts=restarts or _still_holds(ledger, posture),
    )


def closed(
    entries: Iterable[Held], key_written: datetime | None, *, since: datetime
) -> tuple[Held, ...]:
    """The entries of a window, the open ones ended when the signer's external key was written.

    Only a moment after `since`, at which the posture in force came, tells of its key: an earlier
    one may be left over from the rotation before.
    """
    if key_written is None or key_written < since:
        return tuple(entries)
    return tuple(
        replace(entry, until=key_written) if entry.until is None else entry for entry in entries
    )


def _tells_of_now(
    restarts: Restarts, ledger: Ledger | None, written: Mapping[str, str] | None
) -> bool:
    """Whether the restarts are new, and every istiod was seen after the last secret was written.

    A move that leaves trust and signer as they are (it changes the chain) needs no restart, and
    comes with the restarts of an earlier one; so may an `up` that takes a move back.
    """
    if ledger is not None and restarts == ledger.restarts:
        return False
    moments = map(datetime.fromisoformat, (written or {}).values())
    return all(moment <= restarts.shown for moment in moments)


def _still_holds(ledger: Ledger, posture: Posture) -> Restarts | None:
    """The restarts on record, while proxies are to hold what these were made for."""
    before = ledger.posture
    same = (before.trust, before.signer) == (posture.trust, posture.signer)
    return ledger.restarts if same else None


def _still_counts(entry: Held, now: datetime, restarted: datetime | None) -> bool:
    """Whether a proxy may still hold something of a posture in the window."""
    if entry.until is None:
        return True
    return entry.until + entry.pace.renewal > now and (restarted is None or entry.until > restarted)


def pending_attempt(ledger: Ledger | None, attempt: Attempt | None) -> Attempt | None:
    """The attempt, unless a completed `up` has settled it."""
    base = ledger.serial if ledger else 0
    return attempt if attempt and attempt.base == base else None


def _posture_json(posture: Posture) -> dict[str, Any]:
    return {
        "trust": list(posture.trust),
        "signer": {"identity": posture.signer.identity, "root": posture.signer.root},
        "chain": list(posture.chain),
    }


def _pace_json(pace: Pace) -> dict[str, int]:
    return {
        "leafTtl": int(pace.leaf_ttl.total_seconds()),
        "poll": int(pace.poll.total_seconds()),
        "slack": int(pace.slack.total_seconds()),
    }


def _held_json(entry: Held) -> dict[str, Any]:
    return {
        "posture": _posture_json(entry.posture),
        "pace": _pace_json(entry.pace),
        "until": iso(entry.until) if entry.until else None,
    }
