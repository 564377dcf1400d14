"""What runs in the mesh: Deployments of one pod each, with an agent and an Envoy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lightkube import Client, codecs

from lab.mesh import proxy
from lab.mesh.addon import REVISION_LABEL

NAMESPACE: Final = "mesh-lab"
"""Where the workloads run."""

_FIELD_MANAGER = "lab"


@dataclass(frozen=True)
class Workloads:
    """The Deployments `app-0`, `app-1` and so on in NAMESPACE."""

    count: int
    leaf_ttl: float
    """Seconds: what the agents ask for."""
    trust_is_pushed: bool
    """PROXY_CONFIG_XDS_AGENT."""

    def apply(self, client: Client, revision: str) -> None:
        """Lay all of them, in the mesh of a revision. Raises httpx2.HTTPError."""
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {REVISION_LABEL: revision}},
        }
        environment = {
            "SECRET_TTL": f"{self.leaf_ttl}s",
            "PROXY_CONFIG_XDS_AGENT": str(self.trust_is_pushed).lower(),
        }
        deployments = [
            _deployment(f"app-{number}", revision, environment) for number in range(self.count)
        ]
        for manifest in (namespace, *deployments):
            client.apply(codecs.from_dict(manifest), field_manager=_FIELD_MANAGER, force=True)


def _deployment(name: str, revision: str, environment: Mapping[str, str]) -> dict[str, Any]:
    labels = {"app": name}
    container = {
        "name": proxy.CONTAINER,
        "image": "lab/istio-proxy",
        "env": [{"name": key, "value": value} for key, value in environment.items()],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": {**labels, REVISION_LABEL: revision}},
                "spec": {"containers": [container]},
            },
        },
    }
