"""Restarts as evidence: when they are worth making, of which workloads, and what came of them.

A proxy takes leaf and trust from istiod when it starts. So once every istiod has shown a posture,
a proxy that starts afterwards holds nothing older, and when no older one is left, nothing of what
was in force before can be in use. The article's own words for it: wait 24 hours, or restart.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.x509.oid import NameOID

from meshca.ledger import Attempt, Ledger, Restarts, pending_attempt
from meshca.plan import Plan
from meshca.refusals import iso
from meshca.rotation import Identity, Posture
from meshca.settings import Settings, WorkloadKind

ANNOTATION = "aks-istio-ca/restarted-for"
"""On the pod template of a restarted workload: the digest of the trust and signer that it was
restarted for. Kept forever: taking it away would restart the workload once more."""

FIELD_MANAGER = "aks-istio-ca"
"""Who owns that annotation while a restart is under way."""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One workload to restart."""

    namespace: str
    name: str
    kind: WorkloadKind

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def digest(posture: Posture) -> str:
    """What proxies hold of a posture, trust and signer, as 16 hex digits."""
    held = json.dumps([posture.trust, posture.signer.identity])
    return hashlib.sha256(held.encode()).hexdigest()[:16]


def outstanding(
    plan: Plan, ledger: Ledger | None, *, now: datetime, recorded: Attempt | None = None
) -> bool:
    """Whether proxies may hold another trust or a leaf of another signer than the plan's.

    `recorded` is the attempt on record, where it is known already: an interrupted `up` may have
    brought something else to proxies.
    """
    if ledger is None or not ledger.mesh:
        return False
    others = [
        entry.posture
        for entry in ledger.held()
        if (end := entry.leaves_trust_window()) is None or end > now
    ]
    if (pending := pending_attempt(ledger, recorded)) is not None:
        others.append(pending.posture)
    return any(digest(other) != digest(plan.posture) for other in others)


def told_apart(settings: Settings, plan: Plan) -> bool:
    """Whether istiod's log can show that the plan's signer signs.

    The log names signers by subject only, so no other issuer in the chain may have the signer's.
    """
    signer = plan.posture.signer.identity
    others = [identity for identity in plan.posture.chain if identity != signer]
    return all(
        _subject(settings, plan, other) != _subject(settings, plan, signer) for other in others
    )


def _subject(settings: Settings, plan: Plan, identity: Identity) -> frozenset[tuple[str, str]]:
    member = plan.members[identity]
    if member.certificate is not None:
        subject = member.certificate.subject
        return frozenset((part.oid.dotted_string, str(part.value)) for part in subject)
    issuer = settings.issuers[member.name]
    common_name = issuer.common_name_of(member.name)
    return frozenset(
        {
            (NameOID.COMMON_NAME.dotted_string, common_name),
            (NameOID.ORGANIZATION_NAME.dotted_string, issuer.organization),
        }
    )


def made_for(plan: Plan, ledger: Ledger | None) -> Restarts | None:
    """The restarts on record, if they were made for what the plan wants."""
    if ledger is None or ledger.restarts is None:
        return None
    return ledger.restarts if ledger.restarts.digest == digest(plan.posture) else None


def known_targets(settings: Settings, before: Restarts | None) -> list[Target]:
    """The configured workloads as far as they are known without asking the cluster.

    Those with a name, and those that a selector found in an earlier `up` as long as a selector
    could still mean them.
    """
    named = [
        Target(each.namespace, each.name, each.kind)
        for each in settings.workloads
        if each.name is not None and each.kind is not None
    ]
    selecting = [each for each in settings.workloads if each.name is None]
    found = [
        target
        for target in map(parse_target, before.workloads if before else ())
        if any(
            each.namespace == target.namespace and each.kind in (None, target.kind)
            for each in selecting
        )
    ]
    return sorted({*named, *found})


def still_made(settings: Settings, before: Restarts) -> list[Target]:
    """The workloads that were restarted and are still configured."""
    made = set(before.workloads)
    return [target for target in known_targets(settings, before) if str(target) in made]


def parse_target(text: str) -> Target:
    """The target that `str` made this text of; ValueError for any other text."""
    kind, _, path = text.partition(" ")
    namespace, _, name = path.partition("/")
    return Target(namespace, name, WorkloadKind(kind))


def overtaken(restarts: Restarts, written: Iterable[str]) -> bool:
    """Whether a secret was written after istiod was seen to show what the restarts are for.

    They then prove nothing of it (see `ledger.advance`): an `up` that failed had restarted, and
    the one that finishes it wrote the secrets anew. `written` is when each was written last.
    """
    return any(datetime.fromisoformat(moment) > restarts.shown for moment in written)


def outcome(restarts: Restarts, written: Iterable[str] = ()) -> str:
    """What came of the restarts, in a line for the console."""
    count = len(restarts.workloads)
    restarted = f"{count} workload{'' if count == 1 else 's'} restarted"
    if overtaken(restarts, written):
        return (
            f"CA: {restarted} at {iso(restarts.shown)} by a `pulumi up` that was interrupted, and "
            "the secrets were written once more since. So the restarts prove nothing of them, and "
            "the next move waits until the leaves have ended, as without `workloads`."
        )
    if not restarts.laggards:
        return f"CA: {restarted}; no meshed pod is older than {iso(restarts.shown)}."
    return (
        f"CA: {restarted}, but {len(restarts.laggards)} meshed pods are older than "
        f"{iso(restarts.shown)}: {_some(restarts.laggards)}. Until they are gone, or their leaves "
        "have ended, the next move waits. Restart them and run `pulumi up` again, or add their "
        "workloads to `workloads`."
    )


def _some(names: Sequence[str], longest: int = 5) -> str:
    more = len(names) - longest
    return ", ".join(names[:longest]) + (f" and {more} more" if more > 0 else "")


def texts(targets: Iterable[Target]) -> tuple[str, ...]:
    """The targets as the ledger keeps them, in order."""
    return tuple(str(target) for target in sorted(set(targets)))
