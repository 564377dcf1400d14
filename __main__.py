"""A plug-in CA for the Istio add-on of one AKS cluster, and its rotation."""

from pathlib import Path

import pulumi
from pulumi_azure_native import resources

from components import existing, stack
from components.access import Access
from components.adopted import AdoptedCluster
from components.attempt import AttemptRecord
from components.authority import Authority
from components.cluster import Cluster, ClusterComponent
from components.ledger import clock, rotation
from components.refusing import refusing
from components.vault import BundleSecrets, Vault
from meshca import material, mesh
from meshca.adoption import LiveCluster, is_first_pass
from meshca.ledger import Ledger
from meshca.mesh import Mesh
from meshca.plan import plan
from meshca.settings import Settings


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
        found = await existing.find(wanted, ledger)
        restarting = None
        if wanted.workloads and admitted is not None and state is Mesh.ENABLED:
            # Imported only here: nobody else's preview pays for pulumi-kubernetes.
            from components import workloads

            restarting = await workloads.prepare(wanted, admitted, ledger)

    stack.announce(admitted, ledger, state, restarts=restarting is not None)
    groups = {
        name: resources.ResourceGroup(f"group-{name}", resource_group_name=name).name
        if wanted.creates_resource_group(name)
        else name
        for name in dict.fromkeys((wanted.cluster.resource_group, wanted.key_vault.resource_group))
    }
    # An adopted cluster outlives the stack, and its mesh goes on reading what is here.
    stays = wanted.cluster.existing and state is Mesh.ENABLED
    authority = Authority("authority", wanted, files, admitted.trusted if admitted else None)
    vault = Vault(
        "vault",
        wanted.key_vault,
        resource_group=groups[wanted.key_vault.resource_group],
        tenant=login.tenant,
        existing=found.vault_id,
        retain=stays,
    )
    cluster, principal = _cluster(
        wanted, ledger, state, found.cluster, groups[wanted.cluster.resource_group], vault
    )
    access = None
    if principal is not None:
        access = Access(
            "access", wanted.key_vault, vault, principal=principal, login=login, retain=stays
        )
    outputs: pulumi.Inputs = {
        "mesh": cluster.id.apply(lambda _: state.value),
        "certificates": authority.facts(),
        "csrs": authority.requests,
    }
    if admitted is None:
        return outputs
    attempt = AttemptRecord("rotation-attempt", admitted, ledger)
    alerts: list[pulumi.Resource] = []
    if wanted.expiry_alert is not None:
        # Imported only here, like the workloads.
        from components.alert import ExpiryAlert

        alert = ExpiryAlert("expiry-alert", wanted.expiry_alert, vault_id=vault.id)
        alerts = [alert.subscription]
    secrets = BundleSecrets(
        "secrets",
        wanted,
        admitted,
        authority,
        vault,
        attempt,
        ledger,
        after=alerts,
        retain=stays,
    )
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


def _cluster(
    wanted: Settings,
    ledger: Ledger | None,
    state: Mesh,
    live: LiveCluster | None,
    group: pulumi.Input[str],
    vault: Vault,
) -> tuple[ClusterComponent, pulumi.Input[str] | None]:
    """The cluster, and the add-on's identity in it; None while the add-on is not on."""
    if live is None:
        made = Cluster("cluster", wanted.cluster, state, resource_group=group, vault_id=vault.id)
        return made, stack.add_on_identity(wanted, ledger, made)
    first = is_first_pass(wanted, ledger)
    adopted = AdoptedCluster(
        "cluster",
        wanted.cluster,
        state,
        live,
        first=first,
        ours=ledger is not None and ledger.mesh,
        vault_id=vault.id,
    )
    return adopted, live.identity or (None if first else adopted.add_on_identity)


pulumi.run(main)
