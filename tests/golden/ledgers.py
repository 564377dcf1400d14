"""Ledgers of a mesh as it walks through a rotation, made with the code that makes real ones."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from meshca.ledger import Access, Ledger, Record, advance
from meshca.refusals import CertificateRef
from meshca.rotation import Intermediate, Pace, Phase, posture, stance

START = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
PACE = Pace(timedelta(hours=24), timedelta(minutes=2), timedelta(minutes=5))
A1, A2, B1 = (Intermediate(f"id-{name}", f"id-{name[0]}") for name in ("a1", "a2", "b1"))


def records(*, years: int = 2) -> dict[str, Record]:
    """Roots a and b, issuers a1, a2 and b1, as a ledger records them."""
    ends = {"a": START + 3650 * DAY, "b": START + 3650 * DAY}
    ends |= dict.fromkeys(("a1", "a2", "b1"), START + years * 365 * DAY)
    return {
        f"id-{name}": Record(
            CertificateRef(name, name.encode().hex().ljust(64, "0"), end),
            f"id-{name[0]}" if len(name) > 1 else None,
        )
        for name, end in ends.items()
    }


def walk(
    *phases: Phase, to: Intermediate = B1, every: timedelta = 2 * DAY, years: int = 2
) -> Ledger:
    """The ledger after the mesh, steady in a1 since START, went through `phases` one by one."""
    moves: Sequence[tuple[Phase, Intermediate, Intermediate | None]] = [
        (Phase.STEADY, A1, None),
        *((phase, A1, to) for phase in phases if phase is not Phase.STEADY),
        *((phase, to, None) for phase in phases if phase is Phase.STEADY),
    ]
    ledger: Ledger | None = None
    for number, (phase, active, following) in enumerate(moves):
        names = [issuer.identity.removeprefix("id-") for issuer in (active, following) if issuer]
        ledger = advance(
            ledger,
            now=START + number * every,
            stance=stance(phase, *names),
            posture=posture(phase, active, following),
            pace=PACE,
            records=records(years=years),
            access=Access("/vault", "principal"),
            mesh=True,
        )
    assert ledger is not None
    return ledger
