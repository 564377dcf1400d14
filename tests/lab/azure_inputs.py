"""Inputs of azure-native resources that the lab accepts, for tests to start from."""

from __future__ import annotations

from typing import Any, Final

from lab.azure import ids
from lab.azure.account import CALLER_OBJECT_ID, SUBSCRIPTION_ID, TENANT_ID
from lab.provider.values import Properties

GROUP: Final = "azure-native:resources:ResourceGroup"
VAULT: Final = "azure-native:keyvault:Vault"
SECRET: Final = "azure-native:keyvault:Secret"
POLICY: Final = "azure-native:keyvault:AccessPolicy"
ROLE: Final = "azure-native:authorization:RoleAssignment"
CLUSTER: Final = "azure-native:containerservice:ManagedCluster"

ADDON: Final = "azureKeyvaultSecretsProvider"
SOMEONE: Final = "11111111-2222-4333-8444-555555555555"
SECRETS_USER: Final = "4633458b-17de-408a-b874-0445c86b69e6"


def group(name: str = "rg") -> Properties:
    """Return a resource group's inputs."""
    return {"resourceGroupName": name, "location": "westeurope"}


def vault(name: str = "kv-1", **properties: Any) -> Properties:
    """Return a vault's inputs; `properties` go below `properties`."""
    base = {"sku": {"family": "A", "name": "standard"}, "tenantId": TENANT_ID}
    return {"resourceGroupName": "rg", "vaultName": name, "properties": {**base, **properties}}


def secret(name: str = "ca-key", value: str = "v", **properties: Any) -> Properties:
    """Return a secret's inputs in vault kv-1."""
    return {
        "resourceGroupName": "rg",
        "vaultName": "kv-1",
        "secretName": name,
        "properties": {"value": value, **properties},
    }


def policy(principal: str = SOMEONE, *secrets: str) -> Properties:
    """Return an access policy's inputs for vault kv-1; `get` unless others are named."""
    return {
        "resourceGroupName": "rg",
        "vaultName": "kv-1",
        "policy": {
            "objectId": principal,
            "tenantId": TENANT_ID,
            "permissions": {"secrets": list(secrets or ("get",))},
        },
    }


def role(scope: str = ids.vault("rg", "kv-1"), **others: Any) -> Properties:
    """Return a role assignment's inputs: Key Vault Secrets User for SOMEONE."""
    definitions = f"/subscriptions/{SUBSCRIPTION_ID}/providers/Microsoft.Authorization"
    return {
        "principalId": SOMEONE,
        "principalType": "ServicePrincipal",
        "roleDefinitionId": f"{definitions}/roleDefinitions/{SECRETS_USER}",
        "scope": scope,
        **others,
    }


def cluster(**others: Any) -> Properties:
    """Return a cluster's inputs, without add-on or mesh."""
    return {
        "resourceGroupName": "rg",
        "resourceName": "aks",
        "dnsPrefix": "aks",
        "identity": {"type": "SystemAssigned"},
        "agentPoolProfiles": [
            {"name": "system", "mode": "System", "count": 1, "vmSize": "Standard_D4s_v5"}
        ],
        **others,
    }


def addon(enabled: bool = True, **config: str) -> Properties:
    """Return an `addonProfiles` with the secrets provider."""
    return {ADDON: {"enabled": enabled, "config": config} if config else {"enabled": enabled}}


def mesh(*revisions: str, plugin: Properties | None = None) -> Properties:
    """Return a `serviceMeshProfile` that is on; a plug-in CA only when given."""
    istio: Properties = {"revisions": list(revisions or ("asm-1-29",))}
    if plugin is not None:
        istio["certificateAuthority"] = {"plugin": plugin}
    return {"mode": "Istio", "istio": istio}


def plugin(vault_id: str = ids.vault("rg", "kv-1")) -> Properties:
    """Return the five plug-in fields."""
    return {
        "keyVaultId": vault_id,
        "certObjectName": "ca-cert",
        "keyObjectName": "ca-key",
        "rootCertObjectName": "root-cert",
        "certChainObjectName": "cert-chain",
    }


CALLER: Final = CALLER_OBJECT_ID
