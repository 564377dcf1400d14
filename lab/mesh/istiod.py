"""istiod: the real `pilot-discovery`, as the container `discovery` of a pod of the mesh add-on."""

from collections.abc import Mapping
from pathlib import Path

from lab import programs
from lab.mesh import probes
from lab.mesh.containers import Container
from lab.mesh.network import ISTIOD_PORT

NAMESPACE = "aks-istio-system"
CONTAINER = "discovery"

_HTTP_PORT = 8080


def service_name(revision: str) -> str:
    """The name in istiod's own certificate by which agents verify it."""
    return f"istiod-{revision}.{NAMESPACE}.svc"


class Discovery(Container):
    """One `pilot-discovery` process."""

    def __init__(
        self,
        name: str,
        address: str,
        *,
        revision: str,
        directory: Path,
        run: Path,
        kubeconfig: Path,
        certificates: Path | None,
        environment: Mapping[str, str],
    ) -> None:
        """Prepare the pod `name` at `address`; `certificates` is the mounted plug-in CA, if any.

        Without it istiod signs with a CA of its own, as on AKS without the plug-in.
        """
        super().__init__(
            CONTAINER, name, address, directory=directory, run=run, environment=environment
        )
        self._revision = revision
        self._kubeconfig = kubeconfig
        self._certificates = certificates

    def start(self) -> None:
        """Start it, with the flags that keep it on its own address."""
        mesh_config = self._directory / "mesh.yaml"
        mesh_config.write_text("trustDomain: cluster.local\n", encoding="ascii")
        self._start(
            [
                str(programs.ensure(["pilot-discovery"])["pilot-discovery"]),
                "discovery",
                "--registries=Kubernetes",
                f"--kubeconfig={self._kubeconfig}",
                f"--meshConfig={mesh_config}",
                "--networksConfig=/nonexistent",
                f"--httpAddr={self._address}:{_HTTP_PORT}",
                f"--httpsAddr={self._address}:15017",
                f"--grpcAddr={self._address}:15010",
                f"--secureGRPCAddr={self._address}:{ISTIOD_PORT}",
                f"--monitoringAddr={self._address}:15014",
                f"--ctrlz_address={self._address}",
                "--ctrlz_port=9876",
                "--shutdownDuration=0s",
            ],
            {
                # The article's log lines of a root rotation exist only with it.
                "ISTIO_MULTIROOT_MESH": "true",
                **self._environment,
                "ROOT_CA_DIR": str(self._certificates or self._directory / "no-cacerts"),
                "POD_NAME": self.name,
                "POD_NAMESPACE": NAMESPACE,
                "REVISION": self._revision,
            },
        )

    def ready(self) -> bool:
        """Probe what the real Deployment probes: `/ready` on port 8080."""
        return probes.answers(self._address, _HTTP_PORT, "/ready")
