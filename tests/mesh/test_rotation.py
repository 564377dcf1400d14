"""Whole rotations under traffic between real Envoys, bundles written straight into the vault.

Two istiods poll at different times, and trust is not pushed (PROXY_CONFIG_XDS_AGENT is off, as on
AKS): a proxy learns of new trust only when it renews its leaf.
"""

from collections.abc import Iterator

import pytest

from lab.mesh.mesh import Mesh
from lab.mesh.traffic import Phase
from tests.mesh import authorities
from tests.mesh.authorities import texts
from tests.mesh.local_cloud import LocalCloud
from tests.mesh.stage import LEAF_TTL, LEAF_WINDOW, POLL, POLL_WINDOW, Stage

pytestmark = pytest.mark.mesh

RATE = 400.0
"""Requests per second."""

HANDSHAKES = 10_000
"""At least so many over a root rotation."""


@pytest.fixture(scope="module")
def stage(cloud: LocalCloud, tally: list[Phase]) -> Iterator[Stage]:
    """Return a mesh in steady posture under some root."""
    root = authorities.root("initial")
    cloud.write(texts([root], authorities.issuer("initial", root)))
    cloud.grant()
    cloud.enable_mesh()
    with Mesh(cloud.state, istiods=2, leaf_ttl=LEAF_TTL, poll=POLL, rate=RATE) as mesh:
        mesh.wait_until_ready()
        yield Stage(mesh, cloud)
        tally += mesh.traffic.finished


def test_a_root_rotation_in_four_phases_loses_no_handshake(stage: Stage) -> None:
    """steady, distribute, switch, retire with the waits of the guard: 0 of 10,000 fail."""
    a, b = authorities.root("A"), authorities.root("B")
    a1, b1 = authorities.issuer("a1", a), authorities.issuer("b1", b)
    stage.settle([a], a1)

    moves = (
        ("root rotation: distribute", texts([a, b], a1, [b1, a1]), ["cert-chain", "root-cert"]),
        ("root rotation: switch", texts([a, b], b1, [b1, a1]), ["ca-key", "ca-cert"]),
        ("root rotation: retire", texts([b], b1), ["root-cert", "cert-chain"]),
    )
    phases = [
        stage.move(*move, hold=LEAF_WINDOW, handshakes=HANDSHAKES // len(moves) + 1)
        for move in moves
    ]

    assert stage.mesh.signers() == [b1.serial] * 2
    assert stage.mesh.trust() == texts([b], b1)["root-cert"]
    assert sum(each.handshakes for each in phases) >= HANDSHAKES
    assert [each.failed for each in phases] == [0, 0, 0], _story(phases)


def test_an_intermediate_rotation_needs_only_polls_between_its_phases(stage: Stage) -> None:
    """Under one root the same phases, one poll apart, lose no handshake."""
    a = authorities.root("A")
    a1, a2 = authorities.issuer("a1", a), authorities.issuer("a2", a)
    stage.settle([a], a1)

    phases = [
        stage.move("intermediate rotation: distribute", texts([a], a1, [a2, a1]), hold=POLL_WINDOW),
        stage.move(
            "intermediate rotation: switch",
            texts([a], a2, [a2, a1]),
            ["ca-key", "ca-cert"],
            hold=POLL_WINDOW,
        ),
        stage.move("intermediate rotation: retire", texts([a], a2), hold=LEAF_WINDOW),
    ]

    assert stage.mesh.signers() == [a2.serial] * 2
    assert [each.failed for each in phases] == [0, 0, 0], _story(phases)


def test_a_rotation_is_rolled_back_from_the_switch(stage: Stage) -> None:
    """From switch back to distribute and to steady, with the same waits: no handshake fails."""
    a, b = authorities.root("A"), authorities.root("B")
    a1, b1 = authorities.issuer("a1", a), authorities.issuer("b1", b)
    stage.settle([a, b], a1)

    phases = [
        stage.move("rollback: distribute", texts([a, b], a1, [b1, a1]), hold=POLL_WINDOW),
        stage.move(
            "rollback: switch", texts([a, b], b1, [b1, a1]), ["ca-key", "ca-cert"], hold=POLL_WINDOW
        ),
        stage.move(
            "rollback: back to distribute",
            texts([a, b], a1, [b1, a1]),
            ["ca-key", "ca-cert"],
            hold=LEAF_WINDOW,
        ),
        stage.move("rollback: back to steady", texts([a], a1), hold=LEAF_WINDOW),
    ]

    assert stage.mesh.signers() == [a1.serial] * 2
    assert [each.failed for each in phases] == [0, 0, 0, 0], _story(phases)


def test_the_articles_last_step_splits_the_mesh(stage: Stage) -> None:
    """New root and new signer in one step, after both roots were given time: handshakes fail.

    This is the article's step 3, read with the old CA signing in step 1. Renewed proxies trust
    only B and reject the A leaves of those that have not renewed yet.
    """
    a, b = authorities.root("A"), authorities.root("B")
    a1, b1 = authorities.issuer("a1", a), authorities.issuer("b1", b)
    stage.settle([a], a1)

    both = stage.move("article: roots A and B", texts([a, b], a1), hold=LEAF_WINDOW)
    last = stage.move("article: root B and signer B", texts([b], b1), hold=LEAF_WINDOW)

    assert both.failed == 0, str(both)
    assert last.failed > 0


def test_the_articles_first_step_splits_the_mesh(stage: Stage) -> None:
    """Both roots and the new signer in one step, all four secrets at once: handshakes fail.

    The other reading of the article's step 1. Renewed proxies show B leaves to those that do not
    trust B yet.
    """
    a, b = authorities.root("A"), authorities.root("B")
    a1, b1 = authorities.issuer("a1", a), authorities.issuer("b1", b)
    stage.settle([a], a1)

    first = stage.move("article: roots A and B, signer B", texts([a, b], b1), hold=LEAF_WINDOW)

    assert first.failed > 0


def test_a_direct_swap_waits_for_the_next_restart_to_break_the_mesh(stage: Stage) -> None:
    """A running istiod refuses A to B and nothing happens; one that restarts takes it: split."""
    a, b = authorities.root("A"), authorities.root("B")
    a1, b1 = authorities.issuer("a1", a), authorities.issuer("b1", b)
    stage.settle([a], a1)

    refused = stage.move("direct swap", texts([b], b1), hold=POLL_WINDOW)
    assert stage.mesh.signers() == [a1.serial] * 2
    with stage.mesh.phase("direct swap, istiod restarted") as taken:
        stage.mesh.restart_istiod()
        stage.mesh.let_pass(LEAF_WINDOW)

    assert refused.failed == 0, str(refused)
    assert stage.mesh.signers() == [b1.serial] * 2
    assert taken.failed > 0


def _story(phases: list[Phase]) -> str:
    return "\n".join(map(str, phases))
