"""`python -m meshca verify` against a real API server, with scripted istiods."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from rich.console import Console

from lab import layout
from lab.mesh.credentials import write_private
from lab.mesh.pods import Events
from meshca import verify_command
from meshca.cluster_connection import Connection
from meshca.cluster_view import ClusterView
from meshca.ledger import Record
from meshca.refusals import CertificateRef
from meshca.rotation import Held, Intermediate, Phase, posture
from tests import material
from tests.cluster import healthy
from tests.cluster.healthy import FILES, LEDGER
from tests.cluster.istiods import Istiods
from tests.cluster.plane import ISTIOD_NAMESPACE, Plane
from tests.cluster.stack import Meshed

pytestmark = pytest.mark.cluster


@dataclass(frozen=True)
class Verified:
    """How the command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What it printed for machines."""
        return dict(json.loads(self.out))

    @property
    def ids(self) -> set[str]:
        """The ids of what it found."""
        return {finding["id"] for finding in self.document["findings"]}


def verify(
    *arguments: str,
    directory: Path = layout.ROOT,
    environment: Mapping[str, str] | None = None,
    given: str | None = None,
) -> Verified:
    """Runs the command as users do."""
    answer = subprocess.run(
        [sys.executable, "-m", "meshca", "verify", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(layout.ROOT), **(environment or {})},
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    return Verified(answer.returncode, answer.stdout, answer.stderr)


@pytest.fixture
def files(plane: Plane, tmp_path: Path) -> tuple[str, ...]:
    """The command's arguments: a kubeconfig and a ledger."""
    return healthy.arguments(plane, tmp_path)


@pytest.fixture
def istiods(plane: Plane, namespace: str) -> Iterator[Istiods]:
    """Two istiods that show what the ledger says."""
    made = Istiods(plane, [namespace])
    made.take(FILES)
    yield made
    made.remove()


def test_a_healthy_mesh_ends_with_0(istiods: Istiods, files: tuple[str, ...]) -> None:
    """With a row for each check."""
    done = verify(*files)
    assert (done.code, done.err) == (0, "")
    assert "2 istiods with the plug-in CA mounted" in done.out
    assert f"2 istiods signing with a1 (serial {LEDGER.records['a1'].serial})" in done.out
    assert "1 namespace trusting a" in done.out
    assert "root a ends at" in done.out


def test_json_is_one_document(istiods: Istiods, files: tuple[str, ...]) -> None:
    """With the same findings."""
    done = verify(*files, "--json")
    assert done.document["exitCode"] == done.code == 0
    assert {"mount-ok", "issuer-ok", "trust-ok", "pods-ok", "ends"} <= done.ids


def test_a_replica_with_another_issuer_ends_with_4(
    istiods: Istiods, files: tuple[str, ...]
) -> None:
    """Named, while the other is fine."""
    other = material.authority("CN=Issuer B1,O=Istio", under=material.authority("CN=Root B"))
    istiods.serve(istiods.pods[1], other.certificate, [other.certificate])
    done = verify(*files, "--json")
    [wrong] = [each for each in done.document["findings"] if each["id"] == "wrong-issuer"]
    assert (done.code, wrong["names"]) == (4, [istiods.pods[1]])


def test_a_namespace_with_another_bundle_is_named(
    istiods: Istiods, files: tuple[str, ...], namespace: str
) -> None:
    """By name."""
    istiods.trust(namespace, material.authority("CN=Root B").pem)
    done = verify(*files, "--json")
    [stale] = [each for each in done.document["findings"] if each["id"] == "stale-trust"]
    assert (done.code, stale["names"]) == (4, [namespace])


@pytest.mark.parametrize(
    ("message", "id_"),
    [
        ("objectName:root-cert RESPONSE 403: Forbidden", "access-denied"),
        ("objectName:root-cert RESPONSE 404: SecretNotFound", "secret-not-found"),
    ],
)
def test_an_istiod_that_hangs_in_init_is_told_why(
    plane: Plane, istiods: Istiods, files: tuple[str, ...], message: str, id_: str
) -> None:
    """From the events of its pod."""
    # A name for each case: events outlive their pod, and two of one second have no order.
    pod = f"istiod-{id_}"
    istiods.put(pod, held=True)
    Events(plane.client, pod, ISTIOD_NAMESPACE, "uid").warn("FailedMount", message)
    done = verify(*files, "--json")
    assert done.code == 4
    assert id_ in done.ids


def test_a_ca_of_its_own_is_seen(istiods: Istiods, files: tuple[str, ...]) -> None:
    """By the mount that is missing."""
    istiods.put("istiod-alone", volume=False)
    done = verify(*files, "--json")
    [own] = [each for each in done.document["findings"] if each["id"] == "self-signed"]
    assert own["names"] == ["istiod-alone"]


