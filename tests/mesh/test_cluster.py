"""The local cluster: it comes up, shows the article's evidence and carries traffic."""

import socket
import ssl
from collections.abc import Iterator

import pytest
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Namespace, Pod

from lab.mesh import envoy_secrets, istiod_log, processes, proxy
from lab.mesh.mesh import Mesh
from lab.mesh.workloads import NAMESPACE
from tests.mesh import authorities, sockets
from tests.mesh.local_cloud import LocalCloud

pytestmark = pytest.mark.mesh

PODS = 4
ROOT = authorities.root("A")
ISSUER = authorities.issuer("a1", ROOT)


@pytest.fixture(scope="module")
def mesh(cloud: LocalCloud) -> Iterator[Mesh]:
    """Return a cluster whose istiods and pods are ready."""
    cloud.write(authorities.texts([ROOT], ISSUER))
    cloud.grant()
    cloud.enable_mesh()
    with Mesh(cloud.state, pods=PODS, istiods=2, leaf_ttl=20.0, poll=1.0, spread=0.0) as mesh:
        mesh.wait_until_ready()
        yield mesh


def test_istiod_serves_the_plugged_in_issuer(mesh: Mesh) -> None:
    """Every istiod's own log names our issuer, by subject and serial, above its certificate."""
    for each in mesh.istiods:
        leaf, signer = istiod_log.served(each.log)
        assert leaf.issuer == signer.subject == "CN=Issuer a1,O=Lab"
        assert signer.serial == ISSUER.serial


def test_every_namespace_gets_the_root(mesh: Mesh) -> None:
    """ConfigMap istio-ca-root-cert holds our root, byte for byte, in all but `kube-` namespaces."""
    expected = authorities.texts([ROOT], ISSUER)["root-cert"]
    held = {
        name: mesh.trust(name)
        for name in (str(each.metadata and each.metadata.name) for each in _namespaces(mesh))
        # istiod leaves the namespaces of Kubernetes itself alone.
        if not name.startswith("kube-")
    }
    assert NAMESPACE in held
    assert held == dict.fromkeys(held, expected)


def test_every_pod_calls_every_other_without_failure(mesh: Mesh) -> None:
    """All ordered pairs of pods shake hands, none fails, and Envoy counts no error either."""
    with mesh.phase("steady") as counted:
        mesh.wait_for(lambda: counted.handshakes >= 1000, "1000 handshakes")
    assert counted.failed == 0, str(counted)
    assert counted.succeeded == counted.handshakes
    assert len(counted.called) == PODS * (PODS - 1)
    errors = {name: n for name, n in counted.envoy.items() if not name.endswith("handshake")}
    assert not any(errors.values()), errors


def test_each_request_is_a_handshake_of_its_own(mesh: Mesh) -> None:
    """Envoys reuse no connection: either side's own counter has a handshake for each request."""
    with mesh.phase("counting") as counted:
        mesh.wait_for(lambda: counted.handshakes >= 500, "500 handshakes")
    assert counted.envoy["client.handshake"] >= counted.succeeded
    assert counted.envoy["server.handshake"] >= counted.succeeded


def test_a_peer_without_certificate_is_refused(mesh: Mesh) -> None:
    """A pod's mTLS port answers only to peers: without that, a handshake would prove nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address = (str(mesh.proxies[0].address), proxy.INBOUND_PORT)
    with (
        socket.create_connection(address, 5) as plain,
        context.wrap_socket(plain) as connection,
        # In TLS 1.3 a client learns of the refusal when it reads.
        pytest.raises(ssl.SSLError, match="certificate required"),
    ):
        connection.recv(1)


def test_leaves_come_from_the_plugged_in_issuer(mesh: Mesh) -> None:
    """Every Envoy holds a leaf of our issuer, presents that issuer next, and trusts our root."""
    for each in mesh.proxies:
        secrets = envoy_secrets.held(each.address or "")
        assert secrets is not None
        secrets.leaf.verify_directly_issued_by(ISSUER.certificate)
        assert secrets.chain[0] == ISSUER.certificate
        assert secrets.trust == (ROOT.certificate,)


def test_logs_are_read_through_the_api_server(mesh: Mesh) -> None:
    """`kubectl logs` works on an istiod pod: the real API server fetches from the kubelet."""
    istiod = mesh.istiods[0]
    lines = list(mesh.client.log(istiod.name, namespace=istiod.namespace))
    assert any("Use local CA certificate" in line for line in lines)


def test_a_changed_template_rolls_out_without_a_failed_handshake(mesh: Mesh) -> None:
    """The real controllers replace the pods of all workloads, and traffic does not notice."""
    before = {each.name for each in mesh.proxies}
    stamp = {"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}}
    with mesh.phase("rollout") as counted:
        for number in range(PODS):
            mesh.client.patch(Deployment, f"app-{number}", stamp, namespace=NAMESPACE)
        mesh.wait_for(
            lambda: (
                mesh.is_ready
                and before.isdisjoint(
                    str(each.metadata and each.metadata.name)
                    for each in mesh.client.list(Pod, namespace=NAMESPACE)
                )
            ),
            "the rollout of all workloads",
        )
    assert counted.failed == 0, str(counted)
    assert counted.handshakes > 0


def test_an_istiod_that_crashes_comes_back(mesh: Mesh) -> None:
    """The kubelet restarts a killed istiod with its mount, and no handshake fails meanwhile."""
    istiod = mesh.istiods[0]
    with mesh.phase("crash") as counted:
        istiod.crash()
        mesh.wait_for(lambda: istiod.restarts > 0 and mesh.is_ready, "the istiod to come back")
    assert counted.failed == 0, str(counted)
    assert mesh.signers() == [ISSUER.serial] * 2


def test_everything_listens_on_loopback_only(mesh: Mesh) -> None:
    """No process of the cluster can be reached from another machine."""
    pids = {pid for found in processes.living(mesh.run).values() for pid in found}
    addresses = sockets.listeners(pids)
    assert len(addresses) > 20
    assert [each for each in addresses if not sockets.is_loopback(each)] == []


def _namespaces(mesh: Mesh) -> list[Namespace]:
    return list(mesh.client.list(Namespace))
