"""No update of a cluster that somebody else has changed since the stack last read it."""

from __future__ import annotations

import pulumi

from components import existing
from components.refusing import refusing
from meshca import adoption
from meshca.refusals import Refused
from meshca.settings import Cluster

GATEWAYS = ".".join(adoption.GATEWAYS)
"""To be ignored, in the API's own spelling: the SDK translates only names without a dot."""


def unchanged(name: str, settings: Cluster) -> pulumi.ResourceHookBinding:
    """Compares, before an update and in a preview of one, what the state knows with the cluster.

    Raises Refused (`cluster-changed`) where the request would set back what others did.
    """

    async def refuse_stale(change: pulumi.ResourceHookArgs) -> None:
        with refusing():
            live = await existing.read_cluster(settings)
            if live is None:
                return  # The update itself will say so.
            changes = adoption.outdated(change.old_outputs or {}, change.new_inputs or {}, live)
            if changes:
                raise Refused([adoption.outdated_refusal(settings.name, changes)])

    hook = pulumi.ResourceHook(
        f"{name}-unchanged", refuse_stale, pulumi.ResourceHookOptions(on_dry_run=True)
    )
    return pulumi.ResourceHookBinding(before_update=[hook])
