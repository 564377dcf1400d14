"""What a cluster keeps over a stop: etcd, certificates, addresses, pods' files, the kubeconfig."""

import json
import shutil
from pathlib import Path

from lab.mesh import network
from lab.mesh.errors import MeshError
from lab.mesh.network import Network


class ClusterData:
    """The data of one cluster, below the local cloud's `state`."""

    def __init__(self, state: Path) -> None:
        self.directory = state / "mesh"
        self.kubeconfig = state / "kubeconfig"

    def belong_to(self, cluster_id: str) -> None:
        """Start from nothing when the data is another cluster's."""
        owner = self.directory / "cluster"
        if owner.is_file() and owner.read_text(encoding="utf-8") == cluster_id:
            return
        self.erase()
        self.directory.mkdir(mode=0o700, parents=True)
        owner.write_text(cluster_id, encoding="utf-8")

    def network(self) -> Network:
        """Return the cluster's addresses; kept, because its certificates name them.

        Raises MeshError when somebody listens there already.
        """
        path = self.directory / "network.json"
        if path.is_file():
            kept = Network(**json.loads(path.read_text(encoding="ascii")))
            if not network.is_free(kept):
                raise MeshError(f"{kept.api} is in use: is this cluster running already?")
            return kept
        chosen = network.choose()
        content = json.dumps({"second": chosen.second, "third": chosen.third})
        path.write_text(content, encoding="ascii")
        return chosen

    def erase(self) -> None:
        """Remove all of it."""
        if self.directory.is_dir():
            shutil.rmtree(self.directory)
        self.kubeconfig.unlink(missing_ok=True)
