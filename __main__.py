"""A plug-in CA for the Istio add-on of one AKS cluster, and its rotation."""

import asyncio
import atexit
import gc
from pathlib import Path

import pulumi

from components import existing, sdk, stack
from components.access import Access
from components.attempt import AttemptRecord
from components.authority import Authority
from components.cluster_choice import choose_cluster
from components.groups import resource_groups
from components.ledger import clock, rotation
from components.refusing import refusing
from components.vault import BundleSecrets, Vault
from meshca import material, mesh
from meshca.mesh import Mesh
from meshca.plan import plan


async def main() -> pulumi.Inputs:
    """Reads the settings, asks the guard, wires the components, and says what is in force."""
    login = stack.Login()
    with refusing():
        ledger, _ = await asyncio.gather(stack.own_ledger(), asyncio.to_thread(sdk.load))
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
    # An adopted cluster outlives the stack, and its mesh goes on reading what is here.
    stays = wanted.cluster.existing and state is Mesh.ENABLED
    groups = resource_groups(wanted, retain=stays)
    authority = Authority("authority", wanted, files, admitted.trusted if admitted else None)
    vault = Vault(
        "vault",
        wanted.key_vault,
        resource_group=groups[wanted.key_vault.resource_group],
        tenant=login.tenant,
        existing=found.vault_id,
        retain=stays,
    )
    cluster, principal = choose_cluster(
        wanted,
        ledger,
        state,
        found.cluster,
        resource_group=groups[wanted.cluster.resource_group],
        vault_id=vault.id,
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


# A run is over in seconds, and what it makes lives until then: to look for garbage among that, as
# the defaults do at every step and again at the end, is a tenth of a preview.
gc.set_threshold(100_000)
atexit.register(gc.freeze)
pulumi.run(main)
