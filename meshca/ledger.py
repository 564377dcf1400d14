"""What the last completed `up` recorded, and until when to wait.

The ledger is the stack output `rotation`: plain JSON, read back by the next preview and by the
previews of peers. It holds no secret. Moments are RFC 3339 text; spans are whole seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from meshca.refusals import CertificateRef, Refusal, Refused, iso
from meshca.rotation import (
    GENERATED,
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

_LAST_YEAR = 9000
_LONGEST = timedelta(days=365 * 300)
"""With these, the end of a window is a moment that datetime can hold."""

_UNREADABLE = (KeyError, TypeError, ValueError, OverflowError)
"""What reading something that this program did not write raises."""


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
        refusals = window_refusals(self.held(), wanted, now=self.since, describe=self.describe)
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
) -> Ledger:
    """The ledger after an `up` that completed `posture` at `now`.

    Whatever was or may have been in force until now enters the window: the previous posture, and
    an interrupted attempt at another one. `restarted` is a moment at which every istiod showed the
    new material, and than which no meshed pod is older: what was in force before has ended by
    then, and counts no longer. `restarts` tells what that rests on; where it names laggards, it
    only tells since when the posture is in force. Restarts that were made before this `up`, or an
    earlier one, wrote a secret prove nothing about what it replaced (`written` says when).
    Without any change the ledger stays as it is, byte for byte.
    """
    shown = None
    if restarts is not None and _tells_of_now(restarts, ledger, written):
        shown = restarts.shown
        restarted = restarted if restarts.laggards else shown
    if ledger is None:
        return Ledger(
            1,
            stance,
            posture,
            now,
            pace,
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
    ended = [Held(was, slower, restarted or shown or now) for was in over]
    if slower != pace:
        # Leaves of the longer life, under the posture that stays, are about until they end.
        ended.append(Held(posture, slower, now))
    window = ledger.window
    if ended or restarted:
        counting = (*ledger.window, *ended)
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


def parse(value: object, *, where: str) -> Ledger | None:
    """The ledger out of a stack output; None when there is none yet.

    Raises Refused (`ledger-unreadable`) for anything that this program did not write: guessing
    about a live mesh is worse than stopping.
    """
    if value is None:
        return None
    try:
        return _ledger(_mapping(value))
    except _UNREADABLE as error:
        raise Refused([_unreadable(where, error)]) from error


def parse_attempt(value: object) -> Attempt | None:
    """The attempt out of the Stash's input; None when there is none."""
    if value is None:
        return None
    try:
        fields = _mapping(value)
        return Attempt(_whole(fields["base"]), _text(fields["stance"]), _posture(fields["posture"]))
    except _UNREADABLE as error:
        raise Refused([_unreadable("the recorded attempt", error)]) from error


def peer_window(value: object, *, peer: str) -> Sequence[Held]:
    """What still counts in a peer's mesh, out of its ledger; reads nothing else of it."""
    if value is None:
        return []
    try:
        fields = _mapping(value)
        _refuse_other_version(fields)
        return [
            Held(_foreign(_posture(fields["posture"]), peer), _pace(fields["pace"]), None, peer),
            *(
                Held(_foreign(entry.posture, peer), entry.pace, entry.until, peer)
                for entry in map(_held, _list(fields["window"]))
            ),
        ]
    except _UNREADABLE as error:
        raise Refused([_unreadable(f"the output `rotation` of stack {peer}", error)]) from error


def _foreign(posture: Posture, peer: str) -> Posture:
    """What another stack generated is none of ours, whatever its name."""
    if not any(map(_is_generated, posture.members())):
        return posture

    def qualify(identity: Identity) -> Identity:
        return f"{peer}/{identity}" if _is_generated(identity) else identity

    signer = Intermediate(qualify(posture.signer.identity), qualify(posture.signer.root))
    return Posture(tuple(map(qualify, posture.trust)), signer, tuple(map(qualify, posture.chain)))


def _is_generated(identity: Identity) -> bool:
    return identity.startswith(GENERATED)


def _unreadable(where: str, error: Exception) -> Refusal:
    return Refusal(
        "ledger-unreadable",
        f"{where} is not a ledger this program wrote ({type(error).__name__}: {error})",
        "Restore the stack's state from a backup (`pulumi stack import`), or use the version of "
        "this program that wrote it.",
    )


