"""The managed cluster of the local cloud that a local cluster stands for."""

from pathlib import Path

from lab.azure import data_plane
from lab.azure.data_plane import MeshCluster
from lab.mesh.errors import MeshError


def find(state: Path, name: str | None) -> MeshCluster | None:
    """Return the cluster called `name` (None: the only one) of the local cloud in `state`.

    None while there is none. Raises MeshError when there are several and no name says which.
    """
    found = data_plane.mesh(state)
    if name is not None:
        found = tuple(each for each in found if each.name == name)
    if len(found) > 1:
        raise MeshError(
            f"the local cloud has {len(found)} clusters"
            f" ({', '.join(each.name for each in found)}): name one"
        )
    return found[0] if found else None
