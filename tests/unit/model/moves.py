"""What can happen next: an `up` begins, writes, completes or is taken back; a window ends.

An `up` that is killed and never run again is a state in which nothing of the kind happens; so
every state of an unfinished `up` is also one of a killed one. `--target`, which writes some of the
files, reaches no more than an `up` that was killed after writing all of them, because whatever can
be read makes only more possible.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from meshca.bundle import ROOT_CERT
from meshca.secrets import WRITE_ORDER
from tests.unit.model.cast import CONTENTS, POSTURES, Content, Loaded, Stance, files, root_of
from tests.unit.model.guard import Guard
from tests.unit.model.mesh import LEAF, Mark, Mesh, left_behind, loadable, readable, working


class Act(StrEnum):
    """What a step does."""

    BEGIN = "begin"
    WRITE = "write"
    COMPLETE = "complete"
    RESTART = "restart"
    TAKE_BACK = "take back"
    POLLED = "polled"
    RENEWED = "renewed"


class Step(NamedTuple):
    """A step, and the stance, the file, or the end of a posture that it is about."""

    act: Act
    about: str
    stack: str = ""
    """Whose step it is in a fleet."""


def steps(
    mesh: Mesh,
    guard: Guard,
    wanted: Sequence[Stance],
    peers: Sequence[Mesh] = (),
    *,
    restarts: bool = True,
) -> Iterator[tuple[Step, Mesh]]:
    """Every step that this mesh can take; `restarts` is whether an `up` may restart workloads."""
    for stance in guard.admits(mesh, wanted, peers) if wanted else ():
        yield Step(Act.BEGIN, stance), _skip_unchanged(mesh._replace(attempt=stance, written=0))
    if mesh.attempt is not None:
        yield from _go_on(mesh, mesh.attempt, guard, restarts)
    yield from _end_windows(mesh)


def _go_on(
    mesh: Mesh, attempt: Stance, guard: Guard, restarts: bool
) -> Iterator[tuple[Step, Mesh]]:
    if mesh.written < len(WRITE_ORDER):
        file, content = _next(attempt, mesh.written)
        after = mesh._replace(written=mesh.written + 1, loose=mesh.loose | {content})
        yield Step(Act.WRITE, file), _skip_unchanged(after)
    else:
        yield Step(Act.COMPLETE, attempt), _completed(mesh, attempt, guard)
        if restarts:
            yield Step(Act.RESTART, attempt), _restarted(mesh, attempt, guard)
    yield Step(Act.TAKE_BACK, attempt), _completed(mesh, mesh.force, guard)


def _next(attempt: Stance, written: int) -> tuple[str, Content]:
    file = WRITE_ORDER[written]
    return file, (file, files(POSTURES[attempt])[file])


def _skip_unchanged(mesh: Mesh) -> Mesh:
    """Pulumi does not write a secret that is as it should be."""
    assert mesh.attempt is not None
    touched = {file for file, _ in mesh.loose}
    while mesh.written < len(WRITE_ORDER):
        file, content = _next(mesh.attempt, mesh.written)
        if file in touched or content not in CONTENTS[mesh.force]:
            break
        mesh = mesh._replace(written=mesh.written + 1)
    return mesh


def _completed(mesh: Mesh, target: Stance, guard: Guard) -> Mesh:
    """The vault holds `target` alone; what else could be read is over, and its windows begin."""
    after = guard.completes(mesh, target)
    over = (CONTENTS[mesh.force] | mesh.loose) - CONTENTS[target]
    was = mesh.force if target != mesh.force else mesh.attempt
    return Mesh(
        force=target,
        attempt=None if after.settled else mesh.attempt,
        marks=(*_kept(mesh, after.kept), Mark(True, after.ended, over, f"`{was}` ended")),
        behind=mesh.behind,
    )


def _restarted(mesh: Mesh, target: Stance, guard: Guard) -> Mesh:
    """The same, and every istiod has shown the new files, and every workload was restarted since:
    nobody holds anything else."""
    after = guard.completes(mesh, target, restarted=True)
    marks = [Mark(mark.fresh, mark.believed, frozenset(), "") for mark in _kept(mesh, after.kept)]
    return Mesh(target, None if after.settled else mesh.attempt, marks=tuple(marks))


def _kept(mesh: Mesh, kept: frozenset[tuple[Stance, bool]]) -> Iterator[Mark]:
    for mark in mesh.marks:
        still = frozenset(name for name in mark.believed if (name, mark.fresh) in kept)
        yield mark._replace(believed=still)


def _end_windows(mesh: Mesh) -> Iterator[tuple[Step, Mesh]]:
    for at, mark in enumerate(mesh.marks):
        if mark.fresh:
            yield Step(Act.POLLED, mark.why), _polled(mesh, at)
            break
    if mesh.marks and not mesh.marks[0].fresh:
        yield Step(Act.RENEWED, mesh.marks[0].why), mesh._replace(marks=mesh.marks[1:])


def _polled(mesh: Mesh, at: int) -> Mesh:
    """P has passed since the mark at `at`: every mount was renewed since, or its istiod refused.

    Proxies hold what istiods have handed out until now and hand out no more; they hold it until W
    has passed since the mark, which is one leaf lifetime from now.
    """
    before = working(mesh)
    mark = mesh.marks[at]

    def with_mark(real: frozenset[Content]) -> tuple[Mark, ...]:
        stale = mark._replace(fresh=False, real=real)
        return (*mesh.marks[:at], stale, *mesh.marks[at + 1 :])

    found = readable(mesh._replace(marks=with_mark(frozenset())))
    behind = left_behind(before, found)
    over = _handed_out(before) - _handed_out(loadable(found) | behind)
    return mesh._replace(marks=with_mark(over), behind=behind)


def _handed_out(by: set[Loaded] | frozenset[Loaded]) -> frozenset[Content]:
    trusts = {(ROOT_CERT, trust) for trust, _ in by}
    leaves = {(LEAF, (root_of(signer),)) for _, signer in by}
    return frozenset(trusts | leaves)
