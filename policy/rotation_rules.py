"""Whether the four secrets of a stack are those of the phase that the stack says it is in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from policy.secret_rules import SECRET
from policy.seen import UNKNOWN, Resource

STACK = "pulumi:pulumi:Stack"
OUTPUT = "rotation"
"""The stack's output that tells phase, issuers and their roots."""

ROOT_CERT, CA_CERT, CA_KEY, CERT_CHAIN = "root-cert", "ca-cert", "ca-key", "cert-chain"
AUTHORITY = "authority"
"""The tag that names what is in a secret, in order."""


@dataclass(frozen=True)
class Stated:
    """A phase of a rotation, and the root above each issuer, by name."""

    phase: str
    active: str
    following: str | None
    roots: Mapping[str, str]

    def holds(self) -> dict[str, list[str]]:
        """What each secret holds in this phase, by name."""
        one, other = self.active, self.following
        if self.phase == "steady" or other is None:
            return self._files([self.roots[one]], one, [one])
        both_roots = list(dict.fromkeys([self.roots[one], self.roots[other]]))
        if self.phase == "distribute":
            return self._files(both_roots, one, [other, one])
        if self.phase == "switch":
            return self._files(both_roots, other, [other, one])
        return self._files([self.roots[other]], other, [other])

    def _files(self, trust: list[str], signer: str, chain: list[str]) -> dict[str, list[str]]:
        return {ROOT_CERT: trust, CA_CERT: [signer], CA_KEY: [signer], CERT_CHAIN: chain}


def stated(resources: Sequence[Resource]) -> Stated | None:
    """The phase in the stack's output; None when there is none, or only an `up` will know it."""
    for stack in resources:
        if stack.type != STACK:
            continue
        phase, active, following = (
            stack.at(OUTPUT, key) for key in ("phase", "activeIssuer", "nextIssuer")
        )
        records = stack.at(OUTPUT, "records")
        if isinstance(phase, str) and isinstance(active, str) and isinstance(records, Mapping):
            return Stated(
                phase,
                active,
                following if isinstance(following, str) else None,
                {
                    record["name"]: records[record["root"]]["name"]
                    for record in records.values()
                    if record.get("root") in records
                },
            )
    return None


def phase_matches_secrets(resources: Sequence[Resource]) -> Iterator[tuple[str, str]]:
    """Each of the four secrets holds what the phase says; pairs of URN and message.

    Says nothing of a stack that states no phase. A secret without the tag could hold anything. The
    name of a secret that does not exist yet is known only when it does.
    """
    told = stated(resources)
    if told is None:
        return
    for resource in resources:
        name, tagged = resource.at("name"), resource.at("tags", AUTHORITY)
        expected = told.holds().get(name) if isinstance(name, str) else None
        if resource.type != SECRET or expected is None or tagged is UNKNOWN:
            continue
        if tagged is None:
            yield resource.urn, f"{name} does not say what it holds: set the tag {AUTHORITY}"
        elif str(tagged).split() != expected:
            yield (
                resource.urn,
                f"{name} holds {tagged}, but `{told.phase}` from {told.active}"
                f"{f' to {told.following}' if told.following else ''} wants {' '.join(expected)}",
            )
