"""One mesh: what its vault offers, what its istiods can work with, what its proxies can hold.

Sources of the rules: an istiod that runs takes a change only when key and certificate match, the
certificate chains to root-cert, and one of old and new roots stands inside the other; one that
starts does without the last (istio pilot/pkg/bootstrap/istio_ca.go, handleEvent and createIstioCA;
security/pkg/pki/util/keycertbundle.go, Verify). Neither looks at cert-chain. A leaf, its chain and
the trusted roots come to a proxy in one response (security/pkg/server/ca/server.go).
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from meshca.bundle import CA_CERT, CA_KEY, CERT_CHAIN, ROOT_CERT
from meshca.rotation import trust_moves_one_way
from tests.unit.model.cast import CONTENTS, POSTURES, Content, Loaded, Stance, root_of

LEAF = "leaf"
"""Stands in a `Mark` beside file names: proxies still hold leaves under that root."""


class Mark(NamedTuple):
    """Something ended: a posture for the ledger, versions of files for the mesh."""

    fresh: bool
    """The chain window (P) that began then is open. Otherwise only the trust window (W) is."""
    believed: frozenset[Stance]
    """The postures that the ledger says ended then."""
    real: frozenset[Content]
    """Fresh: versions of files that can still be read or mounted. Else: roots that proxies still
    trust, and roots (LEAF) under which they still hold leaves."""
    why: str
    """What ended, in words."""


class Mesh(NamedTuple):
    """The ledger of a stack, its vault, and what of the past is still about."""

    force: Stance
    """The posture of the ledger."""
    attempt: Stance | None = None
    """The move that an `up` has recorded and no completed `up` has settled."""
    written: int = 0
    """How many files of the attempt are written."""
    loose: frozenset[Content] = frozenset()
    """Versions that unfinished `up`s have written, beside those of the posture in force."""
    marks: tuple[Mark, ...] = ()
    """Oldest first: those with W open only, then those with P open too."""
    behind: frozenset[Loaded] = frozenset()
    """What an istiod can still work with although it can read it no more: it has refused all that
    came since."""


class Readable(NamedTuple):
    """The versions of each file that a mount can hold, in any combination."""

    trusts: set[tuple[str, ...]]
    keys: set[str]
    chains: set[tuple[str, ...]]
    certs: set[str]


def readable(mesh: Mesh) -> Readable:
    """What an istiod can find in its mount now."""
    found = Readable(set(), set(), set(), set())
    fresh = (mark.real for mark in mesh.marks if mark.fresh)
    for versions in (CONTENTS[mesh.force], mesh.loose, *fresh):
        for file, value in versions:
            if file == ROOT_CERT:
                found.trusts.add(value)
            elif file == CERT_CHAIN:
                found.chains.add(value)
            elif file == CA_KEY:
                found.keys.add(value[0])
            elif file == CA_CERT:
                found.certs.add(value[0])
    return found


def loadable(found: Readable) -> set[Loaded]:
    """What an istiod can start with: key and certificate match, and the root is there."""
    return {
        (trust, signer)
        for signer in found.keys & found.certs
        for trust in found.trusts
        if root_of(signer) in trust
    }


def working(mesh: Mesh) -> set[Loaded]:
    """What an istiod can work with now. Any may restart, or lag as far as its window allows."""
    return loadable(readable(mesh)) | mesh.behind


def can_refuse(holding: Loaded, found: Readable) -> bool:
    """Whether a mount can hold something that an istiod which works with `holding` refuses."""
    trust, _ = holding
    return (
        any(key != cert for key in found.keys for cert in found.certs)
        or any(root_of(cert) not in other for cert in found.certs for other in found.trusts)
        or not all(trust_moves_one_way(trust, other) for other in found.trusts)
    )


def left_behind(before: set[Loaded], found: Readable) -> frozenset[Loaded]:
    """Of what istiods worked with before, that which they may keep though it can be read no more.

    An istiod whose window has passed has read its mount anew, so it keeps what it had only if
    there is something to read that it refuses.
    """
    now = loadable(found)
    return frozenset(held for held in before - now if can_refuse(held, found))


def proxies(mesh: Mesh) -> tuple[set[tuple[str, ...]], set[str]]:
    """What proxies can hold: lists of trusted roots, and roots under which they have leaves."""
    held = working(mesh)
    trusts = {trust for trust, _ in held}
    leaves = {root_of(signer) for _, signer in held}
    for mark in mesh.marks:
        if not mark.fresh:
            trusts.update(value for kind, value in mark.real if kind == ROOT_CERT)
            leaves.update(value[0] for kind, value in mark.real if kind == LEAF)
    return trusts, leaves


class Kind(StrEnum):
    """How a mesh can fail."""

    HANDSHAKE = "a proxy gets a leaf under a root that it does not trust"
    CHAIN = "an istiod hands out leaves without their issuer"
    START = "an istiod that starts does not come up with the plugged-in CA"
    BEHIND = "an istiod works with what the ledger does not count"


class Failure(NamedTuple):
    """A failure, and what shows it: the trust of one proxy and the root of another's leaf, or the
    signer of a leaf and the chain that comes with it."""

    kind: Kind
    held: tuple[str, ...] = ()
    other: str = ""


def failures(mesh: Mesh) -> Iterator[Failure]:
    """Everything that can go wrong with this mesh alone in this state."""
    yield from handshakes(mesh, mesh)
    found = readable(mesh)
    for signer in found.keys & found.certs:
        for chain in found.chains:
            if signer not in chain:
                yield Failure(Kind.CHAIN, chain, signer)
    yield from _starts(mesh, found)
    counted = [POSTURES[name] for name in _counted(mesh)]
    for trust, signer in mesh.behind:
        if not any(posture.trust == trust for posture in counted) or not any(
            posture.signer.identity == signer for posture in counted
        ):
            yield Failure(Kind.BEHIND, trust, signer)


def handshakes(one: Mesh, other: Mesh) -> Iterator[Failure]:
    """The proxies of `one` that refuse leaves of `other`."""
    trusts, _ = proxies(one)
    _, leaves = proxies(other)
    for trust in trusts:
        for root in leaves:
            if root not in trust:
                yield Failure(Kind.HANDSHAKE, trust, root)


def _starts(mesh: Mesh, found: Readable) -> Iterator[Failure]:
    """An istiod that starts finds all four files, and a signer under a root that is there.

    It may have to wait for the next poll when it finds key and certificate of two issuers; the
    ledger must then know of a change of issuer that is under way or less than P ago.
    """
    if not all(found):
        yield Failure(Kind.START)
    for cert in found.certs:
        for trust in found.trusts:
            if root_of(cert) not in trust:
                yield Failure(Kind.START, trust, cert)
    signers = {POSTURES[name].signer.identity for name in _counted(mesh)}
    if len(found.keys | found.certs) > 1 and len(signers) == 1:
        yield Failure(Kind.START, (), next(iter(signers)))


def _counted(mesh: Mesh) -> set[Stance]:
    """What the stack knows to be in use by istiods."""
    fresh = (mark.believed for mark in mesh.marks if mark.fresh)
    attempt = {mesh.attempt} if mesh.attempt else set()
    return {mesh.force}.union(attempt, *fresh)
