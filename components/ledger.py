"""The output `rotation`: written only when everything it speaks of is done."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pulumi

from components.access import Access
from components.attempt import AttemptRecord
from components.cluster import ClusterComponent
from components.refusing import refusing
from components.vault import BundleSecrets, Vault
from meshca.ledger import Access as Granted
from meshca.ledger import Ledger, Restarts
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
    access: Access | None,
    cluster: ClusterComponent,
    restarts: pulumi.Input[Restarts | None] = None,
) -> pulumi.Output[dict[str, Any] | None]:
    """The ledger after this `up`, tied to the secrets, the access and the cluster it tells of.

    An `up` with `--target` does not make what is new and left out, so that it may not come to know
    all of this. The ledger then stays as after an `up` that failed: the engine would otherwise
    record an unknown output in its place, which reads as no ledger at all.
    """

    @refusing()
    def written(known: list[Any]) -> dict[str, Any] | None:
        issued, described, tags, recorded, vault_id, principal, made, *_ = known
        after = issued.ledger(
            ledger,
            written=tags,
            expected=described,
            recorded=recorded,
            access=Granted(vault_id, principal) if principal else None,
            mesh=mesh is Mesh.ENABLED,
            now=clock(),
            restarts=made,
        )
        return after.as_json() if after else None

    after = pulumi.Output.all(
        bundle.issued,
        bundle.described,
        bundle.written,
        attempt.recorded,
        vault.id,
        access.principal if access is not None else None,
        restarts,
        cluster.id,
        bundle.judged,
    ).apply(written)

    async def left_out() -> bool:
        return not (pulumi.runtime.is_dry_run() or await after.is_known())

    def recorded(unknown: bool) -> pulumi.Input[dict[str, Any] | None]:
        if not unknown:
            return after
        pulumi.log.warn("The ledger stays as it was: this `up` left out what it would tell of.")
        return ledger.as_json() if ledger else None

    unknown: pulumi.Output[bool] = pulumi.Output.from_input(left_out())
    return unknown.apply(recorded)
