"""The control plane, the node and what stands around them, started in the order of their needs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lightkube import Client

from lab.mesh.cluster_data import ClusterData
from lab.mesh.control_plane import ControlPlane
from lab.mesh.credentials import write_private
from lab.mesh.csi import Driver
from lab.mesh.kubelet import Kubelet
from lab.mesh.logs import LogServer
from lab.mesh.service import Service
from lab.mesh.traffic import Traffic


@dataclass(frozen=True)
class Parts:
    """A cluster without add-on and workloads, while it runs."""

    plane: ControlPlane
    client: Client
    kubelet: Kubelet


@contextmanager
def running(
    data: ClusterData,
    run: Path,
    *,
    name: str,
    driver: Driver,
    traffic: Traffic,
    spread: float,
) -> Iterator[Parts]:
    """Start the parts of the cluster called `name`; stop them, last first, after the block.

    Pid files go to `run`. `spread`: the least time, in seconds, between the starts of two pods.
    Raises MeshError and ControlPlaneError.
    """
    with ExitStack() as undo:
        block = data.network()
        plane = ControlPlane(data.directory, run, block, name)
        undo.callback(plane.stop)
        plane.start()
        write_private(data.kubeconfig, plane.kubeconfig.read_bytes())
        client = plane.client()
        undo.callback(client.close)
        service = Service(block.istiod)
        service.start()
        undo.callback(service.stop)
        traffic.start()
        undo.callback(traffic.stop)
        kubelet = Kubelet(
            client,
            network=block,
            directory=data.directory / "pods",
            run=run,
            kubeconfig=plane.kubeconfig,
            driver=driver,
            observers=(service, traffic),
            spread=spread,
        )
        logs = LogServer(
            block.node,
            plane.authority.issue("kubelet", block.node),
            plane.authority.certificate,
            kubelet.log,
        )
        logs.start()
        undo.callback(logs.stop)
        undo.callback(kubelet.stop)
        kubelet.start()
        yield Parts(plane, client, kubelet)
