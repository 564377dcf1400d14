"""Key Vault, the four secrets, and the order in which they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pulumi
from pulumi_azure_native import keyvault

from components.attempt import AttemptRecord
from components.authority import Authority
from components.refusing import refusing
from meshca import bundle, secrets
from meshca.issued import Issued
from meshca.ledger import Attempt, Ledger
from meshca.plan import Plan
from meshca.settings import AccessModel, KeyVault, Settings


class Vault(pulumi.ComponentResource):
    """The key vault that istiod's CSI driver reads: made here, or only used."""

    id: pulumi.Output[str]
    name: pulumi.Output[str]
    vault: keyvault.Vault | None
    """None for a vault that exists already."""

    def __init__(
        self,
        name: str,
        settings: KeyVault,
        *,
        resource_group: pulumi.Input[str],
        tenant: pulumi.Input[str],
        existing: str | None = None,
        retain: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`tenant` must be the cluster's: AKS reads the vault within one tenant only.

        `existing` is the ARM id of a vault to use as it is; `retain`: stays when the stack goes.
        """
        super().__init__("aks-istio-ca:index:Vault", name, None, opts)
        self.resource_group = resource_group
        if existing is not None:
            self.vault = None
            self.id = pulumi.Output.from_input(existing)
            self.name = pulumi.Output.from_input(settings.name)
            self.register_outputs({"id": self.id})
            return
        self.vault = keyvault.Vault(
            name,
            vault_name=settings.name,
            resource_group_name=resource_group,
            properties=keyvault.VaultPropertiesArgs(
                tenant_id=tenant,
                sku=keyvault.SkuArgs(family="A", name=keyvault.SkuName.STANDARD),
                # Explicit: the default turns from false to true with API 2026-02-01.
                enable_rbac_authorization=settings.access_model is AccessModel.RBAC,
                enable_soft_delete=True,
                soft_delete_retention_in_days=settings.soft_delete_days,
                # ARM takes true or nothing: purge protection cannot be turned off.
                enable_purge_protection=settings.purge_protection or None,
            ),
            opts=pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=retain),
        )
        self.id = self.vault.id
        self.name = self.vault.name
        self.register_outputs({"id": self.id})


class BundleSecrets(pulumi.ComponentResource):
    """The four secrets of the plan's posture, one waiting for the other, all for the attempt.

    `written` maps each secret to the tags that the vault holds for it, which say what was really
    written; `described` is what should have been.
    """

    issued: pulumi.Output[Issued]
    described: pulumi.Output[Mapping[str, secrets.Secret]]
    written: pulumi.Output[Mapping[str, Mapping[str, str]]]

    def __init__(
        self,
        name: str,
        settings: Settings,
        plan: Plan,
        authority: Authority,
        vault: Vault,
        attempt: AttemptRecord,
        ledger: Ledger | None,
        opts: pulumi.ResourceOptions | None = None,
        *,
        after: Sequence[pulumi.Resource] = (),
        retain: bool = False,
    ) -> None:
        """`after` is what has to be there before the first secret; `retain`: the secrets stay when
        the stack goes, for a mesh that stays and reads them."""
        super().__init__("aks-istio-ca:index:BundleSecrets", name, None, opts)
        signer = plan.named(plan.posture.signer.identity)
        key = authority.keys.get(signer)

        @refusing()
        def issue(pems: dict[str, str]) -> Issued:
            return Issued(plan, pems)

        @refusing()
        def describe(known: list[Any]) -> Mapping[str, secrets.Secret]:
            issued, recorded = cast(tuple[Issued, Attempt | None], known)
            return issued.describe(recorded=recorded, ledger=ledger, key=key is not None)

        @refusing()
        def assemble(known: list[Any]) -> bundle.Bundle:
            issued, private_key = cast(tuple[Issued, str | None], known)
            return issued.bundle(key=private_key, leaf_ttl=settings.leaf_ttl)

        every = {**authority.roots, **authority.issuers}
        # Only what the posture is made of: a root that is being generated beside it must not make
        # the secrets unknown in a preview.
        posture = pulumi.Output.all(**{name: every[name] for name in plan.made_of}).apply(issue)
        self.issued = pulumi.Output.all(**every).apply(issue)
        self.described = pulumi.Output.all(posture, attempt.recorded).apply(describe)
        values = pulumi.Output.all(posture, key).apply(assemble)
        tags: dict[str, pulumi.Output[Mapping[str, str]]] = {}
        before: list[pulumi.Resource] = [attempt, *after]
        for secret in secrets.WRITE_ORDER:
            if secret == bundle.CA_KEY and key is None:
                continue
            resource = _secret(
                secret, self.described, values, vault, parent=self, before=before, retain=retain
            )
            tags[secret] = resource.tags.apply(lambda held: dict(held or {}))
            before = [resource]
        self.written = pulumi.Output.all(**tags)
        self.register_outputs({})


def _secret(
    name: str,
    described: pulumi.Output[Mapping[str, secrets.Secret]],
    values: pulumi.Output[bundle.Bundle],
    vault: Vault,
    *,
    parent: pulumi.Resource,
    before: list[pulumi.Resource],
    retain: bool,
) -> keyvault.Secret:
    return keyvault.Secret(
        f"secret-{name}",
        secret_name=name,
        vault_name=vault.name,
        resource_group_name=vault.resource_group,
        tags=described.apply(lambda found: dict(found[name].tags)),
        properties=keyvault.SecretPropertiesArgs(
            content_type=secrets.CONTENT_TYPE,
            value=pulumi.Output.secret(values.apply(lambda found: found.texts()[name])),
            attributes=keyvault.SecretAttributesArgs(
                enabled=True,
                not_before=described.apply(lambda found: found[name].not_before),
                expires=described.apply(lambda found: found[name].expires),
            ),
        ),
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=before,
            # The vault takes its secrets along; without it the data plane would be asked, where
            # the deploying identity has no right to delete.
            deleted_with=vault.vault,
            # `pulumi destroy --skip-preview` deletes whatever is not protected, dependents first:
            # the last secret in the row keeps the others, and what they are made of.
            protect=name != bundle.CA_KEY,
            # An issuer whose key becomes external leaves ca-key to someone else, in place: a mesh
            # that misses one of its secrets cannot start.
            retain_on_delete=retain or name == bundle.CA_KEY,
        ),
    )
