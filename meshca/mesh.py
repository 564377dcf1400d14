"""When the mesh may be enabled, and what to say while it may not.

ARM accepts a mesh whose vault it cannot read, answers Succeeded, and istiod then hangs in Init
(azure-cli's own recording does it). So the mesh waits until the ledger of an earlier `up` shows
that the four secrets are whole and that the add-on's identity was granted access.
"""

from enum import StrEnum

from meshca.ledger import Ledger
from meshca.refusals import Refusal, Refused
from meshca.settings import KeyVault, Settings


class Mesh(StrEnum):
    """What this `up` does with the service mesh profile."""

    ENABLED = "enabled"
    PENDING = "pending: run `pulumi up` again to enable it"
    BOOTSTRAP = "pending: no issuer is active yet"
    DISABLED = "disabled"


TURNED_OFF = (
    "Mesh disabled: AKS deletes Istio's custom resources, and whatever is in aks-istio-system and "
    "aks-istio-ingress."
)
"""What it costs to disable a mesh (AKS, "Uninstall the Istio add-on")."""


def turns_off(ledger: Ledger | None, *, wanted: bool) -> bool:
    """Whether this `up` disables a mesh that the stack has enabled; `wanted` is `cluster.mesh`."""
    return not wanted and ledger is not None and ledger.mesh


def decide(settings: Settings, ledger: Ledger | None) -> Mesh:
    """Enabled only over a ledger that shows whole secrets and access to this very vault.

    Raises Refused (`vault-moves`) when a live mesh would change its vault.
    """
    if not settings.cluster.mesh:
        return Mesh.DISABLED
    if settings.active_issuer is None:
        return Mesh.BOOTSTRAP
    if ledger is None or ledger.access is None:
        return Mesh.PENDING
    same_vault = is_vault(ledger.access.vault, settings.key_vault)
    if ledger.mesh:
        if not same_vault:
            raise Refused([_vault_moves(ledger.access.vault, settings.key_vault)])
        return Mesh.ENABLED
    return Mesh.ENABLED if same_vault and ledger.mixed is None else Mesh.PENDING


def is_vault(arm_id: str, vault: KeyVault) -> bool:
    """True when the id is that of the configured vault; ARM ids do not distinguish case."""
    named = (
        f"/resourceGroups/{vault.resource_group}/providers/Microsoft.KeyVault/vaults/{vault.name}"
    )
    return arm_id.lower().endswith(named.lower())


def _vault_moves(arm_id: str, vault: KeyVault) -> Refusal:
    """`vault-moves`: a live mesh keeps its vault.

    Whether AKS takes another vault in place is documented nowhere; changing the source of the CA
    is documented as disabling the mesh and enabling it again.
    """
    return Refusal(
        "vault-moves",
        f"the mesh reads {arm_id}, the configuration names vault {vault.name} in resource group "
        f"{vault.resource_group}",
        "Set `keyVault` back. To move to another vault, disable the mesh first (`cluster.mesh: "
        "false`), which deletes Istio's custom resources, and enable it again afterwards.",
    )
