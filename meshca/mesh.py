"""When the mesh may be enabled, and what to say while it may not.

ARM accepts a mesh whose vault it cannot read, answers Succeeded, and istiod then hangs in Init
(azure-cli's own recording does it). So the mesh waits until the ledger of an earlier `up` shows
that the four secrets are whole and that the add-on's identity was granted access.
"""

from enum import StrEnum

from meshca.ledger import Ledger
from meshca.refusals import Refusal, Refused
from meshca.settings import Settings


class Mesh(StrEnum):
    """What this `up` does with the service mesh profile."""

    ENABLED = "enabled"
    PENDING = "pending: run `pulumi up` again to enable it"
    BOOTSTRAP = "pending: no issuer is active yet"
    DISABLED = "disabled"


def decide(settings: Settings, ledger: Ledger | None, *, vault_id: str) -> Mesh:
    """Enabled only over a ledger that shows whole secrets and access to this very vault.

    Raises Refused (`vault-moves`) when a live mesh would change its vault.
    """
    if (refusal := vault_refusal(settings, ledger, vault_id=vault_id)) is not None:
        raise Refused([refusal])
    if not settings.cluster.mesh:
        return Mesh.DISABLED
    if settings.active_issuer is None:
        return Mesh.BOOTSTRAP
    granted = ledger is not None and ledger.access is not None and ledger.access.vault == vault_id
    return Mesh.ENABLED if granted else Mesh.PENDING


def vault_refusal(settings: Settings, ledger: Ledger | None, *, vault_id: str) -> Refusal | None:
    """`vault-moves`: a live mesh keeps its vault.

    Whether AKS takes another vault in place is documented nowhere; changing the source of the CA
    is documented as disabling the mesh and enabling it again.
    """
    if ledger is None or ledger.access is None or ledger.access.vault == vault_id:
        return None
    if not (ledger.mesh and settings.cluster.mesh):
        return None
    return Refusal(
        "vault-moves",
        f"the mesh reads {ledger.access.vault}, the configuration names {vault_id}",
        "Set `keyVault` back. To move to another vault, disable the mesh first (`cluster.mesh: "
        "false`), which deletes Istio's custom resources, and enable it again afterwards.",
    )
