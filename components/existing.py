"""What exists already, asked of Azure and judged before a resource registers."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components import azure
from meshca import adoption
from meshca.adoption import LiveCluster
from meshca.ledger import Ledger
from meshca.refusals import Refusal, Refused
from meshca.settings import Cluster, KeyVault, Settings


@dataclass(frozen=True)
class Existing:
    """The parts of a stack that were there before it; None for those that it makes."""

    cluster: LiveCluster | None = None
    vault_id: str | None = None


async def find(settings: Settings, ledger: Ledger | None) -> Existing:
    """Reads what the settings call existing. Raises Refused for what cannot be used as it is."""
    refusals: list[Refusal] = []
    cluster, vault_id = None, None
    if settings.cluster.existing:
        raw = await read_cluster(settings.cluster)
        if raw is None:
            raise adoption.missing("cluster", settings.cluster)
        cluster = adoption.live_cluster(raw)
        refusals += adoption.mesh_refusals(settings, ledger, cluster)
    if settings.key_vault.existing:
        raw = await read_vault(settings.key_vault)
        if raw is None:
            raise adoption.missing("vault", settings.key_vault)
        login = await azure.ask(azure.CLIENT_CONFIG)
        refusals += adoption.vault_refusals(settings.key_vault, raw, tenant=login["tenantId"])
        vault_id = str(raw["id"])
    if refusals:
        raise Refused(refusals)
    return Existing(cluster, vault_id)


async def read_cluster(cluster: Cluster) -> adoption.Raw | None:
    """The cluster as ARM shows it; None when there is none. Raises RunError when it says no."""
    return await _read(
        "azure-native:containerservice:getManagedCluster",
        f"cluster {cluster.name} in resource group {cluster.resource_group}",
        resourceGroupName=cluster.resource_group,
        resourceName=cluster.name,
    )


async def read_vault(vault: KeyVault) -> adoption.Raw | None:
    """The vault as ARM shows it; None when there is none. Raises RunError when it says no."""
    return await _read(
        "azure-native:keyvault:getVault",
        f"vault {vault.name} in resource group {vault.resource_group}",
        resourceGroupName=vault.resource_group,
        vaultName=vault.name,
    )


async def _read(token: str, called: str, **arguments: str) -> adoption.Raw | None:
    """A resource, with what the program knows nothing of; None when there is none."""
    try:
        return await azure.ask(token, **arguments)
    except Exception as error:  # the invoke raises nothing more specific
        if "NotFound" in str(error):
            return None
        raise pulumi.RunError(
            f"{called} cannot be read: {error}. Whoever runs this needs to read it."
        ) from error