def _ledger(fields: Mapping[str, Any]) -> Ledger:
    _refuse_other_version(fields)
    # What is null is gone from an output that Pulumi hands back.
    access, override, mixed = (fields.get(key) for key in ("access", "override", "mixed"))
    ledger = Ledger(
        serial=_whole(fields["serial"]),
        stance=_text(fields["stance"]),
        posture=_posture(fields["posture"]),
        since=_moment(fields["since"]),
        pace=_pace(fields["pace"]),
        window=tuple(_held(entry) for entry in _list(fields["window"])),
        records={
            _text(identity): _record(_mapping(entry))
            for identity, entry in _mapping(fields["records"]).items()
        },
        access=Access(_text(access["vault"]), _text(access["principal"])) if access else None,
        mesh=_flag(fields["mesh"]),
        propagation=_text(fields["propagation"]),
        override={key: _text(override[key]) for key in ("move", "reason")} if override else None,
        mixed=None if mixed is None else _text(mixed),
        written={
            _text(name): iso(_moment(moment))
            for name, moment in _mapping(fields["written"]).items()
        },
        restarts=_restarts(fields.get("restarts")),
    )
    _refuse_gaps(ledger)
    return ledger


def _refuse_other_version(fields: Mapping[str, Any]) -> None:
    if _whole(fields["version"]) != VERSION:
        raise ValueError(f"version {fields['version']!r}")


def _refuse_gaps(ledger: Ledger) -> None:
    """What is written always speaks of issuers and certificates that are on record."""
    if ledger.propagation not in PROPAGATION:
        raise ValueError(f"propagation {ledger.propagation!r}")
    phase, *names = ledger.stance.split(" ")
    if len(names) != (1 if Phase(phase) is Phase.STEADY else 2):
        raise ValueError(f"stance {ledger.stance!r}")
    issuers = {record.certificate.name for record in ledger.records.values() if record.root}
    if missing := {*names} - issuers or ledger.posture.members() - ledger.records.keys():
        raise ValueError(f"no record of {sorted(missing)}")


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError("not a mapping")
    return value


def _list(value: object) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError("not a list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("not a text")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not true or false")
    return value


def _whole(value: object) -> int:
    """Pulumi hands every number back as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise TypeError("not a whole number")
    if value < 0:
        raise ValueError("below zero")
    return int(value)


def _moment(value: object) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} names no time zone")
    return moment.astimezone(UTC)


def _posture_json(posture: Posture) -> dict[str, Any]:
    return {
        "trust": list(posture.trust),
        "signer": {"identity": posture.signer.identity, "root": posture.signer.root},
        "chain": list(posture.chain),
    }


def _posture(fields: Mapping[str, Any]) -> Posture:
    signer = fields["signer"]
    return Posture(
        _identities(fields["trust"]),
        Intermediate(_text(signer["identity"]), _text(signer["root"])),
        _identities(fields["chain"]),
    )


def _identities(value: object) -> tuple[Identity, ...]:
    if not (found := tuple(map(_text, _list(value)))):
        raise ValueError("empty")
    return found


def _pace_json(pace: Pace) -> dict[str, int]:
    return {
        "leafTtl": int(pace.leaf_ttl.total_seconds()),
        "poll": int(pace.poll.total_seconds()),
        "slack": int(pace.slack.total_seconds()),
    }


def _pace(fields: Mapping[str, Any]) -> Pace:
    return _known_pace(fields["leafTtl"], fields["poll"], fields["slack"])


@lru_cache(maxsize=64, typed=True)  # one for the most of a fleet
def _known_pace(leaf_ttl: object, poll: object, slack: object) -> Pace:
    return Pace(_span(leaf_ttl), _span(poll), _span(slack))


def _span(value: object) -> timedelta:
    if (seconds := _whole(value)) > _LONGEST.total_seconds():
        raise ValueError(f"{seconds} seconds are no pace")
    return timedelta(seconds=seconds)


def _held_json(entry: Held) -> dict[str, Any]:
    return {
        "posture": _posture_json(entry.posture),
        "pace": _pace_json(entry.pace),
        "until": iso(entry.until) if entry.until else None,
    }


def _held(fields: Mapping[str, Any]) -> Held:
    until = _moment(fields["until"])
    if until.year > _LAST_YEAR:
        raise ValueError(f"{fields['until']} is no time at which a posture ended")
    return Held(_posture(fields["posture"]), _pace(fields["pace"]), until)


def _restarts(value: object) -> Restarts | None:
    if value is None:
        return None
    fields = _mapping(value)
    return Restarts(
        _text(fields["digest"]),
        _moment(fields["shownAt"]),
        *(tuple(map(_text, _list(fields[key]))) for key in ("workloads", "laggards")),
    )


def _record(fields: Mapping[str, Any]) -> Record:
    sha256, not_after, root = (fields.get(key) for key in ("sha256", "notAfter", "root"))
    serial = fields.get("serial")
    return Record(
        CertificateRef(
            _text(fields["name"]),
            None if sha256 is None else _text(sha256),
            None if not_after is None else _moment(not_after),
        ),
        None if root is None else _text(root),
        None if serial is None else _text(serial),
    )
