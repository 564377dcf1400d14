"""Reading what the ledger of a stack says, and believing none of it unseen.

A ledger comes back from a stack's output, from a file, or from another stack. Anything that this
program did not write is refused (`ledger-unreadable`): guessing about a live mesh is worse than
stopping.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from meshca.ledger import PROPAGATION, VERSION, Access, Attempt, Ledger, Record, Restarts
from meshca.refusals import CertificateRef, Refusal, Refused, iso
from meshca.rotation import GENERATED, Held, Identity, Intermediate, Pace, Phase, Posture

_LAST_YEAR = 9000
_LONGEST = timedelta(days=365 * 300)
"""With these, the end of a window is a moment that datetime can hold."""

_UNREADABLE = (KeyError, TypeError, ValueError, OverflowError)
"""What reading something that this program did not write raises."""


class _NewerError(ValueError):
    """A version of which this program knows nothing."""


def parse(value: object, *, where: str, copied: bool = False) -> Ledger | None:
    """The ledger out of a stack output; None when there is none yet. `copied`: out of a file.

    Raises Refused (`ledger-unreadable`) for anything that this program did not write: guessing
    about a live mesh is worse than stopping.
    """
    if value is None:
        return None
    try:
        return _ledger(_mapping(value))
    except _UNREADABLE as error:
        raise Refused([_unreadable(where, error, copied=copied)]) from error


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


def _unreadable(where: str, error: Exception, *, copied: bool = False) -> Refusal:
    if isinstance(error, _NewerError):
        return Refusal(
            "ledger-unreadable",
            f"{where} is a ledger that a newer version of this program wrote ({error})",
            "Use that version, or a later one.",
        )
    reason = f"{where} is not a ledger this program wrote ({type(error).__name__}: {error})"
    if copied:
        # The file may be damaged where the state is not.
        export = "Export it again: `pulumi stack output rotation --json`."
        return Refusal("ledger-unreadable", reason, export)
    return Refusal(
        "ledger-unreadable",
        reason,
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
    if _whole(fields["version"]) > VERSION:
        raise _NewerError(f"version {fields['version']!r}")
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


def _pace(fields: Mapping[str, Any]) -> Pace:
    return _known_pace(fields["leafTtl"], fields["poll"], fields["slack"])


@lru_cache(maxsize=64, typed=True)  # one for the most of a fleet
def _known_pace(leaf_ttl: object, poll: object, slack: object) -> Pace:
    return Pace(_span(leaf_ttl), _span(poll), _span(slack))


def _span(value: object) -> timedelta:
    if (seconds := _whole(value)) > _LONGEST.total_seconds():
        raise ValueError(f"{seconds} seconds are no pace")
    return timedelta(seconds=seconds)


def _held(fields: Mapping[str, Any]) -> Held:
    open_end = _mapping(fields).get("until") is None
    until = None if open_end else _moment(fields["until"])
    if until is not None and until.year > _LAST_YEAR:
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
