"""Traffic between all pods, and the count that the proofs rest on.

Every ready pod calls every other ready pod, over and over, at a set rate. A request goes into the
caller's own Envoy in plain text, from there over mTLS to the callee's Envoy, which answers 200.
No connection is reused and no session resumed between Envoys, so one request is one full
handshake, in which each side verifies the other. Anything but a 200 counts as failed.

A pod that leaves is taken out of the traffic before it ends, as a Service takes out an endpoint.
"""

import asyncio
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from lab.mesh import probes, proxy
from lab.mesh.pods import RunningPod

_DRAIN_SECONDS: Final = 8.0
_REQUEST_SECONDS: Final = 6.0
_STATS: Final = "/stats?filter=ssl%5C.(handshake|connection_error|fail_verify_error)$&format=json"


@dataclass
class Phase:
    """What was counted while a phase lasted: requests that began in it."""

    name: str
    handshakes: int = 0
    """Handshakes attempted: one per request."""
    succeeded: int = 0
    called: set[tuple[str, str]] = field(default_factory=set)
    """(caller, callee) of every request."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why requests failed -> how many."""
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(caller, callee) -> failed requests."""
    seconds: float = 0.0
    envoy: Counter[str] = field(default_factory=Counter)
    """Envoy's own ssl counters: `client.` and `server.` followed by `handshake`,
    `connection_error` or `fail_verify_error`."""
    in_flight: int = 0

    @property
    def failed(self) -> int:
        """Requests not answered with 200."""
        return sum(self.reasons.values())

    def __str__(self) -> str:
        rate = self.handshakes / self.seconds if self.seconds else 0.0
        line = (
            f"{self.name}: {self.failed} failed of {self.handshakes} handshakes"
            f" in {self.seconds:.1f} s ({rate:.0f}/s)"
        )
        return "\n".join([line, *(f"  {n} x {why}" for why, n in self.reasons.most_common(5))])


class Traffic:
    """The callers. Learns from the kubelet which pods serve (`runner.Observer`)."""

    def __init__(self, rate: float) -> None:
        """Make `rate` requests per second over all pods together, while at least two are ready."""
        self._rate = rate
        self._pods: dict[str, RunningPod] = {}
        self._callers: dict[str, asyncio.Task[None]] = {}
        self._busy: Counter[str] = Counter()
        self._departed: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="traffic", daemon=True)
        self._idle = Phase("between phases")
        self._phase = self._idle
        self.finished: list[Phase] = []
        """The phases that have ended, oldest first."""

    def start(self) -> None:
        """Start to call."""
        self._thread.start()

    def stop(self) -> None:
        """Stop calling."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._cancel(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def pods(self) -> int:
        """How many pods take part now."""
        return len(self._pods)

    @property
    def current(self) -> Phase:
        """The phase under way, or what is counted between two."""
        return self._phase

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """Count what begins within the block; complete when the block has been left."""
        counted = Phase(name)
        before = self._counters()
        began = time.monotonic()
        outer, self._phase = self._phase, counted
        try:
            yield counted
        finally:
            self._phase = outer
            counted.seconds = time.monotonic() - began
            deadline = time.monotonic() + _REQUEST_SECONDS
            while counted.in_flight and time.monotonic() < deadline:
                time.sleep(0.01)
            counted.envoy = self._counters()
            counted.envoy.subtract(before)
            self.finished.append(counted)

    def pod_ready(self, pod: RunningPod) -> None:
        """Let a pod call and be called."""
        if pod.container == proxy.CONTAINER:
            asyncio.run_coroutine_threadsafe(self._join(pod), self._loop).result()

    def pod_leaving(self, pod: RunningPod) -> None:
        """Take a pod out; return when no request from it or to it is under way."""
        if pod.uid in self._pods:
            asyncio.run_coroutine_threadsafe(self._leave(pod), self._loop).result()
            self._departed.update(_scrape(pod))

    def _counters(self) -> Counter[str]:
        total = Counter(self._departed)
        for pod in list(self._pods.values()):
            total.update(_scrape(pod))
        return total

    async def _join(self, pod: RunningPod) -> None:
        self._pods[pod.uid] = pod
        self._callers[pod.uid] = asyncio.ensure_future(self._call(pod))

    async def _leave(self, pod: RunningPod) -> None:
        self._pods.pop(pod.uid, None)
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self._busy[pod.uid] and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        caller = self._callers.pop(pod.uid, None)
        if caller is not None:
            caller.cancel()

    async def _cancel(self) -> None:
        callers = list(self._callers.values())
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)

    async def _call(self, caller: RunningPod) -> None:
        """Call the others in turn, at this caller's share of the rate."""
        line = _Line(caller.address)
        turn = 0
        due = time.monotonic()
        try:
            while caller.uid in self._pods:
                due = max(due + len(self._pods) / self._rate, time.monotonic() - 0.1)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                peers = [pod for uid, pod in self._pods.items() if uid != caller.uid]
                if peers and caller.uid in self._pods:
                    turn += 1
                    await self._request(line, caller, peers[turn % len(peers)])
        finally:
            line.close()

    async def _request(self, line: "_Line", caller: RunningPod, callee: RunningPod) -> None:
        phase = self._phase
        phase.handshakes += 1
        phase.called.add((caller.name, callee.name))
        phase.in_flight += 1
        self._busy[caller.uid] += 1
        self._busy[callee.uid] += 1
        try:
            reason = await line.get(f"{callee.address}:{proxy.INBOUND_PORT}")
            if reason is None:
                phase.succeeded += 1
            else:
                phase.reasons[reason] += 1
                phase.pairs[caller.name, callee.name] += 1
        finally:
            phase.in_flight -= 1
            self._busy[caller.uid] -= 1
            self._busy[callee.uid] -= 1


