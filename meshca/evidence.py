"""Has every istiod taken what the program wrote? What is expected, what is seen, what is missing.

Trust shows in ConfigMap istio-ca-root-cert, which istiod writes into every namespace that it
serves (pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go). Signer and chain show in
each replica's own log. Nothing here asks a cluster: `meshca.cluster_view` does.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509

from meshca import durations, istiod_log
from meshca.istiod_log import Served
from meshca.refusals import Refusal, Refused
from meshca.x509_facts import serial_number


@dataclass(frozen=True, slots=True)
class Named:
    """A certificate under the name that the configuration gives it.

    `mark` is what it is recognised by: the SHA-256 of a root, the serial number of an issuer.
    """

    name: str
    mark: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What every istiod shows once it has taken a posture."""

    trust: tuple[Named, ...]
    signer: Named
    chain: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Replica:
    """One istiod pod. `trouble` says why it shows nothing: it does not run, or has no log."""

    name: str
    chain: tuple[Served, ...] = ()
    refusal: str | None = None
    self_signed: bool | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What is there at one moment."""

    replicas: tuple[Replica, ...]
    trust: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Namespace -> the SHA-256 of each certificate in its bundle; () for an unreadable one."""


def serial(certificate: x509.Certificate) -> str:
    """The serial number as istiod prints it: lower-case hex without leading zeros."""
    return f"{serial_number(certificate):x}"


def stale_namespaces(expected: Expected, seen: Seen) -> list[str]:
    """The namespaces whose bundle is not the expected one; the order of its roots is no matter."""
    wanted = sorted(root.mark for root in expected.trust)
    return sorted(name for name, marks in seen.trust.items() if sorted(marks) != wanted)


def shows(expected: Expected, replica: Replica) -> bool:
    """Whether a replica serves the expected chain under the expected signer."""
    return (
        replica.trouble is None
        and [served.serial for served in replica.chain[1:]]
        == [issuer.mark for issuer in expected.chain]
        and istiod_log.signer(replica.chain) == expected.signer.mark
    )


def missing(expected: Expected, seen: Seen) -> list[str]:
    """What is not there yet, a line each; nothing when all of it is."""
    lines = [
        describe(expected, replica) for replica in seen.replicas if not shows(expected, replica)
    ]
    if not seen.replicas:
        lines.append("no istiod runs")
    if not seen.trust:
        lines.append("no namespace has a ConfigMap istio-ca-root-cert")
    names = {root.mark: root.name for root in expected.trust}
    for namespace in stale_namespaces(expected, seen):
        shown = [names.get(mark, f"sha256 {mark[:16]}") for mark in seen.trust[namespace]]
        lines.append(f"namespace {namespace} trusts {_list(shown)}")
    return lines


def wanted(expected: Expected) -> str:
    """What is waited for, in words."""
    trust = _list([f"{root.name} (sha256 {root.mark[:16]})" for root in expected.trust])
    chain = _list([f"{issuer.name} (serial {issuer.mark})" for issuer in expected.chain])
    return f"trust in {trust}, leaves signed by {expected.signer.name}, chain {chain}"


def describe(expected: Expected, replica: Replica) -> str:
    """What a replica shows, in the names of what is expected."""
    if replica.trouble is not None:
        return f"{replica.name}: {replica.trouble}"
    if not replica.chain:
        return f"{replica.name} has not said yet what it serves"
    names = {issuer.mark: issuer.name for issuer in (*expected.chain, expected.signer)}
    leaf, *above = replica.chain
    chain = _list([names.get(served.serial, f"serial {served.serial}") for served in above])
    signer = istiod_log.signer(replica.chain)
    signs = names.get(signer or "", leaf.issuer)
    kept = f", and refused what it read: {replica.refusal}" if replica.refusal else ""
    return f"{replica.name} signs with {signs} and serves the chain {chain}{kept}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"


def told_apart(signer: x509.Certificate, chain: Sequence[x509.Certificate]) -> bool:
    """Whether istiod's log, which names signers by subject only, can show that `signer` signs."""
    return not any(other != signer and other.subject == signer.subject for other in chain)


Look = Callable[[], Seen]
"""Asks the cluster. Raises ConnectionError while it does not answer; anything else is final."""

MAY_BE_MIXED = "all show it; one poll more, as a replica may have read old and new files together"

LONGEST_LINES = 12
"""How many missing things a message names before it only counts them."""


def wait(
    look: Look,
    expected: Expected,
    *,
    timeout: timedelta,
    reload: timedelta,
    tell: Callable[[str], None],
    now: Callable[[], datetime],
    every: timedelta = timedelta(seconds=2),
) -> None:
    """Returns once everything expected is seen. Blocks; run it off the event loop.

    Call it when the last secret is written. It does not return before `reload` (poll and slack)
    has passed: the ConfigMap is one replica's work, so another that read root-cert before the
    write and cert-chain after it looks done, and goes on handing out the old roots until its next
    poll.

    `tell` gets a line whenever what is missing has changed, and each minute. Raises Refused
    (`not-shown`) after `timeout`, with what was expected and what was seen.
    """
    began = now()
    told: tuple[str, ...] = ()
    told_at = began
    while True:
        try:
            lines = missing(expected, look())
        except ConnectionError as error:
            lines = [f"the cluster does not answer ({error})"]
        waited = now() - began
        if not lines:
            if waited >= reload:
                return
            lines = [MAY_BE_MIXED]
        elif waited >= timeout:
            raise Refused([_not_shown(expected, lines, timeout)])
        if tuple(lines) != told or now() - told_at >= timedelta(minutes=1):
            told, told_at = tuple(lines), now()
            tell(
                f"CA: waiting for istiod ({durations.spell(waited)} of "
                f"{durations.spell(timeout)}): {shortened(lines)}"
            )
        time.sleep(every.total_seconds())


def shortened(lines: Sequence[str], longest: int = 3) -> str:
    """The first lines, and how many more there are."""
    more = len(lines) - longest
    return "; ".join(lines[:longest]) + (f"; and {more} more" if more > 0 else "")


def _not_shown(expected: Expected, lines: Sequence[str], timeout: timedelta) -> Refusal:
    return Refusal(
        "not-shown",
        f"the secrets are written, but {durations.spell(timeout)} later istiod does not show them. "
        f"Expected: {wanted(expected)}. Seen: {shortened(lines, LONGEST_LINES)}",
        "No workload was restarted. Find out why with `python -m meshca verify`, then run "
        "`pulumi up` again; or set `workloads: []` to wait for the window to pass instead.",
    )
