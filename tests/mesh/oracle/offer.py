"""Offering bundles to the real istiod and, when it starts, to a real agent and Envoy.

Each bundle gets an istiod of its own on an address of its own, against one real API server, and
then one pod: its agent asks istiod for a leaf, its Envoy calls itself over mTLS, so that the leaf
is verified by both sides of a handshake. Nothing is judged here; what happened is written down.
"""

import re
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lightkube import ApiError
from lightkube.models.authentication_v1 import TokenRequestSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, ServiceAccountToken

from lab.mesh import network, probes, proxy
from lab.mesh.control_plane import ControlPlane
from lab.mesh.istiod import NAMESPACE, Discovery, service_name
from lab.mesh.proxy import Proxy
from meshca.bundle import LEAF_TTL
from meshca.checking import check
from tests.mesh.oracle.cases import Case, Group, Material
from tests.mesh.oracle.making import ROOT_CERT, Files

_WORKERS = 3
_START_SECONDS = 30.0
_LEAF_SECONDS = 30.0
_REVISION = "asm-1-29"


@dataclass(frozen=True)
class Observation:
    """What became of one bundle."""

    case: Case
    refusal: str | None
    """istiod's own words when it did not start."""
    failure: str | None
    """What went wrong after it had started; None when peers verify each other."""
    ours: tuple[str, ...]
    """The ids of `meshca check`, each once; empty when it accepts."""

    @property
    def outcome(self) -> Group:
        """What istiod and the peers made of it; what works counts as sound."""
        if self.refusal is not None:
            return "refused"
        return "sound" if self.failure is None else "trap"


def offer(cases: Sequence[Case]) -> list[Observation]:
    """Offer every case; the observations come in the same order."""
    with tempfile.TemporaryDirectory(prefix="oracle-") as folder:
        bench = _Bench(Path(folder))
        try:
            bench.start()
            with ThreadPoolExecutor(_WORKERS, "oracle") as pool:
                return list(pool.map(bench.observe, cases))
        finally:
            bench.stop()


class _Bench:
    """An API server, and per case an istiod and a pod."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._run = folder / "run"
        self._network = network.choose()
        self._plane = ControlPlane(folder / "plane", self._run, self._network, "oracle")
        self._material = Material()
        self._making = threading.Lock()
        self._token = ""

    def start(self) -> None:
        self._plane.start()
        with self._plane.client() as client:
            # Where an istiod without a plug-in CA keeps its own.
            client.apply(Namespace(metadata=ObjectMeta(name=NAMESPACE)), field_manager="oracle")
            request = ServiceAccountToken(
                metadata=ObjectMeta(name="default", namespace="default"),
                spec=TokenRequestSpec(audiences=["istio-ca"], expirationSeconds=3600),
            )
            deadline = time.monotonic() + _START_SECONDS
            while not self._token:
                # The controller manager makes the account a moment after the namespace.
                with suppress(ApiError):
                    answer = client.create(request, "default", namespace="default")
                    self._token = (answer.status and answer.status.token) or ""
                if time.monotonic() > deadline:
                    raise TimeoutError("no token for the default ServiceAccount")

    def stop(self) -> None:
        self._plane.stop()

    def observe(self, case: Case) -> Observation:
        with self._making:
            files = case.build(self._material)
        folder = Path(tempfile.mkdtemp(dir=self._folder, prefix="case-"))
        certificates = folder / "cacerts"
        certificates.mkdir()
        for name, content in files.items():
            (certificates / name).write_bytes(content)
        verdict = check(certificates, now=datetime.now(UTC), leaf_ttl=LEAF_TTL)
        ours = tuple(dict.fromkeys(each.id for each in verdict.refusals))
        address = self._network.allocate()
        istiod = Discovery(
            f"istiod-{folder.name}",
            address,
            revision=_REVISION,
            directory=folder,
            run=self._run,
            kubeconfig=self._plane.kubeconfig,
            certificates=certificates,
            environment={"ENABLE_LEADER_ELECTION": "false"},
        )
        istiod.start()
        try:
            refusal = _refusal(istiod)
            failure = None if refusal else self._failure(istiod, address, folder, files)
        finally:
            istiod.kill()
            self._network.release(address)
        return Observation(case, refusal, failure, ours)

    def _failure(
        self, istiod: Discovery, istiod_address: str, folder: Path, files: Files
    ) -> str | None:
        if "Use self-signed certificate" in istiod.log.read_text(encoding="utf-8"):
            return "istiod signs with a CA of its own making"
        address = self._network.allocate()
        pod = folder / "pod"
        for path, content in (
            (pod / proxy.TOKEN, self._token.encode()),
            (pod / proxy.TRUST / "root-cert.pem", files.get(ROOT_CERT) or files["ca.crt"]),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(content)
        peer = Proxy(
            f"pod-{folder.name}",
            address,
            namespace="default",
            service_account="default",
            directory=pod,
            run=self._run,
            istiod=istiod_address,
            istiod_name=service_name(_REVISION),
            environment={},
        )
        peer.start()
        try:
            return _agent_failure(peer) or _handshake_failure(address)
        finally:
            peer.kill()
            self._network.release(address)


def _refusal(istiod: Discovery) -> str | None:
    """Wait until istiod is ready (None) or has ended (its last words)."""
    deadline = time.monotonic() + _START_SECONDS
    while istiod.exit_code is None:
        if istiod.ready():
            return None
        if time.monotonic() > deadline:
            return "neither ready nor ended"
        time.sleep(0.05)
    errors = [
        line
        for line in istiod.log.read_text(encoding="utf-8").splitlines()
        if line.startswith("Error: ")
    ]
    return _tidy(errors[-1].removeprefix("Error: ")) if errors else "ended without a word"


def _agent_failure(peer: Proxy) -> str | None:
    """Wait until Envoy has leaf and trust (None), or the agent says why it gets none."""
    deadline = time.monotonic() + _LEAF_SECONDS
    while not peer.ready():
        spoken = peer.log.read_text(encoding="utf-8").replace('\\"', "'")
        found = re.search(r'x509: [^"\n]*', spoken)
        if found:
            return f"agent: {_tidy(found[0])}"
        if time.monotonic() > deadline:
            return "agent: no leaf"
        time.sleep(0.05)
    return None


def _handshake_failure(address: str) -> str | None:
    """Let the pod call itself: None when either side verifies the other."""
    headers = {proxy.PEER_HEADER: f"{address}:{proxy.INBOUND_PORT}"}
    answer = probes.get(address, proxy.OUTBOUND_PORT, "/", headers=headers, timeout=10.0)
    if answer is None:
        return "Envoy: no answer"
    status, body = answer
    if status == 200:
        return None
    found = re.search(r"OPENSSL_internal:([A-Z0-9_]+)", body.decode("utf-8", errors="replace"))
    return f"Envoy: {found[1]}" if found else f"Envoy: {status} {body.decode()[:200]}"


def _tidy(message: str) -> str:
    """What was said, without what differs from run to run."""
    message = re.sub(r": current time \S+ is (before|after) [^\s)]+", "", message)
    return " ".join(message.split())
