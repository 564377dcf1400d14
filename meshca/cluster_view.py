"""Reading a cluster: istiod and its log, trust bundles, meshed pods, workloads to restart.

Only reading, and one dry run: what it means is judged elsewhere. Lists are read page by page, so
that thousands of pods neither time out nor fill the memory. Every error of the network and of the
API server becomes one line; kubeconfigs are never shown.
"""

import email.utils
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, TypeVar

import httpx2
import msgspec
import yaml
from lightkube import ApiError, Client, KubeConfig
from lightkube.config import client_adapter
from lightkube.config.kubeconfig import SingleConfig
from lightkube.core.exceptions import ConfigError
from lightkube.models.core_v1 import Container, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import DaemonSet, Deployment, StatefulSet
from lightkube.resources.core_v1 import ConfigMap, Event, Pod
from lightkube.types import PatchType

from meshca import certificates
from meshca.cluster_facts import IstiodPod, MeshedPod
from meshca.evidence import Replica, Seen
from meshca.istiod_log import IstiodLog
from meshca.refusals import Refusal, Refused
from meshca.restarts import ANNOTATION, FIELD_MANAGER, Target
from meshca.settings import Workload, WorkloadKind

NAMESPACE: Final = "aks-istio-system"
"""Where the add-on runs istiod (AKS, "Istio-based service mesh add-on")."""

ISTIOD_LABELS: Final = {"app": "istiod"}
ISTIOD_CONTAINER: Final = "discovery"
PROXY: Final = "istio-proxy"
"""The container of every meshed pod, gateways included; with native sidecars an init container."""

TRUST: Final = "istio-ca-root-cert"
TRUST_KEY: Final = "root-cert.pem"

VOLUME: Final = "cacerts"
CSI_DRIVER: Final = "secrets-store.csi.k8s.io"
DRIVER_NAMESPACE: Final = "kube-system"
DRIVER_LABELS: Final = {"app": "secrets-store-csi-driver"}
DRIVER_CONTAINER: Final = "secrets-store"

PAGE: Final = 500
"""Objects in one page of a list, as kubectl asks for them."""

SECONDS: Final = 20.0
"""How long one request may take."""

_KINDS: Final[Mapping[WorkloadKind, type[Deployment] | type[StatefulSet] | type[DaemonSet]]] = {
    WorkloadKind.DEPLOYMENT: Deployment,
    WorkloadKind.STATEFUL_SET: StatefulSet,
    WorkloadKind.DAEMON_SET: DaemonSet,
}

Page = Callable[[int], None]
"""Gets the number of objects read so far, after each page."""

_Object = TypeVar("_Object")


class UnreachableError(ConnectionError):
    """The API server does not answer, or answers that it cannot now; trying again may help."""


class ForbiddenError(Exception):
    """The API server refuses a request, and will again; its text is the API server's."""


