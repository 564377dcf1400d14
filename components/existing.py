"""What exists already, asked of Azure and judged before a resource registers."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components import azure
from meshca import adoption
from meshca.adoption import LiveCluster
from meshca.ledger import Ledger
from meshca.refusals import Refusal, Refused
from meshca.settings import Settings


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
        raw = await _read(
            "azure-native:containerservice:getManagedCluster",
            resourceGroupName=settings.cluster.resource_group,
            resourceName=settings.cluster.name,
        )
        if raw is None:
            raise adoption.missing("cluster", settings.cluster)
        cluster = adoption.live_cluster(raw)
        refusals += adoption.mesh_refusals(settings, ledger, cluster)
    if settings.key_vault.existing:
        raw = await _read(
            "azure-native:keyvault:getVault",
            resourceGroupName=settings.key_vault.resource_group,
            vaultName=settings.key_vault.name,
        )
        if raw is None:
            raise adoption.missing("vault", settings.key_vault)
        login = await azure.ask(azure.CLIENT_CONFIG)
        refusals += adoption.vault_refusals(settings.key_vault, raw, tenant=login["tenantId"])
        vault_id = str(raw["id"])
    if refusals:
        raise Refused(refusals)
    return Existing(cluster, vault_id)


async def _read(token: str, **arguments: str) -> adoption.Raw | None:
    """A resource, with what the program knows nothing of; None when there is none."""
    try:
        return await azure.ask(token, **arguments)
    except Exception as error:  # the invoke raises nothing more specific
        if "NotFound" in str(error):
            return None
        raise pulumi.RunError(
            f"{' '.join(arguments.values())} cannot be read: {error}. Whoever runs this needs to "
            "read it."
        ) from error
