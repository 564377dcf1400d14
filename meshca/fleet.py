"""Where every mesh of a fleet stands: phase, signer, roots, what ends first, what comes next."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from meshca import report, words
from meshca.ledger import Ledger
from meshca.refusals import CertificateRef, Refused, iso

SOON = timedelta(days=30)
"""A certificate that ends within this needs a rotation now: Key Vault warns as early."""

COLUMNS = ("stack", "phase", "signer", "roots", "mesh", "ends first", "next move")


@dataclass(frozen=True, slots=True)
class Member:
    """One stack of the fleet."""

    stack: str
    ledger: Ledger | None = None
    mesh: str | None = None
    problem: str | None = None
    """Why nothing more is known of it."""
    brief: str = "unreadable"
    """The problem in a word or an id, which is what fits into its row."""

    def first_end(self) -> CertificateRef | None:
        """The certificate in use that ends first; None while none is in use."""
        return words.first_to_end(self.ledger) if self.ledger else None

    def cells(self, now: datetime) -> tuple[str, ...]:
        """Its row, by COLUMNS."""
        ledger = self.ledger
        if ledger is None:
            phase = "no ledger yet" if self.problem is None else self.brief
            return (self.stack, phase, "", "", self.mesh or "", "", "")
        first, move = self.first_end(), ledger.next_move()
        roots = ", ".join(ledger.describe(root).name for root in ledger.posture.trust)
        return (
            self.stack,
            f"{ledger.stance} (mixed)" if ledger.mixed else ledger.stance,
            ledger.describe(ledger.posture.signer.identity).name,
            roots,
            self.mesh or "",
            _ends(first, now),
            f"{move.stance}, {words.when(move.not_before, now)}" if move else "",
        )

    def concerns(self, now: datetime, *, within: timedelta) -> Iterator[str]:
        """What somebody has to look after, each in one sentence."""
        if self.problem is not None:
            yield self.problem
        first = self.first_end()
        if first is not None and first.not_after is not None:
            if first.not_after <= now:
                yield f"{first.name} ended at {iso(first.not_after)}: rotate now"
            elif first.not_after - now <= within:
                left = words.span(first.not_after - now)
                yield f"{first.name} ends at {iso(first.not_after)}, in {left}: rotate"
        if self.ledger is not None and self.ledger.mixed:
            yield f"`{self.ledger.mixed}` was written in part: run `pulumi up` without --target"


def member(stack: str, outputs: object) -> Member | None:
    """A stack with these outputs, as decoded JSON; None when they are not this program's."""
    if not isinstance(outputs, Mapping) or "mesh" not in outputs or "certificates" not in outputs:
        return None
    try:
        found = report.read(outputs, where=f"stack {stack}")
    except Refused as refused:
        ids = ", ".join(refusal.id for refusal in refused.refusals)
        return Member(stack, problem=str(refused), brief=ids)
    return Member(stack, found.ledger, found.mesh)


def table(members: Sequence[Member], *, now: datetime) -> Iterator[str]:
    """The fleet as text, a line for each stack under a line of headings."""
    rows = [tuple(column.upper() for column in COLUMNS), *(one.cells(now) for one in members)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def concerns(
    members: Iterable[Member], *, now: datetime, within: timedelta = SOON
) -> list[tuple[str, str]]:
    """Pairs of stack and what somebody has to look after there."""
    return [(one.stack, concern) for one in members for concern in one.concerns(now, within=within)]


def _ends(first: CertificateRef | None, now: datetime) -> str:
    if first is None or first.not_after is None:
        return ""
    if first.not_after <= now:
        return f"{first.name} ENDED {first.not_after:%Y-%m-%d}"
    return f"{first.name} {first.not_after:%Y-%m-%d} (in {words.span(first.not_after - now)})"
