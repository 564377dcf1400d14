"""Stand-in for kube-proxy: the address of istiod's Service, spread over the ready replicas.

Bytes are passed on as they come; TLS is between agent and istiod. A connection stays with its
replica until either side ends it, and one that finds no replica is closed, as by a real Service.
"""

import asyncio
import itertools
import threading
from typing import Final

from lab.mesh import istiod
from lab.mesh.network import ISTIOD_PORT
from lab.mesh.pods import RunningPod

_CHUNK: Final = 65536


class Service:
    """Listens at `address`; knows the ready istiods from the kubelet (`runner.Observer`)."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._targets: list[str] = []
        self._turn = itertools.count()
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="service", daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start to listen."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def stop(self) -> None:
        """Close the listener and every connection."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def pod_ready(self, pod: RunningPod) -> None:
        """Send new connections to this pod too."""
        if pod.container == istiod.CONTAINER:
            with self._lock:
                self._targets.append(pod.address)

    def pod_leaving(self, pod: RunningPod) -> None:
        """Send no new connection to this pod any more."""
        with self._lock:
            if pod.address in self._targets:
                self._targets.remove(pod.address)

    def _target(self) -> str | None:
        with self._lock:
            if not self._targets:
                return None
            return self._targets[next(self._turn) % len(self._targets)]

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, self._address, ISTIOD_PORT)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        target = self._target()
        try:
            if target is None:
                return
            try:
                there = await asyncio.open_connection(target, ISTIOD_PORT)
            except OSError:
                return
            await _join(reader, there[1], there[0], writer)
        finally:
            writer.close()


async def _join(
    reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Pass bytes both ways until either side ends."""
    copies = [
        asyncio.ensure_future(_copy(reader, far_writer)),
        asyncio.ensure_future(_copy(far_reader, writer)),
    ]
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)
        far_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        return
