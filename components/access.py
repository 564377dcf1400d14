"""What the add-on's identity may do in the vault: an access policy, or a role."""

from __future__ import annotations

import pulumi
from pulumi_azure_native import authorization, keyvault

from components.stack import Login
from components.vault import Vault
from meshca.settings import AccessModel, KeyVault

SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
"""Key Vault Secrets User. Key Vault Reader is not enough: it reads no values
(learn.microsoft.com/azure/key-vault/general/rbac-guide)."""


class Access(pulumi.ComponentResource):
    """Lets the identity of the CSI secrets-provider add-on read the secrets.

    `principal` resolves to the object id once access is granted.
    """

    principal: pulumi.Output[str | None]

    def __init__(
        self,
        name: str,
        settings: KeyVault,
        vault: Vault,
        *,
        principal: pulumi.Input[str],
        login: Login,
        retain: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`retain`: stays when the stack goes, for a mesh that stays."""
        super().__init__("aks-istio-ca:index:Access", name, None, opts)
        options = pulumi.ResourceOptions(parent=self, retain_on_delete=retain)
        if settings.access_model is AccessModel.RBAC:
            assignment = authorization.RoleAssignment(
                name,
                scope=vault.id,
                principal_id=principal,
                # Without the type, a freshly made identity may not be found yet.
                principal_type=authorization.PrincipalType.SERVICE_PRINCIPAL,
                role_definition_id=pulumi.Output.concat(
                    "/subscriptions/",
                    login.subscription,
                    "/providers/Microsoft.Authorization/roleDefinitions/",
                    SECRETS_USER,
                ),
                opts=options,
            )
            self.principal = _made(assignment, assignment.principal_id)
        else:
            policy = keyvault.AccessPolicy(
                name,
                resource_group_name=vault.resource_group,
                vault_name=vault.name,
                policy=keyvault.AccessPolicyEntryArgs(
                    tenant_id=login.tenant,
                    object_id=principal,
                    permissions=keyvault.PermissionsArgs(secrets=[*settings.secret_permissions]),
                ),
                opts=options,
            )
            self.principal = _made(
                policy, policy.policy.apply(lambda entry: entry.object_id if entry else None)
            )
        self.register_outputs({})


def _made(
    grant: pulumi.CustomResource, principal: pulumi.Output[str | None]
) -> pulumi.Output[str | None]:
    """Unknown as long as the grant has no id: an `up` with `--target` that leaves it out shows
    its inputs as if they were in force."""
    return pulumi.Output.all(grant.id, principal).apply(lambda known: known[1])
