"""Workloads restarted as evidence that nothing of an earlier posture is in use.

Imported only when workloads are configured: no other preview pays for pulumi-kubernetes.

In one `up`: the secrets are written, every istiod is seen to show them, the workloads restart by a
patch of one annotation, and then the cluster is asked which meshed pods are older than that. A
preview asks the cluster nothing, nor AKS for its kubeconfig: with that one, whoever may only look
could do in the cluster whatever its user may.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi.output import UNKNOWN
from pulumi_azure_native import containerservice
from pulumi_kubernetes.apps import v1 as apps

from components.access import Access
from components.attempt import AttemptRecord
from components.cluster import ClusterComponent
from components.ledger import clock
from components.refusing import refusing
from components.vault import BundleSecrets
from meshca import evidence, restarts
from meshca.cluster_connection import Connection, ForbiddenError, UnreachableError
from meshca.cluster_view import ClusterView
from meshca.cluster_workloads import ClusterWorkloads
from meshca.issued import WRITTEN, Issued
from meshca.ledger import Attempt, Ledger
from meshca.ledger import Restarts as Made
from meshca.plan import Plan
from meshca.refusals import Refusal, Refused, iso
from meshca.restarts import Target
from meshca.settings import Settings, WorkloadKind

PATCHES = {
    WorkloadKind.DEPLOYMENT: apps.DeploymentPatch,
    WorkloadKind.STATEFUL_SET: apps.StatefulSetPatch,
    WorkloadKind.DAEMON_SET: apps.DaemonSetPatch,
}

LOOK_EVERY = timedelta(seconds=2)


@dataclass(frozen=True)
class Prepared:
    """What is to be restarted in this `up`, and how to reach the cluster."""

    kubeconfig: str | None
    """None in a preview, unless one is configured."""
    targets: tuple[Target, ...]
    outstanding: bool
    """Whether proxies may hold something else than what the plan wants."""
    before: Made | None
    """The restarts that were made for the same trust and signer earlier."""


async def prepare(settings: Settings, plan: Plan, ledger: Ledger | None) -> Prepared | None:
    """Finds out what to restart; None when there is nothing to restart for.

    In an `up` that has to restart, the cluster is asked whether all of it can be done, so that
    what is missing or forbidden is refused before a secret is written. Raises Refused.
    """
    before = restarts.made_for(plan, ledger)
    outstanding = restarts.outstanding(plan, ledger, now=clock())
    if not outstanding and before is None:
        return None
    if not restarts.told_apart(settings, plan):
        pulumi.log.warn(
            "CA: no workload is restarted, and the window has to pass instead: another issuer in "
            f"the chain has the subject of {plan.named(plan.posture.signer.identity)}, so that "
            "istiod's log cannot show which of the two signs."
        )
        return None
    kubeconfig = await _kubeconfig(settings)
    # As far as it is known without the cluster: also by what selectors found for an earlier change.
    targets = restarts.known_targets(settings, ledger.restarts if ledger else None)
    if not outstanding and before is not None:
        targets = restarts.still_made(settings, before)
    elif kubeconfig is not None and not pulumi.runtime.is_dry_run():
        targets = await asyncio.to_thread(_all_targets, settings, kubeconfig)
    elif any(workload.name is None for workload in settings.workloads):
        pulumi.log.info("CA: `pulumi up` asks the cluster which workloads the selectors mean.")
    return Prepared(kubeconfig, tuple(targets), outstanding, before)


class Restarts(pulumi.ComponentResource):
    """The patches that restart workloads, and what came of them."""

    made: pulumi.Output[Made | None]
    """For the ledger; None as long as nothing was restarted for the trust and signer in force."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        prepared: Prepared,
        plan: Plan,
        ledger: Ledger | None,
        *,
        bundle: BundleSecrets,
        attempt: AttemptRecord,
        access: Access | None,
        cluster: ClusterComponent,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aks-istio-ca:index:Restarts", name, None, opts)
        self._settings = settings
        self._prepared = prepared
        self._plan = plan
        self._ledger = ledger
        self._digest = restarts.digest(plan.posture)
        written = pulumi.Output.all(
            bundle.issued,
            bundle.described,
            bundle.written,
            attempt.recorded,
            access.principal if access is not None else None,
            cluster.id,
        )
        # Named after what is shown, and never changed: an `up` that failed after the first restart
        # goes on from the same moment, and does not take what it has restarted for older than it.
        stash = pulumi.Stash(
            f"{name}-{self._digest}",
            input={"shown": written.apply(self._shown)},
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["input"]),
        )
        known = prepared.kubeconfig is not None
        kubeconfig: Any = prepared.kubeconfig if known else UNKNOWN
        provider = kubernetes.Provider(
            f"{name}-kubernetes",
            kubeconfig=pulumi.Output.secret(kubeconfig),
            # The kubeconfig's certificates change with time; the cluster stays the same.
            cluster_identifier=cluster.id,
            # What is not known to a preview would count as a change: it goes on with the recorded.
            opts=pulumi.ResourceOptions(
                parent=self, ignore_changes=[] if known else ["kubeconfig"]
            ),
        )
        # Derived from the moment, so that a preview asks no cluster about it.
        annotation = stash.input.apply(lambda _: self._digest)
        patches = [self._patch(target, annotation, provider) for target in prepared.targets]
        self.made = pulumi.Output.all(
            attempt.recorded, stash.input, bundle.written, *(patch.id for patch in patches)
        ).apply(self._outcome)
        self.register_outputs({})

    def _patch(
        self, target: Target, annotation: pulumi.Output[str], provider: kubernetes.Provider
    ) -> pulumi.CustomResource:
        within = f"{int(self._settings.restart_timeout.total_seconds())}s"
        resource = PATCHES[target.kind](
            f"restart-{target.kind}-{target.namespace}-{target.name}".lower(),
            metadata={
                "name": target.name,
                "namespace": target.namespace,
                "annotations": {"pulumi.com/patchFieldManager": restarts.FIELD_MANAGER},
            },
            spec={"template": {"metadata": {"annotations": {restarts.ANNOTATION: annotation}}}},
            opts=pulumi.ResourceOptions(
                parent=self,
                provider=provider,
                # Without the annotation the workload would restart once more.
                retain_on_delete=True,
                custom_timeouts=pulumi.CustomTimeouts(create=within, update=within),
            ),
        )
        assert isinstance(resource, pulumi.CustomResource)
        return resource

    def _needed(self, recorded: Attempt | None) -> bool:
        return self._prepared.outstanding or restarts.outstanding(
            self._plan, self._ledger, now=clock(), recorded=recorded
        )

    def _shown(self, known: list[Any]) -> Any:
        """The moment from which on every istiod shows the plan's posture, as text."""
        issued, described, written, recorded, *_ = known
        if not self._needed(recorded):
            return iso(self._prepared.before.shown) if self._prepared.before else UNKNOWN
        whole = all(written[name] == secret.tags for name, secret in described.items())
        if pulumi.runtime.is_dry_run() or not whole:
            return UNKNOWN
        return self._in_thread(lambda connection: iso(self._wait(ClusterView(connection), issued)))

    def _wait(self, view: ClusterView, issued: Issued) -> datetime:
        expected = issued.shown()
        assert expected is not None, "prepare refuses issuers that cannot be told apart"
        evidence.wait(
            view.look,
            expected,
            # Before the poll is due nothing can be said to be late.
            timeout=max(self._settings.restart_timeout, self._plan.pace.reload),
            reload=self._plan.pace.reload,
            tell=pulumi.log.info,
            now=clock,
            every=LOOK_EVERY,
        )
        # Pods are stamped in whole seconds, rounded down: only from the next one on is a pod of
        # that second newer than what was just seen.
        moment = view.clock() + timedelta(seconds=1)
        time.sleep(1.0)
        pulumi.log.info(
            f"CA: every istiod shows `{self._plan.stance}`; "
            f"{len(self._prepared.targets)} workloads restart."
        )
        return moment

    def _outcome(self, known: list[Any]) -> Any:
        recorded, stash, tags, *_ = known
        if not self._needed(recorded):
            return self._prepared.before
        if pulumi.runtime.is_dry_run():
            return UNKNOWN
        made = Made(
            self._digest,
            datetime.fromisoformat(stash["shown"]),
            restarts.texts(self._prepared.targets),
        )
        written = [each[WRITTEN] for each in tags.values()]
        return self._in_thread(lambda connection: self._settled(connection, made, written))

    def _settled(self, connection: Connection, made: Made, written: Sequence[str]) -> Made:
        laggards = _older(ClusterView(connection), made.shown, self._settings.restart_timeout)
        workloads = ClusterWorkloads(connection)
        for target in self._prepared.targets:
            workloads.release(target)
        made = replace(made, laggards=laggards)
        counts = not (laggards or restarts.overtaken(made, written))
        (pulumi.log.info if counts else pulumi.log.warn)(restarts.outcome(made, written))
        return made

    async def _in_thread(self, work: Callable[[Connection], Any]) -> Any:
        """Runs what asks the cluster off the event loop, on which the engine's answers come."""

        assert self._prepared.kubeconfig is not None, "only an `up` asks the cluster"
        kubeconfig = self._prepared.kubeconfig

        def run() -> Any:
            with _reaching(), Connection(kubeconfig) as connection:
                return work(connection)

        with refusing():
            return await asyncio.to_thread(run)


