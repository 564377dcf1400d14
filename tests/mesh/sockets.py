"""What processes listen on, read from /proc."""

import os
from collections.abc import Iterable
from pathlib import Path

_LISTEN = "0A"


def listeners(pids: Iterable[int]) -> list[str]:
    """Return the local addresses (hex, as /proc/net/tcp has them) that processes listen on."""
    inodes = {inode for pid in pids for inode in _inodes(pid)}
    return [
        address
        for table in ("tcp", "tcp6")
        for address, state, inode in _rows(table)
        if state == _LISTEN and inode in inodes
    ]


def is_loopback(address: str) -> bool:
    """Tell whether a hex address is in 127.0.0.0/8 (in host byte order: its last byte is 7F)."""
    host = address.partition(":")[0]
    return len(host) == 8 and host.endswith("7F")


def listening_in(second: int, third: int) -> list[str]:
    """Return who listens in 127.second.third.0/24, whichever process it is."""
    ending = f"{third:02X}{second:02X}7F"
    return [
        address
        for address, state, _ in _rows("tcp")
        if state == _LISTEN and address.partition(":")[0].endswith(ending)
    ]


def _rows(table: str) -> list[tuple[str, str, str]]:
    lines = Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
    return [(row[1], row[3], row[9]) for row in (line.split() for line in lines)]


def _inodes(pid: int) -> list[str]:
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if target.startswith("socket:["):
            found.append(target[8:-1])
    return found
