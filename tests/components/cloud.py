"""What Azure and pulumi-tls answer to the mocks: real certificates, and ids as ARM gives them."""

import threading
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.serialization import PrivateFormat
from pulumi.runtime import mocks

from lab.tls import resources as tls
from tests import material
from tests.components.recorder import ProviderError, decoded

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
TENANT = "00000000-0000-0000-0000-000000000002"
ADD_ON_IDENTITY = "00000000-0000-0000-0000-000000000003"

GROUP = "azure-native:resources:ResourceGroup"
VAULT = "azure-native:keyvault:Vault"
SECRET = "azure-native:keyvault:Secret"
POLICY = "azure-native:keyvault:AccessPolicy"
ROLE = "azure-native:authorization:RoleAssignment"
CLUSTER = "azure-native:containerservice:ManagedCluster"
KEY = "tls:index/privateKey:PrivateKey"
REQUEST = "tls:index/certRequest:CertRequest"
SELF_SIGNED = "tls:index/selfSignedCert:SelfSignedCert"
SIGNED = "tls:index/locallySignedCert:LocallySignedCert"
REFERENCE = "pulumi:pulumi:StackReference"
LOGIN = "azure-native:authorization:getClientConfig"
LIVE_CLUSTER = "azure-native:containerservice:getManagedCluster"
LIVE_VAULT = "azure-native:keyvault:getVault"

ADD_ON = "azureKeyvaultSecretsProvider"
NOT_FOUND = 'Status=404 Code="ResourceNotFound" Message="The Resource was not found."'
_MAKERS = {
    kind.token: kind for kind in (tls.CertRequest, tls.SelfSignedCert, tls.LocallySignedCert)
}


def group_id(name: str) -> str:
    """The ARM id of a resource group in the tests' subscription."""
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}"


def vault_id(group: str, name: str) -> str:
    """The ARM id of a vault."""
    return f"{group_id(group)}/providers/Microsoft.KeyVault/vaults/{name}"


def live_cluster(identity: str) -> dict[str, Any]:
    """What getManagedCluster tells of a cluster whose add-on has that identity."""
    return {"addonProfiles": {ADD_ON: {"enabled": True, "identity": {"objectId": identity}}}}


@dataclass
class Cloud(mocks.Mocks):
    """Remembers what pulumi-tls made, as a stack's state does. Keys are EC, whatever was asked."""

    exists: bool = True
    """False: a preview of a stack's first `up`, which knows neither ids nor what is computed."""
    stacks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """The outputs of other stacks, and of this one, by full name."""
    secret_outputs: frozenset[str] = frozenset()
    """The outputs of `stacks` that are secret."""
    live: Mapping[str, Any] | None = field(default_factory=lambda: live_cluster(ADD_ON_IDENTITY))
    """What getManagedCluster answers; None: there is no such cluster."""
    vault: Mapping[str, Any] | None = None
    """What getVault answers; None: there is no such vault."""
    login_error: str | None = None
    """What getClientConfig fails with."""
    live_error: str = NOT_FOUND
    """What getManagedCluster fails with while `live` is None."""
    identity: str | None = ADD_ON_IDENTITY
    """Object id of the add-on's identity, as the cluster's outputs show it."""
    shows: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Outputs, by the resource's name, that are not what was given."""
    hides: dict[str, str] = field(default_factory=dict)
    """By the resource's name, an output that is missing: not known yet, in a preview."""
    fails: dict[str, str] = field(default_factory=dict)
    """By the resource's name, what the provider fails with."""
    invoked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    made: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def copy(self) -> "Cloud":
        """The same cloud with what was made in it; faults and calls stay behind."""
        return Cloud(stacks=deepcopy(self.stacks), made=dict(self.made))

    def call(self, args: mocks.MockCallArgs) -> Any:
        """Answers the functions that the program calls."""
        self.invoked.append((args.token, args.args))
        if args.token == LOGIN:
            if self.login_error is not None:
                raise ProviderError(self.login_error)
            return {
                "clientId": "client",
                "objectId": "object",
                "subscriptionId": SUBSCRIPTION,
                "tenantId": TENANT,
            }
        if args.token == LIVE_VAULT:
            if self.vault is None:
                raise ProviderError(NOT_FOUND)
            return {"id": vault_id("group", "vault"), **self.vault}
        assert args.token == LIVE_CLUSTER, args.token
        if self.live is None:
            raise ProviderError(self.live_error)
        return {"id": "/cluster", **self.live}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """The id and the outputs of a resource."""
        if args.typ == REFERENCE:
            return self._reference(str(args.resource_id))
        if args.typ.startswith("aks-istio-ca:"):
            return None, {}
        if args.typ.startswith("pulumi:providers:"):
            return "provider", {}
        if args.name in self.fails:
            raise ProviderError(self.fails[args.name])
        if not self.exists:
            return "", {} if args.typ in (*_MAKERS, KEY, CLUSTER) else args.inputs
        with self._lock:
            identity, outputs = self._outputs(args.typ, args.name, decoded(args.inputs))
        outputs = {**outputs, **self.shows.get(args.name, {})}
        outputs.pop(self.hides.get(args.name, ""), None)
        return identity, outputs

    def _reference(self, stack: str) -> tuple[str, dict[str, Any]]:
        outputs = dict(self.stacks.get(stack, {}))
        names = [name for name in outputs if name in self.secret_outputs]
        return stack, {"name": stack, "outputs": outputs, "secretOutputNames": names}

    def _outputs(self, typ: str, name: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if typ.startswith("tls:"):
            if name not in self.made:
                self.made[name] = _make(typ, name, given)
            return self.made[name]
        group = given.get("resourceGroupName", "")
        if typ == GROUP:
            return group_id(group), {**given, "name": group}
        if typ == VAULT:
            return vault_id(group, given["vaultName"]), {**given, "name": given["vaultName"]}
        if typ == SECRET:
            # ARM never shows the value.
            given["properties"] = {**given["properties"]}
            given["properties"].pop("value", None)
            return f"{vault_id(group, given['vaultName'])}/secrets/{given['secretName']}", given
        if typ == CLUSTER:
            if self.identity is not None:
                given["addonProfiles"][ADD_ON]["identity"] = {"objectId": self.identity}
            return f"{group_id(group)}/managedClusters/{given['resourceName']}", given
        assert typ in (POLICY, ROLE), typ
        return f"/{name}", given


def _make(typ: str, name: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if typ != KEY:
        identity, computed = _MAKERS[typ]().make(given)
        return identity, {**given, **computed}
    key = material.key("P-256", name)
    return name, {
        **given,
        "privateKeyPem": material.key_text(key, PrivateFormat.TraditionalOpenSSL),
        "privateKeyPemPkcs8": material.key_text(key),
    }
