"""The state of a mesh CA, and what an `up` changes, in words a reviewer understands."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from meshca import durations, external_keys
from meshca.ledger import Ledger, Record, Restarts, advance
from meshca.plan import Plan
from meshca.refusals import CertificateRef, iso
from meshca.rotation import Held, Identity, Phase, Posture

EVIDENCE = {
    "waiting": "time: a posture counts until its window has passed",
    "restarts": "restarts: the listed workloads were restarted and no older pod was left",
}
"""What lets a posture leave the window, by the ledger's `propagation`."""

PHASES = {
    Phase.STEADY: "{active} signs, and every proxy trusts its root",
    Phase.DISTRIBUTE: "{active} still signs, while {following} and its root reach every proxy",
    Phase.SWITCH: "{following} signs, while leaves of {active} live on until they are renewed",
    Phase.RETIRE: "{following} signs, and {active} is out of use",
}
"""What each phase of a move from `active` to `following` means for the mesh."""


def state(ledger: Ledger, *, now: datetime) -> list[str]:
    """The ledger as lines: who signs, who is trusted, what still counts, what comes next."""

    def certificates(identities: Iterable[Identity]) -> list[str]:
        return [str(ledger.describe(identity)) for identity in identities]

    lines = [
        *_entry("Phase", [f"{ledger.stance}, since {iso(ledger.since)}", meaning(ledger.stance)]),
        *_entry("Signs", certificates([ledger.posture.signer.identity])),
        *_entry("Trusts", certificates(ledger.posture.trust)),
        *_entry("Chain", certificates(ledger.posture.chain)),
    ]
    if ledger.mixed:
        what = f"`{ledger.mixed}` was written in part: run `pulumi up` without --target"
        lines += _entry("Mixed", [what])
    ends = ((entry, entry.leaves_trust_window()) for entry in ledger.window)
    alive = [entry for entry, end in ends if end is None or end > now]
    if alive:
        lines += _entry("Lingers", [_lingering(entry, ledger) for entry in alive])
        lines += _entry("Proof", [EVIDENCE[ledger.propagation]])
    if ledger.restarts:
        lines += _entry("Restarts", _restarted(ledger.restarts))
    if ledger.override:
        lines += _entry("Override", [f"{ledger.override['move']}: {ledger.override['reason']}"])
    move = ledger.next_move()
    coming = f"{move.stance}, {when(move.not_before, now)}" if move else "nothing is under way"
    return [*lines, *_entry("Next", [coming]), *_entry("Ends", [_first_end(ledger, now)])]


def meaning(stance: str) -> str:
    """What a stance such as `switch a1 b1` means for the mesh."""
    phase, active, *following = stance.split()
    return PHASES[Phase(phase)].format(active=active, following=" ".join(following))


def when(not_before: datetime, now: datetime) -> str:
    """Since when, or from when on, something is legal."""
    if not_before <= now:
        return f"legal since {iso(not_before)}"
    return f"not before {iso(not_before)} (in {span(not_before - now)})"


