"""How a plug-in is launched: `PROGRAM <engine address> [flags]`, the port on the first line.

Contract (facts: pulumi.md 1): answer within ten seconds, end on SIGINT. Beyond it, the plug-in
ends when the process that started it is gone, so that an engine that was killed leaves nothing.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from lab.lifetime import Lifetime
from lab.provider.plugin import Plugin

_WORKERS: Final = 32
"""More than the engine's parallel requests: a paused request must not hold up the others."""

_UNLIMITED: Final = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def start(plugin: Plugin) -> tuple[grpc.Server, int]:
    """Serve the plug-in on a free port of 127.0.0.1; returns the server and the port."""
    server = grpc.server(ThreadPoolExecutor(_WORKERS), options=_UNLIMITED)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(plugin, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def serve(plugin: Plugin, arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT, SIGTERM or the end of the parent process; does not return."""
    parser = argparse.ArgumentParser(description=f"Pulumi resource plug-in {plugin.name}.")
    parser.add_argument("engine", nargs="?", help="address of the engine; not used")
    parser.parse_known_args(arguments)
    lifetime = Lifetime()
    server, port = start(plugin)
    print(port, flush=True)
    lifetime.wait()
    server.stop(grace=None)
    # Not sys.exit: a request that a fault holds up must not keep the process.
    os._exit(0)
