"""The state of a mesh CA, and what an `up` changes, in words a reviewer understands."""

from collections.abc import Iterable, Sequence

from meshca.ledger import Ledger
from meshca.plan import Plan
from meshca.refusals import CertificateRef, iso
from meshca.rotation import Identity, Posture

EVIDENCE = {
    "waiting": "windows pass by waiting",
    "restarts": "the listed workloads were restarted and no older pod was left",
}


def state(ledger: Ledger) -> list[str]:
    """The ledger as lines: who signs, who is trusted, what still counts, what comes next."""

    def certificates(identities: Iterable[Identity]) -> str:
        return ", ".join(str(ledger.describe(identity)) for identity in identities)

    lines = [
        f"Phase    {ledger.stance}, since {iso(ledger.since)}",
        f"Signs    {certificates([ledger.posture.signer.identity])}",
        f"Trusts   {certificates(ledger.posture.trust)}",
        f"Chain    {certificates(ledger.posture.chain)}",
    ]
    if ledger.mixed:
        lines.append(
            f"Mixed    `{ledger.mixed}` was written in part: run `pulumi up` without --target"
        )
    for entry in ledger.window:
        end = entry.leaves_trust_window()
        what = f"{ledger.describe(entry.posture.signer.identity).name} signing under "
        what += " and ".join(ledger.describe(root).name for root in entry.posture.trust)
        lines.append(f"Counts   {what}, until {iso(end) if end else 'further notice'}")
    if ledger.override:
        lines.append(f"Override {ledger.override['move']}: {ledger.override['reason']}")
    lines.append(f"Proof    {EVIDENCE[ledger.propagation]}")
    move = ledger.next_move()
    lines.append(
        f"Next     {move.stance}, not before {iso(move.not_before)}"
        if move
        else "Next     nothing is under way"
    )
    return lines


def changes(plan: Plan, ledger: Ledger | None) -> list[str]:
    """What this `up` changes, as lines for the console and the pull request."""
    if not plan.moves:
        return [f"CA: `{plan.stance}` is in force already; no secret is written."]
    before = ledger.posture if ledger else None
    lines = [f"CA: {f'`{ledger.stance}`' if ledger else 'nothing'} -> `{plan.stance}`"]
    lines += [f"  {line}" for line in _differences(before, plan.posture, plan, ledger)]
    if plan.override:
        lines.append(
            f"  OVERRIDE admits this move although it is refused: {plan.override['reason']}"
        )
        lines += [f"    {refusal}" for refusal in plan.admitted]
    return lines


def _differences(
    before: Posture | None, after: Posture, plan: Plan, ledger: Ledger | None
) -> Sequence[str]:
    def name(identity: Identity) -> CertificateRef:
        if identity in plan.members:
            return plan.members[identity].reference
        return ledger.describe(identity) if ledger else CertificateRef(identity)

    lines = []
    old_trust = before.trust if before else ()
    lines += [f"trusts {name(root)} from now on" for root in after.trust if root not in old_trust]
    lines += [f"no longer trusts {name(root)}" for root in old_trust if root not in after.trust]
    if before is None or before.signer != after.signer:
        lines.append(f"signs with {name(after.signer.identity)} from now on")
    else:
        lines.append(f"goes on signing with {name(after.signer.identity)}")
    old_chain = before.chain if before else ()
    added = [name(issuer).name for issuer in after.chain if issuer not in old_chain]
    dropped = [name(issuer).name for issuer in old_chain if issuer not in after.chain]
    if before is not None and added:
        lines.append(f"hands out {', '.join(added)} in the chain too")
    if dropped:
        lines.append(f"no longer hands out {', '.join(dropped)} in the chain")
    return lines
