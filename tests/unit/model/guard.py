"""The real guard, asked about a state of the model; each of its rules can be left out."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from meshca.ledger import Attempt, Ledger, Record, advance, pending_attempt
from meshca.ledger_reading import peer_window
from meshca.plan import unfinished
from meshca.refusals import CertificateRef
from meshca.rotation import RULES, Held, Pace, trust_refusals, window_refusals
from tests.unit.model.cast import ISSUERS, LARGEST, POSTURES, STANCES, Stance
from tests.unit.model.mesh import Mesh

NOW = datetime(2027, 1, 1, tzinfo=UTC)
PACE = Pace(leaf_ttl=timedelta(days=1), poll=timedelta(minutes=2), slack=timedelta(minutes=5))
FRESH = NOW - timedelta(seconds=1)
STALE = NOW - PACE.reload
"""When a posture ended whose chain window is open, and one whose trust window only is."""

RECORDS = {
    **{root: Record(CertificateRef(root)) for root in LARGEST.values()},
    **{name: Record(CertificateRef(name), issuer.root) for name, issuer in ISSUERS.items()},
}

UNFINISHED = "move-unfinished"
ATTEMPT = "the interrupted attempt in the window"
PEERS = "the windows of peers"
JUMPS_IN_FORCE = "trust-jumps over the posture in force"
JUMPS_BEHIND = "trust-jumps over what lagging istiods hold"
"""What can be left out besides the rules of the predicate."""

Entries = frozenset[tuple[Stance, bool]]
"""The postures of a window; whether the chain window is open."""

View = tuple[Stance, Entries]
"""What a ledger says: the posture in force, and the window."""


class After(NamedTuple):
    """What `advance` and `pending_attempt` make of a completed `up`."""

    ended: frozenset[Stance]
    """The postures that entered the window."""
    kept: Entries
    """What stays in the window."""
    settled: bool
    """Whether the recorded attempt is over."""


class Guard:
    """Answers as the program would, remembering its answers."""

    def __init__(self, without: str | None = None) -> None:
        self._without = without
        dropped = "trust-jumps" if without == JUMPS_BEHIND else without
        self._rules = [rule for rule in RULES if rule.id != dropped]
        self._admitted: dict[tuple[object, ...], Sequence[Stance]] = {}
        self._after: dict[tuple[object, ...], After] = {}
        self._windows: dict[View, Sequence[Held]] = {}

    def admits(
        self, mesh: Mesh, wanted: Sequence[Stance], peers: Sequence[Mesh] = ()
    ) -> Sequence[Stance]:
        """Those of the stances to which an `up` would begin to write."""
        view = _view(mesh)
        seen = () if self._without == PEERS else tuple(map(_view, peers))
        asked = (view, mesh.attempt, wanted, seen)
        if asked not in self._admitted:
            self._admitted[asked] = [
                stance
                for stance in wanted
                if stance not in (mesh.force, mesh.attempt)
                and self._may_start_over(view, mesh.attempt, stance)
                and self._judge(view, stance, seen)
            ]
        return self._admitted[asked]

    def _may_start_over(self, view: View, attempt: Stance | None, wanted: Stance) -> bool:
        if attempt is None or self._without == UNFINISHED:
            return True
        return unfinished(_ledger(*view), _attempt(attempt), _attempt(wanted)) is None

    def _judge(self, view: View, wanted: Stance, peers: Iterable[View]) -> bool:
        held = [*_ledger(*view).held()]
        for peer in peers:
            held += self._window(peer)
        posture = POSTURES[wanted]
        refusals = window_refusals(
            held, posture, now=NOW, describe=CertificateRef, rules=self._rules
        )
        if self._without != JUMPS_IN_FORCE:
            refusals += trust_refusals(held, posture, describe=CertificateRef)
        return not refusals

    def _window(self, peer: View) -> Sequence[Held]:
        if peer not in self._windows:
            self._windows[peer] = peer_window(_ledger(*peer).as_json(), peer="peer")
        return self._windows[peer]

    def completes(self, mesh: Mesh, target: Stance, *, restarted: bool = False) -> After:
        """The window after an `up` that completed `target`."""
        asked = (*_view(mesh), mesh.attempt, target, restarted)
        if asked not in self._after:
            self._after[asked] = self._complete(mesh, target, restarted)
        return self._after[asked]

    def _complete(self, mesh: Mesh, target: Stance, restarted: bool) -> After:
        attempt = _attempt(mesh.attempt) if mesh.attempt else None
        after = advance(
            _ledger(*_view(mesh)),
            now=NOW,
            stance=target,
            posture=POSTURES[target],
            pace=PACE,
            records=RECORDS,
            access=None,
            mesh=True,
            attempt=None if self._without == ATTEMPT else attempt,
            restarted=NOW if restarted else None,
        )
        window = [(STANCES[entry.posture], entry.until) for entry in after.window]
        return After(
            frozenset(name for name, until in window if until == NOW),
            frozenset((name, until == FRESH) for name, until in window if until != NOW),
            pending_attempt(after, attempt) is None or self._without == ATTEMPT,
        )


def _view(mesh: Mesh) -> View:
    return mesh.force, frozenset(
        (name, mark.fresh) for mark in mesh.marks for name in mark.believed
    )


def _ledger(force: Stance, entries: Entries) -> Ledger:
    window = [
        Held(POSTURES[name], PACE, FRESH if fresh else STALE) for name, fresh in sorted(entries)
    ]
    return Ledger(1, force, POSTURES[force], STALE, PACE, tuple(window), RECORDS)


def _attempt(stance: Stance) -> Attempt:
    return Attempt(1, stance, POSTURES[stance])
