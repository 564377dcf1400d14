"""etcd, kube-apiserver and kube-controller-manager: the cluster without any machine.

Versions, flags and the reasons for them were measured (docs of each program; a start takes about
three seconds). There is no scheduler: the one stand-in kubelet binds pods to its node itself.
"""

import time
from pathlib import Path

import httpx2
from lightkube import Client
from lightkube.resources.core_v1 import Namespace

from lab import programs
from lab.mesh import kubernetes
from lab.mesh.credentials import MASTERS, ClusterAuthority, write_private
from lab.mesh.network import API_PORT, Network
from lab.mesh.processes import Process

CONTROLLERS = (
    "deployment",
    "replicaset",
    "statefulset",
    "daemonset",
    "namespace",
    "serviceaccount",
    "root-ca-certificate-publisher",
    "job",
    "cronjob",
    "garbage-collector",
)
"""What rollouts, namespaces and tokens need; nothing that would want nodes or a cloud."""

CONTROLLER_MANAGER = "system:kube-controller-manager"
USER = "clusterUser"
"""The user in the kubeconfig that AKS hands out."""


class ControlPlaneError(Exception):
    """A control plane program ended or did not get ready; the text holds its last words."""


class ControlPlane:
    """The three programs and the way to talk to them."""

    def __init__(self, directory: Path, run: Path, network: Network, cluster: str) -> None:
        """Prepare a control plane called `cluster` that keeps its data in `directory`."""
        self._directory = directory
        self._run = run
        self._network = network
        self._processes: list[Process] = []
        self.authority = ClusterAuthority(directory / "pki")
        self.server = f"https://{network.api}:{API_PORT}"
        self.kubeconfig = directory / "kubeconfig"
        """Of the cluster's user: an administrator, as on AKS without Entra ID."""
        write_private(
            self.kubeconfig,
            self.authority.kubeconfig(self.server, USER, MASTERS, cluster).encode(),
        )

    def start(self, timeout: float = 30.0) -> None:
        """Start all three and return when the API server answers. Raises ControlPlaneError."""
        paths = programs.ensure(("etcd", "kube-apiserver", "kube-controller-manager"))
        self._launch("etcd", [str(paths["etcd"]), *self._etcd()])
        self._launch("kube-apiserver", [str(paths["kube-apiserver"]), *self._api_server()])
        self._wait_for_api(time.monotonic() + timeout)
        self._launch(
            "kube-controller-manager",
            [str(paths["kube-controller-manager"]), *self._controller_manager()],
        )

    def client(self) -> Client:
        """Return a new client with the rights of the cluster's user."""
        return kubernetes.connect(self.kubeconfig)

    def stop(self) -> None:
        """Stop what was started, last first."""
        while self._processes:
            # The API server waits for its watchers, who are about to end too.
            self._processes.pop().stop(grace=1.0)

    def check(self) -> None:
        """Raise ControlPlaneError if one of the programs has ended."""
        for process in self._processes:
            if process.exit_code is not None:
                raise ControlPlaneError(
                    f"{process.name} ended with {process.exit_code}:\n{process.tail()}"
                )

    def _launch(self, name: str, command: list[str]) -> None:
        self._processes.append(
            Process(
                name,
                command,
                run=self._run,
                log=self._directory / "logs" / f"{name}.log",
                directory=self._directory,
            )
        )

    def _wait_for_api(self, deadline: float) -> None:
        while True:
            self.check()
            try:
                with self.client() as client:
                    client.get(Namespace, "kube-system")
                return
            except httpx2.HTTPError:
                pass
            if time.monotonic() > deadline:
                raise ControlPlaneError(
                    "kube-apiserver did not get ready:\n" + self._processes[-1].tail()
                )
            time.sleep(0.1)

    def _etcd(self) -> list[str]:
        pair = self.authority.issue("etcd", self._network.etcd)
        client, peer = f"https://{self._network.etcd}:2379", f"https://{self._network.etcd}:2380"
        return [
            "--name=lab",
            f"--data-dir={self._directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=lab={peer}",
            *(
                f"--{scope}{option}"
                for scope in ("", "peer-")
                for option in (
                    f"cert-file={pair.certificate}",
                    f"key-file={pair.key}",
                    f"trusted-ca-file={self.authority.certificate}",
                    "client-cert-auth",
                )
            ),
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _api_server(self) -> list[str]:
        address = self._network.api
        serving = self.authority.issue("kube-apiserver", address)
        client = self.authority.issue("kube-apiserver-client", group=MASTERS)
        tokens = self.authority.signing_key("service-accounts")
        return [
            f"--etcd-servers=https://{self._network.etcd}:2379",
            f"--etcd-cafile={self.authority.certificate}",
            f"--etcd-certfile={client.certificate}",
            f"--etcd-keyfile={client.key}",
            f"--bind-address={address}",
            f"--advertise-address={address}",
            f"--secure-port={API_PORT}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self.authority.certificate}",
            "--anonymous-auth=false",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={tokens}",
            f"--service-account-signing-key-file={tokens}",
            f"--kubelet-certificate-authority={self.authority.certificate}",
            f"--kubelet-client-certificate={client.certificate}",
            f"--kubelet-client-key={client.key}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-cluster-ip-range=10.0.0.0/24",
            # There is no network in which somebody could reach the API server by its Service.
            "--endpoint-reconciler-type=none",
            "--profiling=false",
        ]

    def _controller_manager(self) -> list[str]:
        kubeconfig = self._directory / "controller-manager.kubeconfig"
        # Without this group every controller would need a ServiceAccount and a role of its own.
        content = self.authority.kubeconfig(self.server, CONTROLLER_MANAGER, MASTERS, "lab")
        write_private(kubeconfig, content.encode())
        return [
            f"--kubeconfig={kubeconfig}",
            f"--controllers={','.join(f'{name}-controller' for name in CONTROLLERS)}",
            f"--bind-address={self._network.api}",
            f"--service-account-private-key-file={self.authority.signing_key('service-accounts')}",
            f"--root-ca-file={self.authority.certificate}",
            "--leader-elect=false",
            "--profiling=false",
        ]