def span(duration: timedelta) -> str:
    """A duration as people say it: days from two days on, minutes from one on, else seconds."""
    if duration >= timedelta(days=2):
        return f"{duration.days} days"
    unit = timedelta(minutes=1) if duration >= timedelta(minutes=1) else timedelta(seconds=1)
    return durations.spell(duration // unit * unit)


def first_to_end(ledger: Ledger) -> CertificateRef | None:
    """The certificate in use that ends first; None while nothing is known of any end."""
    used = (ledger.describe(identity) for identity in sorted(ledger.posture.members()))
    known = [certificate for certificate in used if certificate.not_after is not None]
    return min(known, key=lambda one: (one.not_after, one.name), default=None)


def _first_end(ledger: Ledger, now: datetime) -> str:
    first = first_to_end(ledger)
    if first is None or first.not_after is None:
        return "nothing is known of it"
    if first.not_after <= now:
        return f"{first.name} ended at {iso(first.not_after)}: ROTATE NOW"
    return f"{first.name} first, at {iso(first.not_after)} (in {span(first.not_after - now)})"


def _lingering(entry: Held, ledger: Ledger) -> str:
    signer = ledger.describe(entry.posture.signer.identity).name
    roots = " and ".join(ledger.describe(root).name for root in entry.posture.trust)
    only = " only" if len(entry.posture.trust) < len(ledger.posture.trust) else ""
    end = entry.leaves_trust_window()
    until = f"until {iso(end)}" if end else "until it is known that the new signer has its key"
    return f"leaves of {signer}, and proxies that trust {roots}{only}, {until}"


def _restarted(restarts: Restarts) -> list[str]:
    """What was restarted as evidence, and every pod that escaped it."""
    count = len(restarts.workloads)
    what = f"{count} workload{'' if count == 1 else 's'}, when every istiod showed the change"
    return [f"{what}, at {iso(restarts.shown)}", *(f"older: {pod}" for pod in restarts.laggards)]


def _entry(label: str, said: Sequence[str]) -> list[str]:
    """One or more lines under one label."""
    return [f"{'' if number else label:<9}{line}" for number, line in enumerate(said)]


def changes(plan: Plan, ledger: Ledger | None) -> list[str]:
    """What this `up` changes, as lines for the console and the pull request."""
    if not plan.moves:
        return [f"CA: `{plan.stance}` stays in force."]
    before = ledger.posture if ledger else None
    lines = [f"CA: {f'`{ledger.stance}`' if ledger else 'nothing'} -> `{plan.stance}`"]
    lines += [f"  {line}" for line in _differences(before, plan.posture, plan, ledger)]
    if plan.override:
        lines.append(
            f"  OVERRIDE admits this move although it is refused: {plan.override['reason']}"
        )
        lines += [f"    {refusal}" for refusal in plan.admitted]
    return lines


def ahead(plan: Plan, ledger: Ledger | None, *, restarts: bool) -> str | None:
    """What comes next and when, as a line for the console; None in a steady phase.

    `restarts` tells whether this `up` may shorten the wait by restarting workloads.
    """
    if ledger is not None and not plan.moves and ledger.stance == plan.stance:
        move = ledger.next_move()
        return f"Next: `{move.stance}`, {when(move.not_before, plan.made_at)}." if move else None
    after = advance(
        ledger,
        now=plan.made_at,
        stance=plan.stance,
        posture=plan.posture,
        pace=plan.pace,
        records={
            identity: Record(member.reference, member.root)
            for identity, member in plan.members.items()
        },
        access=None,
        mesh=False,
        uncertain=plan.uncertain,
        external=plan.external,
        key_written=plan.key_written,
    )
    move = after.next_move()
    if move is None:
        return None
    if move.not_before <= plan.made_at:
        return f"Next: `{move.stance}`, at any time after this `pulumi up`."
    sooner = "or sooner if its restarts are evidence enough" if restarts else "at the earliest"
    wait = span(move.not_before - plan.made_at)
    return f"Next: `{move.stance}`, {wait} after this `pulumi up`, {sooner}."


def _differences(
    before: Posture | None, after: Posture, plan: Plan, ledger: Ledger | None
) -> Sequence[str]:
    def name(identity: Identity) -> CertificateRef:
        if ledger is not None and identity in ledger.records:
            return ledger.describe(identity)
        return plan.members[identity].reference

    lines = []
    old_trust = before.trust if before else ()
    lines += [f"trusts {name(root)} from now on" for root in after.trust if root not in old_trust]
    lines += [f"no longer trusts {name(root)}" for root in old_trust if root not in after.trust]
    if before is None or before.signer != after.signer:
        lines.append(f"signs with {name(after.signer.identity)} from now on")
        if plan.external and before is not None:
            lines.append(external_keys.acknowledge(plan.named(after.signer.identity)))
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
