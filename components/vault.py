"""Key Vault, the four secrets, and the order in which they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import pulumi
from pulumi_azure_native import keyvault

from components.attempt import AttemptRecord
from components.authority import Authority
from components.refusing import refusing
from meshca import bundle, secrets
from meshca.issued import Issued, key_text
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

    An `up` writes none of them before all four are judged. A preview, which cannot judge what is
    not generated yet, shows each by itself: what is about known certificates only is known.
    """

    issued: pulumi.Output[Issued]
    """With every certificate of the configuration."""
    described: pulumi.Output[Mapping[str, secrets.Secret]]
    """What each secret should hold."""
    written: pulumi.Output[Mapping[str, Mapping[str, str]]]
    """The tags that the vault holds for each secret, which say what was really written."""
    judged: pulumi.Output[None]
    """Fails when istiod or a peer would not take the bundle."""

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
        key = authority.keys.get(plan.named(plan.posture.signer.identity))
        every = {**authority.roots, **authority.issuers}

        @refusing()
        def issue(pems: dict[str, str]) -> Issued:
            return Issued(plan, pems)

        @refusing()
        def judge(known: list[Any]) -> None:
            issued, private_key = cast(tuple[Issued, str | None], known)
            issued.judge(key=private_key, ledger=ledger)

        def about(names: Iterable[str]) -> pulumi.Output[Issued]:
            return pulumi.Output.all(**{each: every[each] for each in names}).apply(issue)

        self.issued = about(every)
        self.judged = pulumi.Output.unsecret(
            pulumi.Output.all(about(plan.made_of), key).apply(judge)
        )
        gate = None if pulumi.runtime.is_dry_run() else self.judged
        described: dict[str, pulumi.Output[secrets.Secret]] = {}
        tags: dict[str, pulumi.Output[Mapping[str, str]]] = {}
        before: list[pulumi.Resource] = [attempt, *after]
        holds = secrets.holds(plan.posture)
        for secret in secrets.WRITE_ORDER:
            issued = about(plan.named(identity) for identity in holds[secret])
            if secret != bundle.CA_KEY:
                text = issued.apply(_text(secret))
            elif key is not None:
                text = key.apply(refusing()(key_text))
            else:
                continue
            described[secret] = pulumi.Output.all(issued, attempt.recorded, gate).apply(
                _describe(secret, ledger)
            )
            resource = _secret(
                secret,
                described[secret],
                pulumi.Output.all(text, gate).apply(lambda known: str(known[0])),
                vault,
                parent=self,
                before=before,
                retain=retain,
            )
            tags[secret] = resource.tags.apply(lambda held: dict(held or {}))
            before = [resource]
        self.described = pulumi.Output.all(**described)
        self.written = pulumi.Output.all(**tags)
        self.register_outputs({})


def _text(name: str) -> Callable[[Issued], str]:
    return lambda issued: issued.text(name)


def _describe(name: str, ledger: Ledger | None) -> Callable[[list[Any]], secrets.Secret]:
    @refusing()
    def describe(known: list[Any]) -> secrets.Secret:
        issued, recorded, _ = cast(tuple[Issued, Attempt | None, None], known)
        return issued.secret(name, recorded=recorded, ledger=ledger)

    return describe


def _secret(
    name: str,
    described: pulumi.Output[secrets.Secret],
    text: pulumi.Output[str],
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
        tags=described.apply(lambda found: dict(found.tags)),
        properties=keyvault.SecretPropertiesArgs(
            content_type=secrets.CONTENT_TYPE,
            value=pulumi.Output.secret(text),
            attributes=keyvault.SecretAttributesArgs(
                enabled=True,
                not_before=described.apply(lambda found: found.not_before),
                expires=described.apply(lambda found: found.expires),
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
            # that misses one of its secrets cannot start. A vault that stays keeps what is in it,
            # as there is no right to delete it.
            retain_on_delete=retain or vault.vault is None or name == bundle.CA_KEY,
        ),
    )
