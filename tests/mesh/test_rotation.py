"""The article's own sequences under traffic between real Envoys: why there are four phases.

Bundles are written straight into the vault, for the program would refuse these moves. Whole
rotations by `pulumi up` are in test_engine_rotations.py.

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
