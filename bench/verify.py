"""What `python -m meshca verify` costs on a crowded cluster."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lightkube.resources.core_v1 import Pod
from rich.console import Console

from bench.timing import Ratio, alternating, command
from lab import layout
from meshca import verify_command
from meshca.cluster_connection import Connection
from meshca.cluster_view import ClusterView
from meshca.verify import judge
from tests.cluster import healthy
from tests.cluster.istiods import Istiods
from tests.cluster.plane import Plane

PODS: Final = 1000
PAGE: Final = 500
"""What kubectl asks for at a time."""


def verify(directory: Path) -> Iterator[Ratio]:
    """Reading and judging a mesh of 1,000 pods, over one paged list of those pods.

    Once within one process, where nothing but requests and judgement is timed, and once as two
    commands, each with the start of Python and the import of the client.
    """
    plane = Plane(directory)
    try:
        namespace = plane.namespace()
        istiods = Istiods(plane, [namespace])
        istiods.take(healthy.FILES)
        healthy.crowd(plane, namespace, PODS)
        arguments = healthy.arguments(plane, directory)

        def read() -> None:
            with Connection(plane.kubeconfig) as connection:
                snapshot = verify_command.read(ClusterView(connection), Console(quiet=True))
            judge(healthy.LEDGER, snapshot)

        python = str(layout.PYTHON)
        listing, reading, lister, verifier = alternating(
            lambda: _list(plane),
            read,
            command([python, "-c", _LIST, arguments[1]]),
            command([python, "-m", "meshca", "verify", *arguments], cwd=layout.ROOT),
        )
    finally:
        plane.stop()
    yield Ratio(f"verify, {PODS:,} pods / one paged list", reading, listing, 3.0)
    yield Ratio("the same, command / command", verifier, lister, 3.0)


def _list(plane: Plane) -> int:
    return sum(1 for _ in plane.client.list(Pod, namespace="*", chunk_size=PAGE))


_LIST: Final = f"""
import sys
from lightkube import Client, KubeConfig
from lightkube.resources.core_v1 import Pod
client = Client(KubeConfig.from_file(sys.argv[1]))
print(sum(1 for _ in client.list(Pod, namespace="*", chunk_size={PAGE})))
"""
