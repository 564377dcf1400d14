"""What the add-on's identity may do in the vault: an access policy, or a role."""

from __future__ import annotations

import pulumi
from pulumi_azure_native import authorization, keyvault

from components import existing
from components.refusing import refusing
from components.stack import Login
from components.vault import Vault
from meshca.adoption import access_refusals
from meshca.refusals import Refused
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
                opts=pulumi.ResourceOptions(parent=self, retain_on_delete=retain),
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
                opts=pulumi.ResourceOptions(
                    parent=self, retain_on_delete=retain, hooks=_nobody_elses(name, settings)
                ),
            )
            self.principal = _made(
                policy, policy.policy.apply(lambda entry: entry.object_id if entry else None)
            )
        self.register_outputs({})


def _nobody_elses(name: str, settings: KeyVault) -> pulumi.ResourceHookBinding:
    """Looks, before a policy is made and in a preview of it, whether the vault has one already."""

    async def refuse_existing(change: pulumi.ResourceHookArgs) -> None:
        principal = ((change.new_inputs or {}).get("policy") or {}).get("objectId")
        if not isinstance(principal, str):
            return  # Not known yet: that of an add-on to come, which nobody can have named.
        with refusing():
            vault = await existing.read_vault(settings)
            refusals = [*access_refusals(settings, principal, vault)] if vault is not None else []
            if refusals:
                raise Refused(refusals)

    hook = pulumi.ResourceHook(
        f"{name}-nobody-elses", refuse_existing, pulumi.ResourceHookOptions(on_dry_run=True)
    )
    return pulumi.ResourceHookBinding(before_create=[hook])


def _made(
    grant: pulumi.CustomResource, principal: pulumi.Output[str | None]
) -> pulumi.Output[str | None]:
    """Unknown as long as the grant has no id: an `up` with `--target` that leaves it out shows
    its inputs as if they were in force."""
    return pulumi.Output.all(grant.id, principal).apply(lambda known: known[1])
