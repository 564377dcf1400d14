"""What the guard costs over a large fleet."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.timing import Limit, alternating
from meshca.ledger import Access, Ledger, Record, advance
from meshca.ledger_reading import peer_window
from meshca.refusals import CertificateRef
from meshca.rotation import (
    Intermediate,
    Pace,
    Phase,
    posture,
    stance,
    trust_refusals,
    window_refusals,
)

PEERS = 1000
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PACE = Pace(timedelta(hours=24), timedelta(minutes=2), timedelta(minutes=5))
A1, B1 = Intermediate("sha256:a1", "sha256:a"), Intermediate("sha256:b1", "sha256:b")
RECORDS = {
    identity: Record(
        CertificateRef(identity.removeprefix("sha256:"), 64 * "0", NOW + timedelta(days=900)), root
    )
    for identity, root in (
        (A1.root, None),
        (B1.root, None),
        (A1.identity, A1.root),
        (B1.identity, B1.root),
    )
}


def fleet(_: Path) -> Iterator[Limit]:
    """Reading every peer's ledger and judging one switch over all that still counts."""
    outputs = [_peer(number) for number in range(PEERS)]
    wanted = posture(Phase.SWITCH, A1, B1)

    def describe(identity: str) -> CertificateRef:
        return RECORDS[identity].certificate

    def judge() -> None:
        held = [
            entry
            for number, output in enumerate(outputs)
            for entry in peer_window(output, peer=f"organization/aks-istio-ca/{number}")
        ]
        refusals = [
            *window_refusals(held, wanted, now=NOW, describe=describe),
            *trust_refusals(held, wanted, describe=describe),
        ]
        if [refusal.id for refusal in refusals] != ["signs-too-early"]:
            raise AssertionError(f"judged wrongly: {refusals}")

    [seconds] = alternating(judge)
    yield Limit(f"guard over {PEERS} peer ledgers", seconds, 0.050)


def _peer(number: int) -> object:
    """The ledger of a peer that has distributed root b, at a time of its own."""
    began = NOW - timedelta(minutes=number)
    start = _advance(None, began - timedelta(days=30), Phase.STEADY)
    return _advance(start, began, Phase.DISTRIBUTE).as_json()


def _advance(ledger: Ledger | None, now: datetime, phase: Phase) -> Ledger:
    following = None if phase is Phase.STEADY else B1
    return advance(
        ledger,
        now=now,
        stance=stance(phase, "a1", None if following is None else "b1"),
        posture=posture(phase, A1, following),
        pace=PACE,
        records=RECORDS,
        access=Access("vault", "principal"),
        mesh=True,
    )
