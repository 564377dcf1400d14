"""Who takes part: roots, issuers, every posture of theirs, and what the four files then hold."""

from collections.abc import Mapping, Sequence
from functools import cache

from meshca.bundle import CA_CERT, CA_KEY, CERT_CHAIN, ROOT_CERT
from meshca.rotation import Intermediate, Phase, Posture, posture, stance

Content = tuple[str, tuple[str, ...]]
"""A file and what it holds: roots in their order, one issuer, or the issuers of a chain. A chain
is sorted here: verifiers build a path from any order."""

Stance = str
Loaded = tuple[tuple[str, ...], str]
"""What an istiod works with: the roots that it hands out, the issuer that it signs with."""

LARGEST = {f"{root}{number}": root for root in "abc" for number in (1, 2)}
"""Two issuers under each of three roots."""

ISSUERS: Mapping[str, Intermediate] = {
    name: Intermediate(name, root) for name, root in LARGEST.items()
}


def _postures() -> dict[Stance, Posture]:
    """Every posture once: `retire a1 b1` is `steady b1`."""
    found = {stance(Phase.STEADY, x): posture(Phase.STEADY, ISSUERS[x]) for x in ISSUERS}
    for x in ISSUERS:
        for y in ISSUERS:
            for phase in (Phase.DISTRIBUTE, Phase.SWITCH):
                if x != y:
                    found[stance(phase, x, y)] = posture(phase, ISSUERS[x], ISSUERS[y])
    return found


POSTURES: Mapping[Stance, Posture] = _postures()
STANCES: Mapping[Posture, Stance] = {posture: stance for stance, posture in POSTURES.items()}


def files(of: Posture) -> dict[str, tuple[str, ...]]:
    """What each of the four files holds in a posture."""
    signer = (of.signer.identity,)
    return {
        ROOT_CERT: of.trust,
        CA_KEY: signer,
        CERT_CHAIN: tuple(sorted(of.chain)),
        CA_CERT: signer,
    }


CONTENTS: Mapping[Stance, frozenset[Content]] = {
    name: frozenset(files(of).items()) for name, of in POSTURES.items()
}


@cache
def stances(roots: int, issuers_each: int) -> Sequence[Stance]:
    """The stances of the first so many roots, with so many issuers under each."""
    names = {f"{root}{number + 1}" for root in "abc"[:roots] for number in range(issuers_each)}
    return tuple(name for name in POSTURES if names.issuperset(name.split()[1:]))


def root_of(issuer: str) -> str:
    """The root above an issuer."""
    return LARGEST[issuer]
