"""The workloads to restart: which there are, why one cannot be restarted, their release.

The restart itself is a patch by Pulumi; here it is only rehearsed, as a dry run.
"""

from collections.abc import Mapping
from typing import Any, Final

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import DaemonSet, Deployment, StatefulSet
from lightkube.types import PatchType

from meshca.cluster_connection import (
    PAGE,
    ChangedError,
    Connection,
    ForbiddenError,
    MissingError,
    plain_errors,
)
from meshca.cluster_objects import metadata_of
from meshca.refusals import Refusal
from meshca.restarts import ANNOTATION, FIELD_MANAGER, Target
from meshca.settings import Workload, WorkloadKind

_KINDS: Final[Mapping[WorkloadKind, type[Deployment] | type[StatefulSet] | type[DaemonSet]]] = {
    WorkloadKind.DEPLOYMENT: Deployment,
    WorkloadKind.STATEFUL_SET: StatefulSet,
    WorkloadKind.DAEMON_SET: DaemonSet,
}


class ClusterWorkloads:
    """The workloads of one cluster, as far as restarting them goes.

    Whatever asks the cluster raises UnreachableError or ForbiddenError.
    """

    def __init__(self, connection: Connection) -> None:
        self._client = connection.client

    def matching(self, workload: Workload) -> list[Target]:
        """The workloads that a selector finds now."""
        kinds = [workload.kind] if workload.kind else list(WorkloadKind)
        found = []
        with plain_errors():
            for kind in kinds:
                for each in self._client.list(
                    _KINDS[kind],
                    namespace=workload.namespace,
                    labels=dict(workload.selector or {}),
                    chunk_size=PAGE,
                ):
                    found.append(Target(workload.namespace, str(metadata_of(each).name), kind))
        return found

    def why_not(self, target: Target) -> Refusal | None:
        """Why a workload cannot be restarted; None when it can.

        Asked before a secret is written: once it is, a workload that cannot be restarted holds up
        the whole `up`.
        """
        kind = _KINDS[target.kind]
        try:
            with plain_errors():
                live = self._client.get(kind, target.name, namespace=target.namespace)
            if (stuck := _stuck(live)) is not None:
                return Refusal("workload-stuck", f"{target} {stuck[0]}", stuck[1])
            self._rehearse(target)
        except MissingError:
            return Refusal(
                "workload-missing",
                f"{target} does not exist",
                "Correct it in `workloads`, or take it out.",
            )
        except ForbiddenError as refused:
            return Refusal(
                "workload-forbidden",
                f"{target} may not be restarted ({refused})",
                f"Let whoever runs `pulumi up` get and patch it in namespace {target.namespace}, "
                "or take it out of `workloads`.",
            )
        return None

    def _rehearse(self, target: Target) -> None:
        """Apply the annotation as a restart would, without keeping it."""
        with plain_errors():
            self._client.patch(
                _KINDS[target.kind],
                target.name,
                _annotated(target, "rehearsal"),
                namespace=target.namespace,
                patch_type=PatchType.APPLY,
                field_manager=FIELD_MANAGER,
                dry_run=True,
            )

    def release(self, target: Target, *, attempts: int = 5) -> None:
        """Drop the field manager from a workload that was restarted; the annotation stays.

        Nobody owns it from then on, so that neither Helm nor Argo CD sees a second owner, and
        nothing is left behind when the stack is destroyed. A workload that is gone needs nothing.
        """
        for _ in range(attempts):
            try:
                with plain_errors():
                    live = self._client.get(
                        _KINDS[target.kind], target.name, namespace=target.namespace
                    )
                    steps = _without_manager(metadata_of(live))
                    if steps:
                        self._client.patch(
                            _KINDS[target.kind],
                            target.name,
                            steps,
                            namespace=target.namespace,
                            patch_type=PatchType.JSON,
                        )
                return
            except MissingError:
                return
            except ChangedError:
                continue


def _stuck(live: Deployment | StatefulSet | DaemonSet) -> tuple[str, str] | None:
    """What keeps a workload from rolling out a change of its pod template, and what to do."""
    if isinstance(live, Deployment):
        if live.spec is not None and live.spec.paused:
            return "is paused", "Resume it (`kubectl rollout resume`), or take it out."
        return None
    strategy = live.spec.updateStrategy if live.spec is not None else None
    if strategy is not None and strategy.type == "OnDelete":
        return (
            "has the update strategy OnDelete, so its pods stay until somebody deletes them",
            "Take it out of `workloads`, and delete its pods once `pulumi up` is done.",
        )
    return None


def _annotated(target: Target, value: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": str(target.kind),
        "metadata": {"name": target.name, "namespace": target.namespace},
        "spec": {"template": {"metadata": {"annotations": {ANNOTATION: value}}}},
    }


def _without_manager(metadata: ObjectMeta) -> list[dict[str, Any]]:
    """JSON patch steps that take the field manager away; none when it is not there.

    They only work on the version that was read: what was first in the list may be second by then.
    """
    indexes = [
        index
        for index, entry in enumerate(metadata.managedFields or [])
        if entry.manager == FIELD_MANAGER
    ]
    if not indexes:
        return []
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": metadata.resourceVersion}
    removed = [
        {"op": "remove", "path": f"/metadata/managedFields/{index}"} for index in reversed(indexes)
    ]
    return [test, *removed]
