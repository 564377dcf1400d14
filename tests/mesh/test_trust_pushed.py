"""With PROXY_CONFIG_XDS_AGENT, which AKS leaves off: trust reaches proxies without a renewal."""

import math
from collections.abc import Iterator

import pytest

from lab.mesh import envoy_secrets
from lab.mesh.mesh import Mesh
from tests.mesh import authorities
from tests.mesh.authorities import Authority, texts
from tests.mesh.local_cloud import LocalCloud

pytestmark = pytest.mark.mesh

A, B = authorities.root("A"), authorities.root("B")
A1 = authorities.issuer("a1", A)


@pytest.fixture
def mesh(cloud: LocalCloud, request: pytest.FixtureRequest) -> Iterator[Mesh]:
    """Return a mesh whose leaves live far longer than the test, pushing trust or not."""
    cloud.write(texts([A], A1))
    cloud.grant()
    cloud.enable_mesh()
    with Mesh(
        cloud.state,
        pods=2,
        leaf_ttl=3600.0,
        poll=math.inf,
        spread=0.0,
        trust_is_pushed=request.param,
    ) as mesh:
        mesh.wait_until_ready()
        yield mesh


@pytest.mark.parametrize("mesh", [True], indirect=True, ids=["pushed"])
def test_pushed_trust_arrives_before_any_leaf_is_renewed(mesh: Mesh, cloud: LocalCloud) -> None:
    """istiod pushes both roots, every Envoy trusts both within seconds, no handshake fails."""
    with mesh.phase("distribute, trust pushed") as counted:
        cloud.write(texts([A, B], A1))
        mesh.poll()
        mesh.wait_for(lambda: _trusted(mesh) == [{A, B}] * 2, "both roots in every Envoy", 20.0)
    assert counted.failed == 0, str(counted)


@pytest.mark.parametrize("mesh", [False], indirect=True, ids=["not pushed"])
def test_without_push_trust_waits_for_the_renewal(mesh: Mesh, cloud: LocalCloud) -> None:
    """istiod and ConfigMap have both roots, and the Envoys still trust the first alone."""
    cloud.write(texts([A, B], A1))
    mesh.poll()
    mesh.wait_for(lambda: mesh.trust() == texts([A, B], A1)["root-cert"], "the ConfigMap")
    assert _trusted(mesh) == [{A}] * 2


def _trusted(mesh: Mesh) -> list[set[Authority]]:
    known = {each.certificate: each for each in (A, B)}
    held = [envoy_secrets.held(each.address or "") for each in mesh.proxies]
    return [{known[root] for root in each.trust} if each else set() for each in held]
