"""Clients of the cluster's API server that threads may share.

lightkube decodes with msgspec, which works out a type's layout when the type is first decoded.
msgspec 0.22 crashes the interpreter when two threads do that for the same type at once, so it is
done here for every type in use, once, before anybody has a client.
"""

import functools
from pathlib import Path

import msgspec
from lightkube import Client, KubeConfig
from lightkube.core import decoders
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import (
    ConfigMap,
    Event,
    Namespace,
    Node,
    Pod,
    PodBinding,
    ServiceAccount,
    ServiceAccountToken,
)

KINDS = (
    ConfigMap,
    CustomResourceDefinition,
    Deployment,
    Event,
    Namespace,
    Node,
    Pod,
    PodBinding,
    ServiceAccount,
    ServiceAccountToken,
)


def connect(kubeconfig: Path) -> Client:
    """Return a client with the rights of a kubeconfig file; nothing is taken from elsewhere."""
    _work_out_types()
    return Client(KubeConfig.from_file(str(kubeconfig)), trust_env=False)


@functools.cache
def _work_out_types() -> None:
    for kind in KINDS:
        msgspec.json.Decoder(kind)
        decoders.decode_list(b'{"items": [], "metadata": {}}', kind)
    msgspec.json.Decoder(decoders.WatchEvent)
    decoders.decode_status(b"{}")
