"""States that have the same future are one: what newer entries imply goes, and names are renamed.

Everything that ends the way it began: an older entry's windows end before a newer one's. So what a
newer entry (or the posture in force, which does not end at all) already forbids or already makes
possible, an older one need not repeat.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from meshca.bundle import CA_CERT, CA_KEY, CERT_CHAIN, ROOT_CERT
from tests.unit.model.cast import CONTENTS, LARGEST, POSTURES, Content, Stance, root_of
from tests.unit.model.mesh import LEAF, Mark, Mesh

TRUSTS, UNDER, ORDERED, CHAIN, SIGNS = "trusts", "under", "ordered", "chain", "signs"
"""What an entry of a window forbids: a signer under a root that it does not trust; trust without
the root of its signer; and while P is open, trust that jumps from its own, a signer that is not in
its chain, and a chain without its signer."""


@dataclass
class _Ledger:
    """What the entries of a window, read from the newest on, forbid together."""

    trusts: list[frozenset[str]] = field(default_factory=list)
    chains: list[frozenset[str]] = field(default_factory=list)
    plain: set[Content] = field(default_factory=set)

    def adds(self, stance: Stance, *, fresh: bool) -> frozenset[Content]:
        """What this entry forbids beyond those before it; remembers it."""
        posture = POSTURES[stance]
        news = {
            *_least(TRUSTS, posture.trust, self.trusts),
            *self._new((UNDER, (posture.signer.root,))),
        }
        if fresh:
            news |= {
                *self._new((ORDERED, posture.trust)),
                *_least(CHAIN, posture.chain, self.chains),
                *self._new((SIGNS, (posture.signer.identity,))),
            }
        return frozenset(news)

    def _new(self, content: Content) -> Iterator[Content]:
        if content not in self.plain:
            self.plain.add(content)
            yield content


def _least(kind: str, value: Iterable[str], known: list[frozenset[str]]) -> Iterator[Content]:
    """The set, unless a smaller one is known: who is in the smaller is in both."""
    members = frozenset(value)
    if not any(smaller <= members for smaller in known):
        known.append(members)
        yield kind, tuple(sorted(members))


def forbids(force: Stance, window: Sequence[tuple[Stance, bool]]) -> list[frozenset[Content]]:
    """For each entry of a window, oldest first: what nothing newer forbids already."""
    ledger = _Ledger()
    ledger.adds(force, fresh=True)
    return [ledger.adds(stance, fresh=fresh) for stance, fresh in reversed(window)][::-1]


Believed = tuple[bool, frozenset[Stance]]


@cache
def _believed(
    force: Stance, marks: tuple[Believed, ...]
) -> Sequence[tuple[frozenset[Stance], frozenset[Content]]]:
    """For each mark: the entries that forbid something of their own, and what they forbid."""
    window = [(name, fresh) for fresh, believed in marks for name in sorted(believed)]
    news = iter(zip(window, forbids(force, window), strict=True))
    found = []
    for _, believed in marks:
        own = [next(news) for _ in believed]
        telling = frozenset(name for (name, _), forbidden in own if forbidden)
        found.append((telling, frozenset().union(*(forbidden for _, forbidden in own))))
    return found


def _real(mesh: Mesh) -> list[frozenset[Content]]:
    """For each mark: what nothing newer makes possible already."""
    versions = set(CONTENTS[mesh.force]) | mesh.loose
    chains = [frozenset(value) for file, value in versions if file == CERT_CHAIN]
    trusts = [frozenset(value) for file, value in versions if file == ROOT_CERT]
    trusts += [frozenset(trust) for trust, _ in mesh.behind]
    leaves = _leaves(versions) | {root_of(signer) for _, signer in mesh.behind}
    found = []
    for mark in reversed(mesh.marks):
        news: set[Content] = set()
        for kind, value in sorted(mark.real - versions, key=lambda item: (len(item[1]), item)):
            if mark.fresh and kind == CERT_CHAIN:
                if any(smaller <= set(value) for smaller in chains):
                    continue
                chains.append(frozenset(value))
            elif mark.fresh:
                trusts += [frozenset(value)] if kind == ROOT_CERT else []
            elif kind == ROOT_CERT:
                if any(smaller <= set(value) for smaller in trusts):
                    continue
                trusts.append(frozenset(value))
            elif value[0] in leaves:
                continue
            news.add((kind, value))
        versions |= {item for item in news if item[0] != LEAF}
        leaves |= _leaves(versions) | {value[0] for kind, value in news if kind == LEAF}
        found.append(frozenset(news))
    return found[::-1]


def _leaves(versions: set[Content]) -> set[str]:
    """The roots under which an istiod can sign that finds these versions."""
    return {
        root_of(value[0])
        for file, value in versions
        if file == CA_CERT and (CA_KEY, value) in versions
    }


class Reduced(NamedTuple):
    """A mesh without what is implied, and what tells it from others."""

    mesh: Mesh
    forbidden: tuple[frozenset[Content], ...]
    """What the entries of each mark forbid: all that the guard makes of them."""


def reduce(mesh: Mesh) -> Reduced:
    """The mesh without the marks, entries and versions that newer ones imply."""
    marks: list[Mark] = []
    forbidden: list[frozenset[Content]] = []
    believed = _believed(mesh.force, tuple((mark.fresh, mark.believed) for mark in mesh.marks))
    for mark, (telling, why), real in zip(mesh.marks, believed, _real(mesh), strict=True):
        if telling or real:
            marks.append(Mark(mark.fresh, telling, real, mark.why))
            forbidden.append(why)
    return Reduced(mesh._replace(marks=tuple(marks)), tuple(forbidden))


def key(*reduced: Reduced) -> tuple[object, ...]:
    """What states with the same future have in common, up to names."""
    renamed = _renaming(tuple(_appearance([one.mesh for one in reduced])))
    return tuple(renamed.state(one) for one in reduced)


def _appearance(meshes: Iterable[Mesh]) -> Iterator[str]:
    """The issuers in the order in which the states name them, then the others."""
    for mesh in meshes:
        names = [mesh.force, mesh.attempt or ""]
        names += [name for mark in reversed(mesh.marks) for name in sorted(mark.believed)]
        for name in names:
            yield from name.split()[1:]
    yield from LARGEST


class _Renaming:
    """New names for issuers and roots, and what becomes of everything that names them."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = {**names, **{root_of(old): root_of(new) for old, new in names.items()}}
        self._known: dict[frozenset[Content], frozenset[Content]] = {}
        self._stances: dict[Stance, Stance] = {}

    def state(self, reduced: Reduced) -> tuple[object, ...]:
        mesh = reduced.mesh
        return (
            self.stance(mesh.force),
            mesh.attempt and self.stance(mesh.attempt),
            mesh.written,
            self._contents(mesh.loose),
            tuple(
                (mark.fresh, self._contents(mark.real), self._contents(forbidden))
                for mark, forbidden in zip(mesh.marks, reduced.forbidden, strict=True)
            ),
            frozenset((self._each(trust), self._names[signer]) for trust, signer in mesh.behind),
        )

    def stance(self, stance: Stance) -> Stance:
        if stance not in self._stances:
            phase, *issuers = stance.split()
            self._stances[stance] = " ".join((phase, *self._each(issuers)))
        return self._stances[stance]

    def _contents(self, contents: frozenset[Content]) -> frozenset[Content]:
        if contents not in self._known:
            self._known[contents] = frozenset(map(self._content, contents))
        return self._known[contents]

    def _content(self, content: Content) -> Content:
        kind, value = content
        new = self._each(value)
        return kind, new if kind in (ROOT_CERT, ORDERED) else tuple(sorted(new))

    def _each(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(self._names[name] for name in names)


def _renaming(appearance: tuple[str, ...]) -> _Renaming:
    issuers = tuple(dict.fromkeys(appearance))
    return _renaming_of(issuers)


@cache
def _renaming_of(issuers: tuple[str, ...]) -> _Renaming:
    roots = dict.fromkeys(map(root_of, issuers))
    new_roots = dict(zip(roots, dict.fromkeys(LARGEST.values()), strict=True))
    free = {root: [name for name in LARGEST if root_of(name) == root] for root in roots}
    return _Renaming({name: free[new_roots[root_of(name)]].pop(0) for name in issuers})


def up_to_names(*stances: Stance) -> tuple[Stance, ...]:
    """The stances with the names of the first that fit: `steady b2` is `steady a1`."""
    names = dict.fromkeys(name for stance in stances for name in stance.split()[1:])
    renaming = _renaming((*names, *LARGEST))
    return tuple(renaming.stance(stance) for stance in stances)
