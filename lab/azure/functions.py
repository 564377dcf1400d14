"""The functions (`invoke`) of azure-native that the lab models."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Final

from lab.azure import clusters, ids, resource_groups, secrets, vaults
from lab.azure.account import CALLER_CLIENT_ID, CALLER_OBJECT_ID, SUBSCRIPTION_ID, TENANT_ID
from lab.azure.errors import AzureError, UnmodelledError, not_found
from lab.azure.resource import Account, AzureResource
from lab.provider.plugin import Function
from lab.provider.values import Properties

KUBECONFIG: Final = "kubeconfig"
"""File in the state directory that the lab's cluster writes: the user's kubeconfig."""


def table(account: Account) -> dict[str, Function]:
    """Return the functions by token."""
    group, name = "resourceGroupName", "resourceName"
    vault, secret = "vaultName", "secretName"
    return {
        "azure-native:authorization:getClientConfig": _get_client_config,
        "azure-native:resources:getResourceGroup": _Getter(
            account, resource_groups.ResourceGroup, ids.resource_group, (group,)
        ),
        "azure-native:keyvault:getVault": _Getter(account, vaults.Vault, ids.vault, (group, vault)),
        "azure-native:keyvault:getSecret": _Getter(
            account, secrets.Secret, ids.secret, (group, vault, secret)
        ),
        "azure-native:containerservice:getManagedCluster": _Getter(
            account, clusters.ManagedCluster, ids.cluster, (group, name)
        ),
        "azure-native:containerservice:listManagedClusterUserCredentials": _Credentials(account),
    }


def _get_client_config(arguments: Properties) -> Properties:
    _check_arguments(arguments, ())
    return {
        "clientId": CALLER_CLIENT_ID,
        "objectId": CALLER_OBJECT_ID,
        "subscriptionId": SUBSCRIPTION_ID,
        "tenantId": TENANT_ID,
    }


class _Getter:
    """`getX`: the resource as a GET shows it, with its id. Never a secret's value."""

    def __init__(
        self,
        account: Account,
        kind: type[AzureResource],
        make_id: Callable[..., str],
        names: tuple[str, ...],
    ) -> None:
        self._resource = kind(account)
        self._make_id = make_id
        self._names = names

    def __call__(self, arguments: Properties) -> Properties:
        _check_arguments(arguments, self._names)
        resource_id = self._make_id(*(str(arguments[name]) for name in self._names))
        found = self._resource.get(resource_id)
        if found is None:
            raise not_found(resource_id)
        return {**found, "id": resource_id}


class _Credentials:
    """`listManagedClusterUserCredentials`: the kubeconfig of the lab's own cluster."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def __call__(self, arguments: Properties) -> Properties:
        _check_arguments(arguments, ("resourceGroupName", "resourceName"), ("format",))
        group, name = str(arguments["resourceGroupName"]), str(arguments["resourceName"])
        if arguments.get("format", "azure") not in ("azure", "exec"):
            raise AzureError(400, "InvalidParameter", "format is 'azure' or 'exec'.")
        with self._account.cloud.request(
            "managedClusters/listClusterUserCredential", ids.cluster(group, name)
        ) as transaction:
            clusters.find(transaction, group, name)
            file = self._account.cloud.directory / KUBECONFIG
            if not file.is_file():
                raise AzureError(
                    409,
                    "ClusterNotRunning",
                    f"The cluster '{name}' has no API server to connect to (the lab's Kubernetes"
                    f" is not up: no file {file}).",
                )
        value = base64.b64encode(file.read_bytes()).decode()
        return {"kubeconfigs": [{"name": "clusterUser", "value": value}]}


def _check_arguments(
    arguments: Properties, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> None:
    for name in required:
        if name not in arguments:
            raise AzureError(400, "InvalidParameter", f"missing required property '{name}'")
    for name in arguments:
        if name not in (*required, *optional):
            raise UnmodelledError(f"the argument '{name}'")
