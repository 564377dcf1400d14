"""Stand-in for the part of AKS that installs the Istio add-on.

It watches the managed cluster's service mesh profile and lays, per revision, what AKS lays: the
namespace, a SecretProviderClass `istio-spc-REVISION` and a Deployment `istiod-REVISION` (names:
the support article "Istio add-on plug-in CA certificates"). The pods mount the plug-in CA through
the CSI driver, which is why a missing permission shows as pods that hang in `Init:0/2`.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

import httpx2
from lightkube import ApiError, Client, codecs
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition  # noqa: F401 - registers
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Namespace

from lab.azure.data_plane import MeshCluster, PlugIn
from lab.mesh import csi
from lab.mesh.istiod import CONTAINER, NAMESPACE

VOLUME: Final = "cacerts"
REPLICAS: Final = 2
"""What AKS starts with (a HorizontalPodAutoscaler from 2 to 5)."""

REVISION_LABEL: Final = "istio.io/rev"
FIELD_MANAGER: Final = "aks-istio-addon"
INIT_CONTAINERS: Final = ("init-1", "init-2")
"""A stalled add-on shows `Init:0/2` on AKS, so there are two; their names are the lab's."""

_GROUP = "secrets-store.csi.x-k8s.io"
ProviderClass = create_namespaced_resource(
    _GROUP, "v1", "SecretProviderClass", "secretproviderclasses"
)

_Profile = tuple[tuple[str, ...], PlugIn | None]
"""Revisions, and the plug-in CA if there is one."""


def deployment_name(revision: str) -> str:
    """The Deployment of a revision, such as `istiod-asm-1-29`."""
    return f"istiod-{revision}"


class AddOn:
    """Lays what the service mesh profile asks for, and removes it when the mesh is disabled."""

    def __init__(
        self,
        client: Client,
        *,
        replicas: int = REPLICAS,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`environment` is added to istiod's container, as mesh-wide settings would."""
        self._client = client
        self._replicas = replicas
        self._environment = dict(environment or {})
        self._laid: _Profile | Literal["unknown"] | None = "unknown"

    def reconcile(self, cluster: MeshCluster | None) -> bool:
        """Make the objects agree with the profile; False when the API server has to be asked again.

        Idempotent, and free when nothing has changed.
        """
        wanted = (cluster.revisions, cluster.plugin) if cluster and cluster.mesh else None
        if wanted == self._laid:
            return True
        try:
            if wanted is None:
                self._remove(Namespace, NAMESPACE)
            else:
                self._lay(*wanted)
        except httpx2.HTTPError:
            # The namespace is still going away, or the CRD is not served yet.
            return False
        self._laid = wanted
        return True

    def _lay(self, revisions: tuple[str, ...], plugin: PlugIn | None) -> None:
        self._apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        if plugin is not None:
            self._apply(_definition())
        for revision in revisions:
            if plugin is not None:
                self._apply(_provider_class(revision, plugin))
            self._apply(
                _deployment(revision, plugin is not None, self._replicas, self._environment)
            )
        before = () if self._laid is None or self._laid == "unknown" else self._laid[0]
        for revision in before:
            if revision not in revisions:
                self._client.delete(Deployment, deployment_name(revision), namespace=NAMESPACE)

    def _apply(self, manifest: dict[str, Any]) -> None:
        self._client.apply(codecs.from_dict(manifest), field_manager=FIELD_MANAGER, force=True)

    def _remove(self, kind: type[Namespace], name: str) -> None:
        try:
            self._client.delete(kind, name)
        except ApiError as error:
            if error.status.code != 404:
                raise


def read_provider_class(client: Client, name: str, namespace: str) -> csi.SecretProviderClass:
    """Return what a SecretProviderClass tells the driver to read. Raises csi.MountError."""
    try:
        found = client.get(ProviderClass, name, namespace=namespace)
    except ApiError as error:
        raise csi.MountError(
            "rpc error: code = Unknown desc = failed to get secretproviderclass"
            f" {namespace}/{name}, error: {error}"
        ) from None
    parameters: dict[str, str] = (found.get("spec") or {}).get("parameters") or {}
    objects = tuple(
        (each["objectName"], each["objectAlias"]) for each in json.loads(parameters["objects"])
    )
    return csi.SecretProviderClass(parameters["keyvaultName"], objects)


def _definition() -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"secretproviderclasses.{_GROUP}"},
        "spec": {
            "group": _GROUP,
            "names": {
                "kind": "SecretProviderClass",
                "listKind": "SecretProviderClassList",
                "plural": "secretproviderclasses",
                "singular": "secretproviderclass",
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _provider_class(revision: str, plugin: PlugIn) -> dict[str, Any]:
    # The files' names are what istiod looks for; the objects' names are the user's.
    objects = [
        {"objectName": name, "objectType": "secret", "objectAlias": file}
        for name, file in (
            (plugin.root_cert_object_name, "root-cert.pem"),
            (plugin.cert_object_name, "ca-cert.pem"),
            (plugin.key_object_name, "ca-key.pem"),
            (plugin.cert_chain_object_name, "cert-chain.pem"),
        )
        if name
    ]
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "SecretProviderClass",
        "metadata": {"name": f"istio-spc-{revision}", "namespace": NAMESPACE},
        "spec": {
            "provider": "azure",
            "parameters": {"keyvaultName": plugin.vault or "", "objects": json.dumps(objects)},
        },
    }


def _deployment(
    revision: str, plugged: bool, replicas: int, environment: Mapping[str, str]
) -> dict[str, Any]:
    labels = {"app": "istiod", REVISION_LABEL: revision}
    image = "mcr.microsoft.com/oss/istio/pilot"
    mounts = [{"name": VOLUME, "mountPath": "/etc/cacerts", "readOnly": True}] if plugged else []
    volume = {
        "name": VOLUME,
        "csi": {
            "driver": csi.DRIVER,
            "readOnly": True,
            "volumeAttributes": {"secretProviderClass": f"istio-spc-{revision}"},
        },
    }
    spec = {
        "initContainers": [{"name": name, "image": image} for name in INIT_CONTAINERS],
        "containers": [
            {
                "name": CONTAINER,
                "image": image,
                "env": [{"name": key, "value": value} for key, value in environment.items()],
                "volumeMounts": mounts,
            }
        ],
        "volumes": [volume] if plugged else [],
        "terminationGracePeriodSeconds": 5,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": deployment_name(revision),
            "namespace": NAMESPACE,
            "labels": labels,
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
