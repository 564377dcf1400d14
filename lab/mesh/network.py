"""Addresses of the cluster: a block of 127.0.0.0/8 of its own, so that ports need no allocation.

Every component and every pod has its own loopback address and uses the port it has in a real
cluster. Nothing has to look for free ports, and two clusters on one machine do not meet.
"""

import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

API_PORT = 6443
KUBELET_PORT = 10250
ISTIOD_PORT = 15012
"""istiod's secure gRPC port: certificates and configuration."""


class NoAddressError(Exception):
    """No block or no pod address is free."""


@dataclass
class Network:
    """The block `127.second.third.0/24`: four fixed addresses, the others for pods."""

    second: int
    third: int
    _taken: set[int] = field(default_factory=set)
    _next: Iterator[int] = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._next = _cycle(10, 254)

    def _host(self, number: int) -> str:
        return f"127.{self.second}.{self.third}.{number}"

    @property
    def api(self) -> str:
        """kube-apiserver and kube-controller-manager."""
        return self._host(1)

    @property
    def etcd(self) -> str:
        """Where etcd listens."""
        return self._host(2)

    @property
    def istiod(self) -> str:
        """The address of istiod's Service."""
        return self._host(3)

    @property
    def node(self) -> str:
        """The address of the one node, where the kubelet listens."""
        return self._host(4)

    def allocate(self) -> str:
        """Return an address for a pod; the one free for the longest time."""
        with self._lock:
            for _ in range(254 - 10 + 1):
                number = next(self._next)
                if number not in self._taken:
                    self._taken.add(number)
                    return self._host(number)
        raise NoAddressError(f"all pod addresses of 127.{self.second}.{self.third}.0/24 are in use")

    def release(self, address: str) -> None:
        """Give a pod's address back."""
        with self._lock:
            self._taken.discard(int(address.rsplit(".", 1)[1]))


def choose() -> Network:
    """Return a block whose API server address nobody listens on."""
    for _ in range(50):
        network = Network(random.randrange(16, 255), random.randrange(0, 255))
        if is_free(network):
            return network
    raise NoAddressError("found no free block in 127.0.0.0/8 after 50 tries")


def is_free(network: Network) -> bool:
    """Tell whether nobody listens on the block's API server address."""
    with socket.socket() as probe:
        # Connections of a cluster that has just stopped may linger; a listener may not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((network.api, API_PORT))
        except OSError:
            return False
    return True


def _cycle(first: int, last: int) -> Iterator[int]:
    while True:
        yield from range(first, last + 1)
