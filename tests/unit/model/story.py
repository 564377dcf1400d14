"""A failure told as a short story: who did what, and which handshake fails."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from tests.unit.model.cast import Stance, root_of
from tests.unit.model.mesh import Failure, Kind, Mesh, proxies, working
from tests.unit.model.moves import Act, Step
from tests.unit.model.search import Outcome
from tests.unit.model.systems import Fleet, TwoMeshes

Meshes = Mapping[str, Mesh]


def of_one(outcome: Outcome[Mesh]) -> str:
    """The story of a single mesh."""
    return _told(outcome.failure, [(step, {"": mesh}) for step, mesh in outcome.story])


def of_two(outcome: Outcome[Fleet]) -> str:
    """The story of a fleet."""
    told = [(step, dict(zip(TwoMeshes.NAMES, fleet, strict=True))) for step, fleet in outcome.story]
    return _told(outcome.failure, told)


def _told(failure: Failure | None, story: Sequence[tuple[Step | None, Meshes]]) -> str:
    assert failure is not None, "there is nothing to tell"
    lines: list[str] = []
    told_by: list[int] = []
    """For each state of the story, the line that leads to it."""
    before = story[0][1]
    for stack, mesh in before.items():
        lines.append(f"{_who(stack)}`{mesh.force}` has been in force for longer than W.")
    told_by.append(len(lines))
    for (act, stack), group in groupby(story[1:], key=lambda item: _kind(item[0])):
        taken = list(group)
        lines.append(_who(stack) + _sentence(act, [step for step, _ in taken], before[stack]))
        told_by += [len(lines)] * len(taken)
        before = taken[-1][1]
    lines += _ending(failure, [meshes for _, meshes in story], told_by)
    return "\n".join(f"{number:>3}. {line}" for number, line in enumerate(lines, start=1))


def _kind(step: Step | None) -> tuple[Act, str]:
    assert step is not None, "only the first state comes from nowhere"
    return step.act, step.stack


def _who(stack: str) -> str:
    return f"{stack}: " if stack else ""


def _sentence(act: Act, steps: list[Step | None], before: Mesh) -> str:
    about = [step.about for step in steps if step is not None]
    if act is Act.BEGIN:
        killed = "It is killed. " if before.attempt else ""
        return f"{killed}An `up` to `{_called(before.force, about[-1])}` begins."
    if act is Act.WRITE:
        return f"It writes {', '.join(about)}."
    if act is Act.COMPLETE:
        return "It completes."
    if act is Act.RESTART:
        return "It completes; every istiod shows the new files, and every workload is restarted."
    if act is Act.TAKE_BACK:
        return f"It is killed. An `up` to `{before.force}` takes it back."
    if act is Act.POLLED:
        return f"P passes since {' and '.join(about)}: every istiod has polled."
    return f"W passes since {' and '.join(about)}: every proxy has renewed."


def _called(force: Stance, wanted: Stance) -> str:
    """`retire a1 b1` has the posture of `steady b1`; after a switch it is called so."""
    phase, *issuers = force.split()
    if phase == "switch" and wanted == f"steady {issuers[1]}":
        return " ".join(("retire", *issuers))
    return wanted


def _ending(failure: Failure, states: list[Meshes], told_by: list[int]) -> Iterator[str]:
    if failure.kind is Kind.CHAIN:
        chain = " and ".join(failure.held)
        yield (
            f"The poll of an istiod catches key and certificate of {failure.other}, and a "
            f"cert-chain with {chain} only."
        )
        yield f"It hands out leaves of {failure.other} without their issuer: every peer refuses."
        return
    trust = " and ".join(failure.held)
    one = _holder(
        states, told_by, lambda mesh: failure.held in proxies(mesh)[0], _trusting(failure)
    )
    other = _holder(
        states, told_by, lambda mesh: failure.other in proxies(mesh)[1], _signing(failure)
    )
    yield f"A proxy {one} trusts {trust}."
    yield f"A proxy {other} has a leaf under {failure.other}."
    yield "They fail to shake hands: the first refuses the second, as client and as server."


def _trusting(failure: Failure) -> Callable[[Mesh], bool]:
    return lambda mesh: any(trust == failure.held for trust, _ in working(mesh))


def _signing(failure: Failure) -> Callable[[Mesh], bool]:
    return lambda mesh: any(root_of(signer) == failure.other for _, signer in working(mesh))


def _holder(
    states: list[Meshes],
    told_by: list[int],
    holds: Callable[[Mesh], bool],
    hands_out: Callable[[Mesh], bool],
) -> str:
    """Where such a proxy is, and when it can have renewed for the last time."""
    stack = next(stack for stack, mesh in states[-1].items() if holds(mesh))
    where = f"of {stack} " if stack else ""
    last = max(at for at, meshes in enumerate(states) if hands_out(meshes[stack]))
    if last < len(states) - 1:
        return f"{where}that renewed for the last time after {told_by[last]}"
    mesh = states[-1][stack]._replace(behind=frozenset())
    if not hands_out(mesh):
        return f"{where}that renews now, at an istiod that has refused all it read later on,"
    return f"{where}that renews now"