def _all_targets(settings: Settings, kubeconfig: str) -> list[Target]:
    """Every workload that is configured, by name or by selector; refused unless all can restart."""
    with _reaching(), Connection(kubeconfig) as connection:
        ClusterView(connection).may_look()
        workloads = ClusterWorkloads(connection)
        found = set(restarts.known_targets(settings, None))
        for workload in settings.workloads:
            if workload.name is None:
                matching = workloads.matching(workload)
                found.update(matching)
                if not matching:
                    pulumi.log.warn(f"CA: there is no {workload} to restart.")
        refusals = [
            refusal
            for target in sorted(found)
            if (refusal := workloads.why_not(target)) is not None
        ]
    if refusals:
        raise Refused(refusals)
    return sorted(found)


def _older(view: ClusterView, moment: datetime, timeout: timedelta) -> tuple[str, ...]:
    """The meshed pods older than `moment`; those on their way out get `timeout` to end."""
    deadline = time.monotonic() + timeout.total_seconds()
    while True:
        try:
            older = [pod for pod in view.meshed_pods() if pod.created < moment]
            if not any(pod.ending for pod in older) or time.monotonic() > deadline:
                return tuple(sorted(map(str, older)))
        except UnreachableError:
            if time.monotonic() > deadline:
                raise
        time.sleep(LOOK_EVERY.total_seconds())