class _Line:
    """A kept plain connection from the traffic to one pod's own Envoy."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, peer: str) -> str | None:
        """Return None for a 200, else why not."""
        try:
            return await asyncio.wait_for(self._get(peer), _REQUEST_SECONDS)
        except (OSError, EOFError) as error:
            self.close()
            return f"the caller's own Envoy: {type(error).__name__}"
        except TimeoutError:
            self.close()
            return f"no answer within {_REQUEST_SECONDS:.0f} s"

    async def _get(self, peer: str) -> str | None:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._address, proxy.OUTBOUND_PORT)
        reader, writer = self._streams
        writer.write(
            f"GET / HTTP/1.1\r\nhost: peer\r\n{proxy.PEER_HEADER}: {peer}\r\n\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(head.split(" ", 2)[1])
        length = 0
        for field_line in head.split("\r\n")[1:]:
            name, _, value = field_line.partition(":")
            if name.lower() == "content-length":
                length = int(value)
        body = (await reader.readexactly(length)).decode("utf-8", errors="replace")
        return None if status == 200 else f"{status} {_why(body)}"

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _why(body: str) -> str:
    """The last word of Envoy's answer: TLS's own if there is one, else the rest."""
    found = re.search(r"OPENSSL_internal:([A-Z0-9_ ]+)", body)
    return found[1] if found else " ".join(body.split())[:200]


def _scrape(pod: RunningPod) -> Counter[str]:
    """The pod's own ssl counters, by side; nothing when its Envoy is gone."""
    counters: Counter[str] = Counter()
    answer = probes.get(pod.address, proxy.ADMIN_PORT, _STATS)
    if answer is None or answer[0] != 200:
        return counters
    for stat in json.loads(answer[1])["stats"]:
        name = stat.get("name", "")
        if name.startswith("cluster.peers.ssl."):
            counters["client." + name.rpartition(".")[2]] += stat["value"]
        elif name.startswith("listener.") and ".ssl." in name:
            counters["server." + name.rpartition(".")[2]] += stat["value"]
    return counters
