"""What the vault's answers do to istiod: it hangs in Init, recovers, and keeps what it has."""

import math
from collections.abc import Iterator

import pytest
from lightkube.resources.core_v1 import Event, Pod

from lab.azure import faults
from lab.mesh import istiod, pods
from lab.mesh.mesh import Mesh
from tests.mesh import authorities
from tests.mesh.local_cloud import LocalCloud

pytestmark = pytest.mark.mesh

ROOT = authorities.root("A")
ISSUER = authorities.issuer("a1", ROOT)


@pytest.fixture(scope="module")
def running(cloud: LocalCloud) -> Iterator[Mesh]:
    """Return a cluster that was started before the mesh was enabled."""
    with Mesh(cloud.state, pods=2, leaf_ttl=20.0, poll=math.inf, spread=0.0) as mesh:
        yield mesh


@pytest.fixture
def mesh(running: Mesh, cloud: LocalCloud) -> Iterator[Mesh]:
    """Return the cluster when all is well, and make all well again afterwards."""
    cloud.write(authorities.texts([ROOT], ISSUER))
    cloud.grant()
    cloud.enable_mesh()
    running.wait_until_ready()
    yield running
    faults.clear(cloud.state)
    cloud.grant()


def test_no_istiod_without_a_mesh_profile(running: Mesh) -> None:
    """The cluster runs without istiod as long as the managed cluster has no mesh profile."""
    assert list(running.client.list(Pod, namespace=istiod.NAMESPACE)) == []


def test_without_access_istiod_hangs_in_init_with_a_403(running: Mesh, cloud: LocalCloud) -> None:
    """Enabled before access was granted, istiod shows Init:0/2 and a FailedMount with the 403."""
    cloud.enable_mesh()
    running.wait_for(lambda: "RESPONSE 403" in _failed_mounts(running), "the 403")
    assert _shown(running) == ["Init:0/2"]


def test_a_missing_secret_shows_as_a_404(running: Mesh, cloud: LocalCloud) -> None:
    """With access but without the secrets, istiod hangs in Init with SecretNotFound."""
    cloud.enable_mesh()
    cloud.grant()
    running.wait_for(lambda: "SecretNotFound" in _failed_mounts(running), "the 404")
    assert _shown(running) == ["Init:0/2"]


def test_istiod_recovers_when_access_and_secrets_arrive(mesh: Mesh) -> None:
    """A hanging istiod starts by itself, signs with our issuer, and pods shake hands."""
    assert mesh.signers() == [ISSUER.serial]
    with mesh.phase("recovered") as counted:
        mesh.wait_for(lambda: counted.handshakes > 50, "traffic")
    assert counted.failed == 0, str(counted)


def test_revoked_access_leaves_a_running_istiod_alone(mesh: Mesh, cloud: LocalCloud) -> None:
    """A poll without access fails whole: the files stay, istiod signs on, no handshake fails."""
    before = dict(_files(mesh))
    with mesh.phase("revoked") as counted:
        cloud.revoke()
        polled = mesh.poll()
        mesh.wait_for(lambda: counted.handshakes > 200, "traffic")
    assert ["403" in (each.error or "") for each in polled] == [True]
    assert _files(mesh) == before
    assert mesh.signers() == [ISSUER.serial]
    assert counted.failed == 0, str(counted)


def test_istiod_restarted_without_access_hangs_and_the_mesh_goes_on(
    mesh: Mesh, cloud: LocalCloud
) -> None:
    """A new istiod pod cannot mount; pods live on the leaves they have until access is back."""
    with mesh.phase("restarted without access") as counted:
        cloud.revoke()
        mesh.restart_istiod()
        mesh.wait_for(lambda: _shown(mesh) == ["Init:0/2"], "an istiod in Init:0/2")
        mesh.wait_for(lambda: counted.handshakes > 200, "traffic")
        cloud.grant()
        mesh.wait_until_ready()
    assert counted.failed == 0, str(counted)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_vault_costs_a_round_and_nothing_else(
    mesh: Mesh, cloud: LocalCloud, status: int
) -> None:
    """Any error in the middle of a round fails the whole round; the next one is whole again."""
    before = dict(_files(mesh))
    faults.throttle(cloud.state, status=status, first=3, times=1)
    with mesh.phase(f"{status}") as counted:
        rounds = [mesh.poll()[0] for _ in range(2)]
        mesh.wait_for(lambda: counted.handshakes > 100, "traffic")
    assert sorted(each.error is None for each in rounds) == [False, True]
    assert _files(mesh) == before
    assert counted.failed == 0, str(counted)


def _shown(mesh: Mesh) -> list[str]:
    return [pods.shown(each) for each in mesh.client.list(Pod, namespace=istiod.NAMESPACE)]


def _failed_mounts(mesh: Mesh) -> str:
    events = mesh.client.list(Event, namespace=istiod.NAMESPACE)
    return "\n".join(each.message or "" for each in events if each.reason == "FailedMount")


def _files(mesh: Mesh) -> dict[str, str]:
    (mount,) = mesh.driver.mounts
    return {each.name: each.read_text(encoding="ascii") for each in mount.directory.glob("*.pem")}