class ClusterView:
    """One cluster. A context manager: leaving it closes its connections."""

    def __init__(self, kubeconfig: str, *, context: str | None = None) -> None:
        """Read a kubeconfig (YAML text) and pick its current context, or the one named.

        Raises Refused (`kubeconfig-unusable`). Nothing is asked of the cluster yet.
        """
        config = _configuration(kubeconfig, context)
        timeout = httpx2.Timeout(SECONDS)
        try:
            self._client = Client(config, timeout=timeout)
            # For what the typed client does not offer: logs as a stream, and the server's clock.
            self._plain = client_adapter.Client(
                config, client_adapter.ConnectionParams(timeout=timeout)
            )
        except (ConfigError, OSError, ValueError, TypeError, AttributeError) as error:
            # The others may quote what they could not read.
            why = str(error) if isinstance(error, ConfigError) else type(error).__name__
            raise Refused([_unusable(why)]) from None
        self.server: str = config.cluster.server
        self._logs: dict[str, IstiodLog] = {}

    def __enter__(self) -> "ClusterView":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._plain.close()

    def clock(self) -> datetime:
        """The API server's time, in whole seconds and rounded down, as it stamps new objects."""
        with _plain_errors():
            answer = self._plain.get("version")
            answer.raise_for_status()
        moment = email.utils.parsedate_to_datetime(answer.headers["Date"])
        return moment.astimezone(UTC)

    def may_look(self) -> None:
        """Ask for one of each thing that is read later: raises ForbiddenError what may not be."""
        for path in ("api/v1/pods", "api/v1/configmaps"):
            with _plain_errors():
                self._plain.get(path, params={"limit": 1}).raise_for_status()

    def look(self) -> Seen:
        """What istiod shows of its CA now: each replica's log, each namespace's trust."""
        return Seen(tuple(self.replicas(self.istiods())), self.trust())

    def replicas(self, pods: Sequence[IstiodPod]) -> list[Replica]:
        """What the logs of istiods say; those read before are only read on."""
        return [self._replica(pod) for pod in pods]

    def istiods(self) -> list[IstiodPod]:
        """Every istiod pod that has not ended, by name."""
        with _plain_errors():
            found = self._client.list(
                Pod, namespace=NAMESPACE, labels=dict(ISTIOD_LABELS), chunk_size=PAGE
            )
            pods = [_istiod(pod) for pod in found if not _over(pod)]
        return sorted(pods, key=lambda pod: pod.name)

    def _replica(self, pod: IstiodPod) -> Replica:
        if not pod.ready:
            return Replica(pod.name, trouble=f"not ready ({pod.status})")
        log = self._logs.setdefault(pod.name, IstiodLog())
        try:
            self._read_log(pod.name, log)
        except ForbiddenError as refused:
            return Replica(pod.name, trouble=f"its log cannot be read ({refused})")
        return Replica(pod.name, log.chain, log.refusal, log.self_signed)

    def _read_log(self, pod: str, log: IstiodLog) -> None:
        query = {"container": ISTIOD_CONTAINER}
        if log.until is not None:
            query["sinceTime"] = log.until.isoformat().replace("+00:00", "Z")
        path = f"api/v1/namespaces/{NAMESPACE}/pods/{pod}/log"
        with _plain_errors(), self._plain.stream("GET", path, params=query) as answer:
            if answer.is_error:
                answer.read()
                answer.raise_for_status()
            log.feed(answer.iter_lines())

    def trust(self) -> dict[str, tuple[str, ...]]:
        """Namespace -> SHA-256 of each root in its istio-ca-root-cert."""
        with _plain_errors():
            found = self._client.list(
                ConfigMap, namespace="*", fields={"metadata.name": TRUST}, chunk_size=PAGE
            )
            bundles = {
                str(_metadata(each).namespace): (each.data or {}).get(TRUST_KEY, "")
                for each in found
                if not _metadata(each).deletionTimestamp
            }
        return {namespace: _fingerprints(text) for namespace, text in bundles.items()}

    def meshed_pods(self, page: Page = lambda _: None) -> Iterator[MeshedPod]:
        """Every meshed pod of the cluster, page by page."""
        count = 0
        with _plain_errors():
            for count, pod in enumerate(
                self._client.list(Pod, namespace="*", chunk_size=PAGE), start=1
            ):
                if count % PAGE == 0:
                    page(count)
                if pod.spec is not None and _has_proxy(pod.spec) and not _over(pod):
                    yield _meshed(pod)
        page(count)

    def mount_failures(self) -> dict[str, str]:
        """Istiod pod -> the newest message of a FailedMount event about it."""
        failures: dict[str, tuple[datetime, str]] = {}
        with _plain_errors():
            found = self._client.list(
                Event,
                namespace=NAMESPACE,
                fields={"reason": "FailedMount", "involvedObject.kind": "Pod"},
                chunk_size=PAGE,
            )
            for event in found:
                pod, message = str(event.involvedObject.name), event.message or ""
                at = event.lastTimestamp or _metadata(event).creationTimestamp or _NEVER
                if pod not in failures or at >= failures[pod][0]:
                    failures[pod] = (at, message)
        return {pod: message for pod, (_, message) in failures.items()}

    def driver_arguments(self) -> tuple[str, ...] | None:
        """How the Secrets Store CSI driver was started; None where it cannot be seen."""
        try:
            with _plain_errors():
                found = self._client.list(
                    DaemonSet, namespace=DRIVER_NAMESPACE, labels=dict(DRIVER_LABELS)
                )
                sets = [each for each in found if each.spec is not None]
        except ForbiddenError:
            return None
        for each in sets:
            template = each.spec.template.spec if each.spec else None
            for container in template.containers if template else []:
                if container.name == DRIVER_CONTAINER:
                    return tuple(container.args or ())
        return None

    # Workloads to restart

    def matching(self, workload: Workload) -> list[Target]:
        """The workloads that a selector finds now."""
        kinds = [workload.kind] if workload.kind else list(WorkloadKind)
        found = []
        with _plain_errors():
            for kind in kinds:
                for each in self._client.list(
                    _KINDS[kind],
                    namespace=workload.namespace,
                    labels=dict(workload.selector or {}),
                    chunk_size=PAGE,
                ):
                    found.append(Target(workload.namespace, str(_metadata(each).name), kind))
        return found

    def why_not(self, target: Target) -> Refusal | None:
        """Why a workload cannot be restarted; None when it can.

        Asked before a secret is written: once it is, a workload that cannot be restarted holds up
        the whole `up`.
        """
        kind = _KINDS[target.kind]
        try:
            with _plain_errors():
                live = self._client.get(kind, target.name, namespace=target.namespace)
            if (stuck := _stuck(live)) is not None:
                return Refusal("workload-stuck", f"{target} {stuck[0]}", stuck[1])
            self._rehearse(target)
        except _MissingError:
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
        with _plain_errors():
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
                with _plain_errors():
                    live = self._client.get(
                        _KINDS[target.kind], target.name, namespace=target.namespace
                    )
                    steps = _without_manager(_metadata(live))
                    if steps:
                        self._client.patch(
                            _KINDS[target.kind],
                            target.name,
                            steps,
                            namespace=target.namespace,
                            patch_type=PatchType.JSON,
                        )
                return
            except _MissingError:
                return
            except _ChangedError:
                continue


