"""What a stack exported about its CA, read back and told in words.

Accepts the ledger (the output `rotation`) or everything that `pulumi stack output --json` prints.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from meshca import ledger_reading, words
from meshca.ledger import Ledger, NextMove
from meshca.refusals import Refusal, Refused
from meshca.rotation import Intermediate, Phase, posture, stance, window_refusals


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of one stack, as far as they concern its CA."""

    ledger: Ledger | None
    mesh: str | None = None
    """The output `mesh`; None when only a ledger was given."""
    requests: tuple[str, ...] = ()
    """Issuers that wait for their offline root to sign them."""


def read(found: object, *, where: str, copied: bool = False) -> Outputs:
    """The outputs in decoded JSON: a ledger, or every output of a stack. `copied`: out of a file.

    Raises Refused (`not-outputs`) when it is neither, (`ledger-unreadable`) when the ledger in it
    is not one that this program wrote.
    """
    if not isinstance(found, Mapping):
        raise Refused([_not_outputs(where, "it is not a JSON object")])
    if "posture" in found:
        return Outputs(ledger_reading.parse(found, where=where, copied=copied))
    if not {"mesh", "rotation", "certificates"} & found.keys():
        raise Refused([_not_outputs(where, "none of the program's outputs is in it")])
    place = f"the output `rotation` in {where}"
    ledger = ledger_reading.parse(found.get("rotation"), where=place, copied=copied)
    mesh, requests = found.get("mesh"), found.get("csrs")
    return Outputs(
        ledger,
        mesh if isinstance(mesh, str) else None,
        tuple(sorted(requests)) if isinstance(requests, Mapping) else (),
    )


def lines(outputs: Outputs, *, now: datetime) -> Iterator[str]:
    """Who signs, who is trusted, what still lingers, what comes next and when."""
    if outputs.ledger is not None:
        yield from words.state(outputs.ledger, now=now)
        if (back := way_back(outputs.ledger, now=now)) is not None:
            yield f"Back     {back.stance}, {words.when(back.not_before, now)}"
    else:
        yield "Phase    none yet: no `pulumi up` has written a whole set of secrets"
    if outputs.mesh is not None:
        yield f"Mesh     {outputs.mesh}"
    if outputs.requests:
        yield f"Pending  {', '.join(outputs.requests)}: sign what the output `csrs` holds"


def way_back(ledger: Ledger, *, now: datetime) -> NextMove | None:
    """The move that takes the last one back, and when it is legal; None out of a steady phase.

    Legal means what the guard means by it: the rules over everything that still counts. It says
    nothing of certificates that end, or of what peers do.
    """
    phase, active, *following = ledger.stance.split()
    if not following:
        return None
    issuers = {
        record.certificate.name: Intermediate(identity, record.root)
        for identity, record in ledger.records.items()
        if record.root is not None
    }
    before = _BEFORE[Phase(phase)]
    onward = following[0] if before is not Phase.STEADY else None
    wanted = posture(before, issuers[active], issuers[onward] if onward else None)
    refusals = window_refusals(ledger.held(), wanted, now=now, describe=ledger.describe)
    ends = [refusal.legal_at for refusal in refusals]
    if None in ends:
        return None
    return NextMove(
        stance(before, active, onward),
        max((end for end in ends if end is not None), default=ledger.since),
    )


_BEFORE = {
    Phase.DISTRIBUTE: Phase.STEADY,
    Phase.SWITCH: Phase.DISTRIBUTE,
    Phase.RETIRE: Phase.SWITCH,
}


def _not_outputs(where: str, why: str) -> Refusal:
    return Refusal(
        "not-outputs",
        f"{where} holds no ledger: {why}",
        "Give it `pulumi stack output --json`, or `pulumi stack output rotation --json`.",
    )