class _reaching:  # noqa: N801 - reads as the context manager that it is
    """Turns what keeps the program from the cluster into a refusal."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UnreachableError):
            raise Refused(
                [
                    Refusal(
                        "cluster-unreachable",
                        f"workloads are to restart, but the cluster does not answer ({error})",
                        "Run `pulumi up` where it can be reached (`cluster.kubeconfig` names "
                        "another way), or set `workloads: []` to wait instead.",
                    )
                ]
            ) from None
        if isinstance(error, ForbiddenError):
            raise Refused(
                [
                    Refusal(
                        "cluster-forbidden",
                        f"workloads are to restart, but the cluster refuses: {error}",
                        "Whoever runs `pulumi up` lists pods and ConfigMaps in all namespaces, "
                        "reads istiod's log, and patches the workloads; or set `workloads: []`.",
                    )
                ]
            ) from None


async def _kubeconfig(settings: Settings) -> str | None:
    """The configured kubeconfig, or the one that AKS hands out for the cluster; to an `up` only."""
    if settings.cluster.kubeconfig is not None:
        return settings.cluster.kubeconfig.get_secret_value()
    if pulumi.runtime.is_dry_run():
        return None
    try:
        answer = await containerservice.list_managed_cluster_user_credentials(
            resource_group_name=settings.cluster.resource_group,
            resource_name=settings.cluster.name,
            # Clusters with Entra ID: the other format is an auth provider that no client knows.
            format="exec",
        )
    except Exception as error:  # the invoke raises nothing more specific
        raise Refused(
            [
                Refusal(
                    "no-credentials",
                    f"AKS hands out no credentials for cluster {settings.cluster.name} ({error})",
                    "Let whoever runs this list its user credentials, or set `cluster.kubeconfig` "
                    "with `pulumi config set --secret --path`.",
                )
            ]
        ) from error
    return base64.b64decode(answer.kubeconfigs[0].value).decode()
