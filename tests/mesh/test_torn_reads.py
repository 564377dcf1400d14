"""A poll between any two writes of the article's one-step change of the intermediate.

Nothing polls by itself here: each test decides which prefix of the writes an istiod reads. Polls
inside the moves of the four phases are in test_engine_rotations.py.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab.mesh.mesh import Mesh
from lab.mesh.traffic import Phase
from tests.mesh import authorities
from tests.mesh.authorities import Authority, texts
from tests.mesh.local_cloud import LocalCloud
from tests.mesh.stage import LEAF_TTL, Stage

pytestmark = pytest.mark.mesh


@dataclass(frozen=True)
class Material:
    """A root and an issuer under it, made afresh for each test."""

    a: Authority
    a1: Authority


@pytest.fixture
def material() -> Material:
    """Return a fresh root A with an issuer."""
    a = authorities.root("A")
    return Material(a, authorities.issuer("a1", a))


@pytest.fixture(scope="module")
def stage(cloud: LocalCloud, tally: list[Phase]) -> Iterator[Stage]:
    """Return a mesh with one istiod whose volume is read only when a test says so."""
    root = authorities.root("initial")
    cloud.write(texts([root], authorities.issuer("initial", root)))
    cloud.grant()
    cloud.enable_mesh()
    with Mesh(cloud.state, pods=3, leaf_ttl=LEAF_TTL, poll=math.inf, spread=0.5) as mesh:
        mesh.wait_until_ready()
        yield Stage(mesh, cloud)
        tally += mesh.traffic.finished


def test_no_prefix_of_a_one_step_move_in_the_safe_order_is_signed_with(
    stage: Stage, material: Material
) -> None:
    """ca-key, cert-chain, ca-cert: the break-glass order. istiod refuses each unfinished set."""
    a2 = authorities.issuer("a2", material.a)
    stage.settle([material.a], material.a1)
    after = texts([material.a], a2)

    with stage.mesh.phase("one step, safe order, polled after each write") as counted:
        for name in ("ca-key", "cert-chain"):
            refused = stage.refusals()
            stage.write_and_poll(after, [name])
            stage.wait_for_refusal(beyond=refused)
            assert stage.mesh.signers() == [material.a1.serial]
        stage.write_and_poll(after, ["ca-cert"])
        stage.wait_for_signer(a2)
        stage.mesh.let_pass(LEAF_TTL)

    assert counted.failed == 0, str(counted)


def test_a_poll_before_the_last_write_of_the_articles_order_breaks_the_mesh(
    stage: Stage, material: Material
) -> None:
    """ca-cert, ca-key, then cert-chain: istiod takes the first two, and its leaves fail.

    The reason for the order of writes, and for a chain file that holds both issuers.
    """
    a2 = authorities.issuer("a2", material.a)
    stage.settle([material.a], material.a1)
    after = texts([material.a], a2)

    with stage.mesh.phase("article's order, polled before the last write") as counted:
        stage.write_and_poll(after, ["ca-cert", "ca-key"])
        stage.mesh.let_pass(LEAF_TTL)

    assert counted.failed > 0
