"""What a running cluster does by itself: follow its managed cluster, notice what has died."""

import threading
from collections.abc import Callable
from contextlib import suppress

import httpx2
from lightkube import Client

from lab.azure.data_plane import MeshCluster
from lab.mesh.addon import AddOn
from lab.mesh.control_plane import ControlPlane, ControlPlaneError
from lab.mesh.errors import MeshError
from lab.mesh.workloads import Workloads

_RECONCILE_SECONDS = 0.5


class Keeper:
    """Lays add-on and workloads as the managed cluster says, until stopped or until it is gone."""

    def __init__(
        self,
        find: Callable[[], MeshCluster | None],
        plane: ControlPlane,
        client: Client,
        add_on: AddOn,
        workloads: Workloads,
    ) -> None:
        """`find` returns the managed cluster as it is now, None when it has been deleted."""
        self.gone = False
        """Has the managed cluster been deleted?"""
        self.error: Exception | None = None
        """Why the cluster cannot go on; None while all is well."""
        self._find = find
        self._plane = plane
        self._client = client
        self._add_on = add_on
        self._workloads = workloads
        self._revision: str | None = None
        """The one for which the workloads have been laid."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="mesh", daemon=True)

    def start(self, cluster: MeshCluster) -> None:
        """Lay what `cluster` asks for, then go on by itself."""
        self._follow(cluster)
        self._thread.start()

    def stop(self) -> None:
        """Return when it has let go of the cluster."""
        self._stopping.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._stopping.wait(_RECONCILE_SECONDS):
            try:
                self._plane.check()
                cluster = self._find()
                if cluster is None:
                    self.gone = True
                    raise MeshError("the managed cluster has been deleted from the local cloud")
                self._follow(cluster)
            except (ControlPlaneError, MeshError) as error:
                self.error = error
                return

    def _follow(self, cluster: MeshCluster) -> None:
        """Lay what the service mesh profile asks for; workloads come with the mesh."""
        self._add_on.reconcile(cluster)
        revision = cluster.revisions[0] if cluster.mesh and cluster.revisions else None
        if revision is None or revision == self._revision:
            return
        with suppress(httpx2.HTTPError):
            self._workloads.apply(self._client, revision)
            self._revision = revision
