"""Which properties of which resource types the lab models; all others are refused by name.

Names, types, enums and requiredness come from the installed SDK (lab.schema_build); only the
choice is written here. `ALL` stands for a property with everything below it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

SCHEMA: Final = Path(__file__).with_name("schema.json")

ALL: Final = True

_VAULT: Final[dict[str, Any]] = {
    "resourceGroupName": ALL,
    "vaultName": ALL,
    "location": ALL,
    "tags": ALL,
    "properties": {
        "sku": ALL,
        "tenantId": ALL,
        "accessPolicies": ALL,
        "createMode": ALL,
        "enablePurgeProtection": ALL,
        "enableRbacAuthorization": ALL,
        "enableSoftDelete": ALL,
        "enabledForDeployment": ALL,
        "enabledForDiskEncryption": ALL,
        "enabledForTemplateDeployment": ALL,
        "publicNetworkAccess": ALL,
        "softDeleteRetentionInDays": ALL,
    },
}

_CLUSTER: Final[dict[str, Any]] = {
    "resourceGroupName": ALL,
    "resourceName": ALL,
    "location": ALL,
    "tags": ALL,
    "addonProfiles": ALL,
    "agentPoolProfiles": {
        "name": ALL,
        "mode": ALL,
        "count": ALL,
        "enableAutoScaling": ALL,
        "minCount": ALL,
        "maxCount": ALL,
        "maxPods": ALL,
        "vmSize": ALL,
        "type": ALL,
        "osType": ALL,
        "osSKU": ALL,
        "osDiskSizeGB": ALL,
        "osDiskType": ALL,
        "availabilityZones": ALL,
        "orchestratorVersion": ALL,
        "vnetSubnetID": ALL,
    },
    "autoUpgradeProfile": ALL,
    "disableLocalAccounts": ALL,
    "dnsPrefix": ALL,
    "enableRBAC": ALL,
    "identity": {"type": ALL},
    "kubernetesVersion": ALL,
    "networkProfile": {
        "networkPlugin": ALL,
        "networkPluginMode": ALL,
        "networkPolicy": ALL,
        "networkDataplane": ALL,
        "loadBalancerSku": ALL,
        "outboundType": ALL,
        "podCidr": ALL,
        "serviceCidr": ALL,
        "dnsServiceIP": ALL,
    },
    "nodeResourceGroup": ALL,
    "oidcIssuerProfile": ALL,
    "securityProfile": {"workloadIdentity": ALL},
    "serviceMeshProfile": {
        "mode": ALL,
        "istio": {
            "revisions": ALL,
            "certificateAuthority": ALL,
            "components": {"ingressGateways": ALL},
        },
    },
    "sku": ALL,
    "supportPlan": ALL,
}

RESOURCES: Final[dict[str, dict[str, Any]]] = {
    "azure-native:resources:ResourceGroup": {
        "resourceGroupName": ALL,
        "location": ALL,
        "tags": ALL,
    },
    "azure-native:keyvault:Vault": _VAULT,
    "azure-native:keyvault:Secret": {
        "resourceGroupName": ALL,
        "vaultName": ALL,
        "secretName": ALL,
        "properties": ALL,
        "tags": ALL,
    },
    "azure-native:keyvault:AccessPolicy": {
        "resourceGroupName": ALL,
        "vaultName": ALL,
        "policy": {"objectId": ALL, "tenantId": ALL, "permissions": ALL},
    },
    "azure-native:authorization:RoleAssignment": {
        "description": ALL,
        "principalId": ALL,
        "principalType": ALL,
        "roleAssignmentName": ALL,
        "roleDefinitionId": ALL,
        "scope": ALL,
    },
    "azure-native:containerservice:ManagedCluster": _CLUSTER,
    "azure-native:eventgrid:EventSubscription": {
        "scope": ALL,
        "eventSubscriptionName": ALL,
        "destination": ALL,
        "eventDeliverySchema": ALL,
        "filter": ALL,
    },
}
"""Resource type tokens, as the SDK spells them, and the inputs that the lab models."""
