"""The output `rotation`: written only when everything it speaks of is done."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pulumi

from components.access import Access
from components.attempt import AttemptRecord
from components.cluster import Cluster
from components.refusing import refusing
from components.vault import BundleSecrets, Vault
from meshca.ledger import Access as Granted
from meshca.ledger import Ledger
from meshca.mesh import Mesh


def clock() -> datetime:
    """Now, rounded up to the second: a window must not end early by what its text leaves out."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)


def rotation(
    ledger: Ledger | None,
    *,
    mesh: Mesh,
    vault: Vault,
    bundle: BundleSecrets,
    attempt: AttemptRecord,
    access: Access,
    cluster: Cluster,
) -> pulumi.Output[dict[str, Any] | None]:
    """The ledger after this `up`, tied to the secrets, the access and the cluster it tells of."""

    @refusing()
    def written(known: list[Any]) -> dict[str, Any] | None:
        issued, described, tags, recorded, vault_id, principal, _ = known
        after = issued.ledger(
            ledger,
            written=tags,
            expected=described,
            recorded=recorded,
            access=Granted(vault_id, principal),
            mesh=mesh is Mesh.ENABLED,
            now=clock(),
        )
        return after.as_json() if after else None

    return pulumi.Output.all(
        bundle.issued,
        bundle.described,
        bundle.written,
        attempt.recorded,
        vault.id,
        access.principal,
        cluster.id,
    ).apply(written)
