"""The proof of the guard: every sequence of moves that it admits, over every mesh that lags.

What is real and what is modelled, and why the search covers everything: `tests/unit/model`. The
stories of what happens without each rule: `pytest tests/unit/test_guard_model.py -rP -k needed`.
"""

from contextlib import nullcontext
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.model import story
from tests.unit.model.cast import POSTURES, Stance, stances
from tests.unit.model.concrete import MeshByTheClock
from tests.unit.model.guard import (
    ATTEMPT,
    JUMPS_BEHIND,
    JUMPS_IN_FORCE,
    PEERS,
    UNFINISHED,
    Guard,
)
from tests.unit.model.mesh import Kind, Mark, Mesh
from tests.unit.model.moves import Act, Step
from tests.unit.model.reduction import forbids, key, reduce, up_to_names
from tests.unit.model.search import Outcome, search
from tests.unit.model.systems import Fleet, OneMesh, TwoMeshes

HARM = (Kind.HANDSHAKE, Kind.CHAIN)
"""What a proxy feels."""


def move_begun(step: Step, mesh: Mesh) -> tuple[str, ...] | None:
    """The move that an `up` begins, up to names."""
    return up_to_names(mesh.force, step.about) if step.act is Act.BEGIN else None


def show(config: pytest.Config, line: str) -> None:
    """Prints a line although pytest captures what tests print."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        print(f"\n{line}")


@pytest.fixture(scope="module")
def one_mesh(pytestconfig: pytest.Config) -> Outcome[Mesh]:
    """Everything that can happen to one mesh: three roots, two issuers under each."""
    outcome = search(OneMesh(Guard(), stances(3, 2)), note=move_begun)
    show(pytestconfig, f"one mesh: {outcome}, {len(outcome.made)} kinds of move")
    return outcome


@pytest.fixture(scope="module")
def two_meshes(pytestconfig: pytest.Config) -> Outcome[Fleet]:
    """Everything that can happen to two meshes of one trust domain: three roots.

    One issuer under each is enough: between meshes the guard and the proxies look at roots only.
    """
    outcome = search(TwoMeshes(Guard(), stances(3, 1)))
    show(pytestconfig, f"two meshes: {outcome}")
    return outcome


@pytest.mark.parametrize("kind", Kind)
def test_nothing_that_the_guard_admits_breaks_a_mesh(one_mesh: Outcome[Mesh], kind: Kind) -> None:
    """In no state of one mesh do two proxies refuse each other, does an istiod hand out leaves
    without their issuer, does one that starts come up without the plugged-in CA (it may wait for
    a poll inside a switch), or does one work with what the ledger does not count."""
    assert one_mesh.failure is None or one_mesh.failure.kind is not kind, story.of_one(one_mesh)


@pytest.mark.parametrize("kind", Kind)
def test_nothing_that_the_guard_admits_breaks_a_fleet(
    two_meshes: Outcome[Fleet], kind: Kind
) -> None:
    """The same for two meshes whose stacks are peers, and for every pair of proxies across them."""
    assert two_meshes.failure is None or two_meshes.failure.kind is not kind, story.of_two(
        two_meshes
    )


@pytest.mark.parametrize(
    "move",
    [
        ("steady a1", "distribute a1 b1"),
        ("distribute a1 b1", "switch a1 b1"),
        ("switch a1 b1", "steady b1"),
        ("switch a1 b1", "distribute a1 b1"),
        ("distribute a1 b1", "steady a1"),
        ("steady a1", "switch b1 a1"),
        ("distribute a1 b1", "distribute a1 b2"),
        ("steady a1", "distribute a1 a2"),
        ("distribute a1 a2", "switch a1 a2"),
        ("switch a1 a2", "steady a2"),
        ("switch a1 a2", "distribute a1 a2"),
        ("distribute a1 a2", "steady a1"),
        ("switch a1 a2", "distribute a2 b1"),
    ],
    ids=" -> ".join,
)
def test_the_search_makes_every_move_of_a_rotation_and_of_a_rollback(
    one_mesh: Outcome[Mesh], move: tuple[Stance, Stance]
) -> None:
    """Root and intermediate rotations forward and back, all the way and changed midway, are
    among what was searched (a root that comes back is `steady a1 -> switch b1 a1`)."""
    assert up_to_names(*move) in one_mesh.made


def test_a_rotation_ends_where_it_began() -> None:
    """When its windows have passed, `steady b1` is `steady a1` by another name; so the search,
    which has no bound, goes through a second and a third rotation as well."""
    before, after = (key(reduce(Mesh(force))) for force in ("steady a1", "steady b1"))
    assert before == after


@pytest.mark.parametrize(
    "without",
    [
        "signs-too-early",
        "retires-too-early",
        "chain-too-early",
        "drops-chain-too-early",
        JUMPS_IN_FORCE,
        JUMPS_BEHIND,
        UNFINISHED,
        ATTEMPT,
    ],
)
def test_every_rule_is_needed(without: str) -> None:
    """A guard without this one rule admits moves after which handshakes fail: printed as a
    story. (Without the rules on jumps there are many more states: one issuer for each root.)"""
    cast = stances(3, 1) if without in (JUMPS_IN_FORCE, JUMPS_BEHIND) else stances(3, 2)
    outcome = search(OneMesh(Guard(without), cast, restarts=False), kinds=HARM)
    assert outcome.failure is not None
    print(f"Without {without} ({outcome}):\n{story.of_one(outcome)}")


def test_the_windows_of_peers_are_needed() -> None:
    """A guard that does not look at its peers admits a signer whose root they do not trust."""
    outcome = search(TwoMeshes(Guard(PEERS), stances(3, 1), restarts=False), kinds=HARM)
    assert outcome.failure is not None
    print(f"Without {PEERS} ({outcome}):\n{story.of_two(outcome)}")


def test_a_fleet_makes_one_move_at_a_time() -> None:
    """Two `up`s at once, or one over a peer's interrupted one, can break a fleet, because a peer's
    ledger tells of completed moves only. The search above relies on that order; so must a fleet."""
    fleet = TwoMeshes(Guard(), stances(2, 1), restarts=False, at_once=True)
    outcome = search(fleet, kinds=HARM)
    assert outcome.failure is not None
    print(f"Two moves at once ({outcome}):\n{story.of_two(outcome)}")


# The arguments that make the search finite, held against the guard itself


STANCES = st.sampled_from(stances(3, 2))
WINDOWS = st.lists(st.tuples(STANCES, st.booleans()), max_size=6).map(
    lambda window: sorted(window, key=lambda entry: entry[1])
)
GUARD = Guard()


def mesh_of(force: Stance, window: list[tuple[Stance, bool]]) -> Mesh:
    """A mesh with this ledger; the entries of the window from the oldest on."""
    marks = [Mark(fresh, frozenset([name]), frozenset(), "") for name, fresh in window]
    return Mesh(force, marks=tuple(marks))


@given(STANCES, WINDOWS)
def test_what_newer_entries_forbid_already_can_go(
    force: Stance, window: list[tuple[Stance, bool]]
) -> None:
    """Without the entries of a window that the reduction drops, the guard admits the same."""
    whole = mesh_of(force, window)
    news = forbids(force, window)
    rest = [entry for entry, forbidden in zip(window, news, strict=True) if forbidden]
    wanted = stances(3, 2)
    assert GUARD.admits(whole, wanted) == GUARD.admits(mesh_of(force, rest), wanted)


FEW = st.sampled_from([*stances(1, 2), *stances(2, 1)])
MESHES = st.builds(
    mesh_of,
    FEW,
    st.lists(st.tuples(FEW, st.just(True)), max_size=2),
)


@given(st.lists(MESHES, min_size=20, max_size=40))
def test_the_guard_sees_no_more_than_the_key_says(meshes: list[Mesh]) -> None:
    """Of ledgers that the search takes for one, the guard admits equally many moves."""
    admitted: dict[object, set[int]] = {}
    for mesh in meshes:
        moves = [move for move in POSTURES if move != mesh.force]
        admitted.setdefault(key(reduce(mesh)), set()).add(len(GUARD.admits(mesh, tuple(moves))))
    assert all(len(numbers) == 1 for numbers in admitted.values())


@given(st.permutations("abc"), STANCES, WINDOWS, STANCES)
def test_the_guard_does_not_know_names(
    roots: list[str], force: Stance, window: list[tuple[Stance, bool]], wanted: Stance
) -> None:
    """With roots and issuers renamed throughout, the guard admits the same moves, renamed."""
    letters = str.maketrans("abc", "".join(roots))

    def renamed(stance: Stance) -> Stance:
        phase, *issuers = stance.split()
        return " ".join([phase, *(name.translate(letters) for name in issuers)])

    before = GUARD.admits(mesh_of(force, window), (wanted,))
    moved = mesh_of(renamed(force), [(renamed(name), fresh) for name, fresh in window])
    assert [renamed(name) for name in before] == list(GUARD.admits(moved, (renamed(wanted),)))


# The same by the clock


@pytest.mark.parametrize("seed", range(20))
def test_meshes_by_the_clock_do_nothing_that_the_sets_leave_out(seed: int) -> None:
    """Two istiods that read file by file, restart and lag, and three proxies that renew when they
    are due: each is always within the sets of the search, and no two proxies ever fail."""
    mesh = MeshByTheClock(Guard(), stances(2, 2), Random(seed))
    for _ in mesh.run(400):
        assert not list(mesh.faults())


def test_meshes_by_the_clock_fail_when_the_guard_does() -> None:
    """The same meshes do fail under a guard that lets the chain file lag behind the signer."""
    runs = (
        MeshByTheClock(Guard("chain-too-early"), stances(1, 2), Random(seed)) for seed in range(40)
    )
    assert any(fault for mesh in runs for _ in mesh.run(400) for fault in mesh.faults())
