"""Breadth-first search over every step, until there is nothing new or something fails."""

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from tests.unit.model.mesh import Failure, Kind
from tests.unit.model.moves import Step

S = TypeVar("S")


class System(Protocol[S]):
    """What can be searched."""

    def start(self) -> S:
        """The first state."""

    def steps(self, state: S) -> Iterator[tuple[Step, S]]:
        """Every step from a state, and where it leads."""

    def same(self, state: S) -> tuple[S, Hashable]:
        """The state without what does not matter, and what all states like it have in common."""

    def failures(self, state: S) -> Iterator[Failure]:
        """What is wrong with a state."""


@dataclass(frozen=True)
class Outcome(Generic[S]):
    """What a search found."""

    states: int
    transitions: int
    depth: int
    """Steps to the state that is farthest from the start."""
    made: Collection[tuple[str, ...]]
    """What `note` made of the steps."""
    failure: Failure | None = None
    story: list[tuple[Step | None, S]] = field(default_factory=list)
    """How the failure comes about: steps and where they lead, from the start on."""

    def __str__(self) -> str:
        return f"{self.states} states, {self.transitions} transitions, {self.depth} steps deep"


def search(
    system: System[S],
    *,
    kinds: Collection[Kind] = tuple(Kind),
    note: Callable[[Step, S], tuple[str, ...] | None] = lambda step, state: None,
    limit: int = 200_000,
) -> Outcome[S]:
    """Follows every step from every state; stops at the first failure of one of `kinds`.

    `note` says what to keep of a step, and of the state it leads from. Raises RuntimeError when
    there are more than `limit` states: then the model is not what it was thought to be.
    """
    first, name = system.same(system.start())
    came: dict[Hashable, tuple[Hashable | None, Step | None, S, int]] = {
        name: (None, None, first, 0)
    }
    made: set[tuple[str, ...]] = set()
    waiting = deque([name])
    transitions = 0
    depth = 0

    def story(at: Hashable | None) -> list[tuple[Step | None, S]]:
        told = []
        while at is not None:
            before, step, state, _ = came[at]
            told.append((step, state))
            at = before
        return told[::-1]

    while waiting:
        name = waiting.popleft()
        _, _, state, depth = came[name]
        for step, following in system.steps(state):
            transitions += 1
            if (noted := note(step, state)) is not None:
                made.add(noted)
            reduced, new = system.same(following)
            if new in came:
                continue
            came[new] = (name, step, reduced, depth + 1)
            found = next((one for one in system.failures(reduced) if one.kind in kinds), None)
            if found is not None:
                return Outcome(len(came), transitions, depth + 1, made, found, story(new))
            if len(came) > limit:
                raise RuntimeError(f"more than {limit} states")
            waiting.append(new)
    return Outcome(len(came), transitions, depth, made)
