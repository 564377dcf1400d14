"""A poll, or an istiod's start, between any two writes of a move.

Nothing polls by itself here: each test decides which prefix of the writes an istiod reads.
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
    """Two issuers under two roots, made afresh for each test."""

    a: Authority
    b: Authority
    a1: Authority
    b1: Authority


@pytest.fixture
def material() -> Material:
    """Return fresh roots A and B with an issuer each."""
    a, b = authorities.root("A"), authorities.root("B")
    return Material(a, b, authorities.issuer("a1", a), authorities.issuer("b1", b))


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


def test_no_prefix_of_the_switch_is_ever_signed_with(stage: Stage, material: Material) -> None:
    """After ca-key alone, a running istiod refuses the set and signs on; then it takes both."""
    before = texts([material.a, material.b], material.a1, [material.b1, material.a1])
    after = texts([material.a, material.b], material.b1, [material.b1, material.a1])
    stage.settle([material.a, material.b], material.a1)
    stage.write_and_poll(before, ["cert-chain"])

    with stage.mesh.phase("switch, polled after each write") as counted:
        refused = stage.refusals()
        stage.write_and_poll(after, ["ca-key"])
        stage.wait_for_refusal(beyond=refused)
        assert stage.mesh.signers() == [material.a1.serial]
        stage.mesh.let_pass(LEAF_TTL)
        stage.write_and_poll(after, ["ca-cert"])
        stage.wait_for_signer(material.b1)
        stage.mesh.let_pass(LEAF_TTL)

    assert counted.failed == 0, str(counted)


def test_an_istiod_that_starts_inside_the_switch_waits_for_the_next_poll(
    stage: Stage, material: Material
) -> None:
    """Between the two writes a new istiod cannot start, the mesh goes on, the next poll heals."""
    before = texts([material.a, material.b], material.a1, [material.b1, material.a1])
    after = texts([material.a, material.b], material.b1, [material.b1, material.a1])
    stage.settle([material.a, material.b], material.a1)
    stage.write_and_poll(before, ["cert-chain"])

    with stage.mesh.phase("istiod restarted inside the switch") as counted:
        stage.cloud.write(after, ["ca-key"])
        stage.mesh.restart_istiod()
        stage.mesh.wait_for(
            lambda: any(each.restarts > 0 for each in stage.mesh.istiods), "a failed start"
        )
        assert not any(each.ready for each in stage.mesh.istiods)
        stage.write_and_poll(after, ["ca-cert"])
        stage.wait_for_signer(material.b1)
        stage.mesh.wait_until_ready()

    assert counted.failed == 0, str(counted)


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


def test_every_prefix_of_the_chain_and_trust_writes_is_whole(
    stage: Stage, material: Material
) -> None:
    """Distribute and its reverse, polled after each write: every set is taken, none fails."""
    steady = texts([material.a], material.a1)
    distribute = texts([material.a, material.b], material.a1, [material.b1, material.a1])
    stage.settle([material.a], material.a1)

    with stage.mesh.phase("distribute and back, polled after each write") as counted:
        refused = stage.refusals()
        for target, name in (
            (distribute, "cert-chain"),
            (distribute, "root-cert"),
            (steady, "root-cert"),
            (steady, "cert-chain"),
        ):
            stage.write_and_poll(target, [name])
            stage.mesh.let_pass(LEAF_TTL / 2)

    assert stage.refusals() == refused
    assert counted.failed == 0, str(counted)