_NEVER = datetime.min.replace(tzinfo=UTC)


class _MissingError(ForbiddenError):
    """404: there is no such object."""


class _ChangedError(ForbiddenError):
    """409 or 422: the object is not, or no longer, what the request assumed."""


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Errors of the client as the two kinds that a caller can act on."""
    try:
        yield
    except ApiError as error:
        raise _of_status(int(error.status.code or 0), str(error.status.message)) from None
    except httpx2.HTTPStatusError as error:
        raise _of_status(error.response.status_code, _message(error.response)) from None
    except (httpx2.HTTPError, OSError) as error:
        raise UnreachableError(str(error) or type(error).__name__) from None
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise UnreachableError(f"an answer that is no Kubernetes object: {error}") from None
    except ConfigError as error:
        # kubelogin and its like failed; what they print is theirs and may hold a token.
        raise UnreachableError(str(error).partition(":")[0]) from None


def _message(answer: httpx2.Response) -> str:
    """What a refusal says: the message of a Kubernetes Status, else the first line of any text."""
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        lines = answer.text.strip().splitlines()
        return lines[0] if lines else f"HTTP {answer.status_code}"


def _of_status(status: int, message: str) -> Exception:
    if status == 404:
        return _MissingError(message)
    if status in (409, 422):
        return _ChangedError(message)
    if status == 429 or status >= 500:
        return UnreachableError(message)
    return ForbiddenError(message)


def _configuration(kubeconfig: str, context: str | None) -> SingleConfig:
    try:
        config = KubeConfig.from_dict(yaml.safe_load(kubeconfig)).get(context)
    except ConfigError as error:
        raise Refused([_unusable(str(error))]) from None
    except KeyError as error:
        raise Refused([_unusable(f"it has no {error}")]) from None
    except (yaml.YAMLError, msgspec.ValidationError, TypeError, AttributeError):
        # Their texts quote the kubeconfig.
        raise Refused([_unusable("it is not one")]) from None
    if config is None or config.user is None:
        raise Refused([_unusable("it names no user")])
    return config


def _unusable(why: str) -> Refusal:
    return Refusal(
        "kubeconfig-unusable",
        f"the kubeconfig cannot be used: {why}",
        "Set `cluster.kubeconfig` with `pulumi config set --secret --path` to a kubeconfig that "
        "works where `pulumi up` runs, such as `az aks get-credentials --file -` writes one.",
    )


def _metadata(found: Any) -> ObjectMeta:
    """An object's metadata, which the API server never leaves out."""
    metadata: ObjectMeta = found.metadata
    return metadata


def _over(pod: Pod) -> bool:
    return pod.status is not None and pod.status.phase in ("Succeeded", "Failed")


def _has_proxy(spec: PodSpec) -> bool:
    containers: list[Container] = [*spec.containers, *(spec.initContainers or [])]
    return any(container.name == PROXY for container in containers)


def _meshed(pod: Pod) -> MeshedPod:
    metadata = _metadata(pod)
    owners = metadata.ownerReferences or []
    return MeshedPod(
        namespace=str(metadata.namespace),
        name=str(metadata.name),
        created=metadata.creationTimestamp or _NEVER,
        ending=metadata.deletionTimestamp is not None,
        owner=f"{owners[0].kind} {owners[0].name}" if owners else "",
    )


def _istiod(pod: Pod) -> IstiodPod:
    metadata, spec, status = _metadata(pod), pod.spec, pod.status
    conditions = (status.conditions if status else None) or []
    return IstiodPod(
        name=str(metadata.name),
        revision=(metadata.labels or {}).get("istio.io/rev", ""),
        ending=metadata.deletionTimestamp is not None,
        ready=any(each.type == "Ready" and each.status == "True" for each in conditions),
        status=_status(pod),
        mounts_certificates=any(
            volume.name == VOLUME and volume.csi is not None and volume.csi.driver == CSI_DRIVER
            for volume in ((spec.volumes if spec else None) or [])
        ),
    )


def _status(pod: Pod) -> str:
    """What `kubectl get pods` shows in its STATUS column."""
    status = pod.status
    if status is None:
        return "Pending"
    inits = status.initContainerStatuses or []
    done = sum(1 for each in inits if each.state and each.state.terminated)
    if done < len(inits):
        return f"Init:{done}/{len(inits)}"
    for each in status.containerStatuses or []:
        if each.state and each.state.waiting and each.state.waiting.reason:
            return each.state.waiting.reason
    return status.phase or "Pending"


@lru_cache(maxsize=256)  # one text for most of the namespaces
def _fingerprints(bundle: str) -> tuple[str, ...]:
    try:
        found = certificates.parse_certificates(bundle, where=TRUST)
    except Refused:
        return ()
    return tuple(certificates.fingerprint(certificate) for certificate in found)


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
