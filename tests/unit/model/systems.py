"""What is searched: one mesh, or a fleet of two that trust each other."""

from collections.abc import Hashable, Iterator, Sequence

from tests.unit.model.cast import Stance
from tests.unit.model.guard import Guard
from tests.unit.model.mesh import Failure, Mesh, failures, handshakes
from tests.unit.model.moves import Step, steps
from tests.unit.model.reduction import key, reduce


class OneMesh:
    """A mesh by itself."""

    def __init__(self, guard: Guard, wanted: Sequence[Stance], *, restarts: bool = True) -> None:
        self._guard = guard
        self._wanted = wanted
        self._restarts = restarts

    def start(self) -> Mesh:
        """`steady a1`, as its first completed `up` leaves it."""
        return Mesh("steady a1")

    def steps(self, state: Mesh) -> Iterator[tuple[Step, Mesh]]:
        """Every step of the mesh."""
        return steps(state, self._guard, self._wanted, restarts=self._restarts)

    def same(self, state: Mesh) -> tuple[Mesh, Hashable]:
        """The reduced mesh, and its key."""
        reduced = reduce(state)
        return reduced.mesh, key(reduced)

    def failures(self, state: Mesh) -> Iterator[Failure]:
        """What is wrong with the mesh."""
        return failures(state)


Fleet = tuple[Mesh, Mesh]


class TwoMeshes:
    """Two meshes of one trust domain; every proxy of one talks to every proxy of the other.

    Each has a stack of its own, and the stacks are peers. One `up` runs at a time, and one that was
    interrupted is finished or taken back before another stack moves, unless `at_once`.
    """

    NAMES = ("east", "west")

    def __init__(
        self,
        guard: Guard,
        wanted: Sequence[Stance],
        *,
        restarts: bool = True,
        at_once: bool = False,
    ) -> None:
        self._guard = guard
        self._wanted = wanted
        self._restarts = restarts
        self._at_once = at_once

    def start(self) -> Fleet:
        """Both in `steady a1`. Who the issuers are does not matter between meshes, roots do."""
        return Mesh("steady a1"), Mesh("steady a1")

    def steps(self, state: Fleet) -> Iterator[tuple[Step, Fleet]]:
        """Every step of either mesh."""
        for at, name in enumerate(self.NAMES):
            mesh, other = state[at], state[1 - at]
            wanted = self._wanted if self._at_once or other.attempt is None else ()
            for step, after in steps(mesh, self._guard, wanted, [other], restarts=self._restarts):
                fleet = (after, other) if at == 0 else (other, after)
                yield step._replace(stack=name), fleet

    def same(self, state: Fleet) -> tuple[Fleet, Hashable]:
        """The reduced meshes, and their key."""
        one, other = map(reduce, state)
        return (one.mesh, other.mesh), frozenset((key(one, other), key(other, one)))

    def failures(self, state: Fleet) -> Iterator[Failure]:
        """What is wrong with either mesh, or between them."""
        one, other = state
        yield from failures(one)
        yield from failures(other)
        yield from handshakes(one, other)
        yield from handshakes(other, one)