@pytest.mark.parametrize(
    ("change", "id_"),
    [
        ({"user": "nobody"}, "cluster-forbidden: the cluster refuses: "),
        ({"port": ":6444"}, "cluster-unreachable: the cluster does not answer ("),
        ({"text": "hush"}, "kubeconfig-unusable: the kubeconfig {file} cannot be used: it is not"),
    ],
    ids=["forbidden", "away", "no kubeconfig"],
)
def test_what_cannot_be_judged_ends_with_1(
    plane: Plane, files: tuple[str, ...], change: dict[str, str], id_: str
) -> None:
    """One line, on standard error."""
    text = plane.user("nobody") if "user" in change else plane.kubeconfig
    text = change.get("text", text.replace(":6443", change.get("port", ":6443")))
    Path(files[1]).write_text(text)
    done = verify(*files)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(id_.format(file=files[1]))
    assert len(done.err.splitlines()) == 1


def test_a_missing_kubeconfig_ends_with_1(files: tuple[str, ...]) -> None:
    """With the command that gets one."""
    Path(files[1]).unlink()
    done = verify(*files)
    assert done.code == 1
    assert "az aks get-credentials" in done.err


def test_the_ledger_may_come_from_standard_input(istiods: Istiods, files: tuple[str, ...]) -> None:
    """As `pulumi stack output --json` prints it."""
    outputs = json.dumps({"mesh": "enabled", "rotation": LEDGER.as_json()})
    assert verify(*files[:2], "--ledger", "-", given=outputs).code == 0


@pytest.mark.parametrize("how", ["kubectl", "stack"])
def test_a_stack_is_enough(meshed: Meshed, tmp_path: Path, how: str) -> None:
    """With kubectl's kubeconfig and the context of the cluster's name, or with the stack's own."""
    kubeconfig = tmp_path / "kubeconfig"
    text = meshed.plane.kubeconfig.replace('"aks-test"', '"mesh"')
    write_private(kubeconfig, text.encode())
    environment = {**meshed.stack.environment, "KUBECONFIG": str(kubeconfig)}
    if how == "stack":
        meshed.stack.set_secret("cluster.kubeconfig", text)
        environment["KUBECONFIG"] = "/nowhere"
    with meshed.istiods.following(meshed.stack.state):
        meshed.plane.wait_for(lambda: _shows_trust(meshed))
    done = verify("--json", directory=meshed.stack.directory, environment=environment)
    assert done.code in (0, 3), done.out + done.err
    assert "issuer-ok" in done.ids


def _shows_trust(meshed: Meshed) -> bool:
    with Connection(meshed.plane.kubeconfig) as connection:
        seen = ClusterView(connection).look()
    return bool(seen.trust) and all(replica.chain for replica in seen.replicas)


def test_another_cluster_than_the_stacks_is_not_verified(meshed: Meshed, tmp_path: Path) -> None:
    """Whatever kubectl's current context is."""
    kubeconfig = tmp_path / "kubeconfig"
    write_private(kubeconfig, meshed.plane.kubeconfig.encode())
    environment = {**meshed.stack.environment, "KUBECONFIG": str(kubeconfig)}
    done = verify(directory=meshed.stack.directory, environment=environment)
    assert done.code == 1
    assert "Context 'mesh' not found" in done.err


PODS = 1000


@pytest.fixture(scope="module")
def crowded(plane: Plane) -> Iterator[str]:
    """A namespace of 1,000 meshed pods, which never get ready."""
    namespace = plane.namespace()
    healthy.crowd(plane, namespace, PODS)
    yield namespace
    plane.empty(namespace)


def test_a_crowded_cluster_is_read_once(
    plane: Plane, istiods: Istiods, crowded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pages of pods, a constant number of other requests, and no pod by itself."""
    paths: list[str] = []
    send = httpx2.Client.send

    def counted(client: httpx2.Client, request: httpx2.Request, **how: Any) -> httpx2.Response:
        paths.append(request.url.path)
        return send(client, request, **how)

    monkeypatch.setattr(httpx2.Client, "send", counted)
    with Connection(plane.kubeconfig) as connection:
        snapshot = verify_command.read(ClusterView(connection), Console(quiet=True))
    assert sum(1 for pod in snapshot.pods if pod.namespace == crowded) == PODS
    pages = [path for path in paths if path == "/api/v1/pods"]
    assert (len(pages), len(paths) - len(pages)) == (1 + (PODS + 9) // 500, 6)


def test_a_thousand_older_pods_are_counted_and_all_named(
    istiods: Istiods, crowded: str, files: tuple[str, ...]
) -> None:
    """In a row for people, one by one for machines."""
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=1)
    before = posture(Phase.STEADY, Intermediate("b1", "b"))
    moved = replace(
        LEDGER,
        since=later,
        window=(Held(before, LEDGER.pace, later),),
        records={**LEDGER.records, "b": Record(CertificateRef("b")),
                 "b1": Record(CertificateRef("b1"), "b")},
    )  # fmt: skip
    Path(files[3]).write_text(json.dumps(moved.as_json()))
    people, machines = verify(*files), verify(*files, "--json")
    [older] = [each for each in machines.document["findings"] if each["id"] == "older-pods"]
    assert len(older["names"]) >= PODS
    assert "meshed pods older than the last change" in people.out
    assert f"and {len(older['names']) - 5:,} more" in " ".join(people.out.split())
