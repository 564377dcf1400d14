"""A plug-in CA for the Istio add-on of one AKS cluster, and its rotation."""

from pathlib import Path

import pulumi
from pulumi_azure_native import resources

from components import stack
from components.access import Access
from components.attempt import AttemptRecord
from components.authority import Authority
from components.cluster import Cluster
from components.ledger import clock, rotation
from components.refusing import refusing
from components.vault import BundleSecrets, Vault
from meshca import material, mesh
from meshca.plan import plan


async def main() -> pulumi.Inputs:
    """Reads the settings, asks the guard, wires the components, and says what is in force."""
    login = stack.Login()
    with refusing():
        ledger = await stack.own_ledger()
        wanted = stack.configured()
        files = material.read(wanted, Path.cwd())
        peers = await stack.peer_ledgers(wanted.peers)
        admitted = plan(wanted, files, ledger=ledger, peers=peers, now=clock())
        state = mesh.decide(wanted, ledger)
        restarting = None
        if wanted.workloads and admitted is not None and state is mesh.Mesh.ENABLED:
            # Imported only here: nobody else's preview pays for pulumi-kubernetes.
            from components import workloads

            restarting = await workloads.prepare(wanted, admitted, ledger)

    stack.announce(admitted, ledger, state, restarts=restarting is not None)
    groups = {
        name: resources.ResourceGroup(f"group-{name}", resource_group_name=name).name
        for name in dict.fromkeys((wanted.cluster.resource_group, wanted.key_vault.resource_group))
    }
    authority = Authority("authority", wanted, files, admitted.trusted if admitted else None)
    vault = Vault(
        "vault",
        wanted.key_vault,
        resource_group=groups[wanted.key_vault.resource_group],
        tenant=login.tenant,
    )
    cluster = Cluster(
        "cluster",
        wanted.cluster,
        state,
        resource_group=groups[wanted.cluster.resource_group],
        vault_id=vault.id,
    )
    access = Access(
        "access",
        wanted.key_vault,
        vault,
        principal=stack.add_on_identity(wanted, ledger, cluster),
        login=login,
    )
    outputs: pulumi.Inputs = {
        "mesh": cluster.id.apply(lambda _: state.value),
        "certificates": authority.facts(),
        "csrs": authority.requests,
    }
    if admitted is None:
        return outputs
    attempt = AttemptRecord("rotation-attempt", admitted, ledger)
    secrets = BundleSecrets("secrets", wanted, admitted, authority, vault, attempt, ledger)
    made = None
    if restarting is not None:
        made = workloads.Restarts(
            "restarts",
            wanted,
            restarting,
            admitted,
            ledger,
            bundle=secrets,
            attempt=attempt,
            access=access,
            cluster=cluster,
        ).made
    ledger_after = rotation(
        ledger,
        mesh=state,
        vault=vault,
        bundle=secrets,
        attempt=attempt,
        access=access,
        cluster=cluster,
        restarts=made,
    )
    return {**outputs, "rotation": ledger_after}


pulumi.run(main)
