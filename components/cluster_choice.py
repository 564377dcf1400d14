"""Which cluster the rest of the stack is about: one that it makes, or one that was there."""

from __future__ import annotations

import pulumi

from components import stack
from components.adopted import AdoptedCluster
from components.cluster import Cluster, ClusterComponent
from meshca.adoption import LiveCluster, is_first_pass
from meshca.ledger import Ledger
from meshca.mesh import Mesh
from meshca.settings import Settings


def choose_cluster(
    settings: Settings,
    ledger: Ledger | None,
    mesh: Mesh,
    live: LiveCluster | None,
    *,
    resource_group: pulumi.Input[str],
    vault_id: pulumi.Input[str],
) -> tuple[ClusterComponent, pulumi.Input[str] | None]:
    """The cluster, and the add-on's identity in it; None while the add-on is not on.

    `live` is the existing cluster as it was found; None where the stack makes its own.
    """
    ours = ledger is not None and ledger.mesh
    if live is None:
        made = Cluster(
            "cluster",
            settings.cluster,
            mesh,
            resource_group=resource_group,
            vault_id=vault_id,
            ours=ours,
        )
        return made, stack.add_on_identity(settings, ledger, made)
    first = is_first_pass(settings, ledger)
    adopted = AdoptedCluster(
        "cluster",
        settings.cluster,
        mesh,
        live,
        first=first,
        ours=ours,
        vault_id=vault_id,
    )
    return adopted, live.identity or (None if first else adopted.add_on_identity)
