"""The atomic writer of Kubernetes volumes: readers see the old set of files or the new one.

The layout is that of k8s.io/kubernetes/pkg/volume/util/atomic_writer.go, which kubelet volumes
and the Secrets Store CSI driver share: `NAME -> ..data/NAME`, `..data -> ..TIMESTAMP/`, and one
rename of `..data`. istiod's watcher waits for exactly that rename.
"""

import itertools
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

_DATA = "..data"
_serial = itertools.count()


def write_atomically(directory: Path, files: Mapping[str, str], mode: int = 0o600) -> bool:
    """Make `files` (name -> text) the content of `directory`; tell whether anything changed.

    An unchanged set is left alone, as the real writer leaves it: no event reaches a watcher.
    """
    if read(directory) == dict(files):
        return False
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
    fresh = directory / f"{stamp}{next(_serial)}"
    fresh.mkdir(mode=0o700)
    for name, text in files.items():
        descriptor = os.open(fresh / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as handle:
            handle.write(text)
    current = directory / _DATA
    old = directory / current.readlink() if current.is_symlink() else None
    pending = directory / "..data_tmp"
    pending.unlink(missing_ok=True)
    pending.symlink_to(fresh.name)
    pending.rename(current)
    for name in files:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(f"{_DATA}/{name}")
    for link in directory.iterdir():
        if link.is_symlink() and link.name != _DATA and link.name not in files:
            link.unlink()
    if old is not None:
        shutil.rmtree(old)
    return True


def read(directory: Path) -> dict[str, str]:
    """Return the set of files now in `directory` (name -> text); empty when never written."""
    data = directory / _DATA
    if not data.is_dir():
        return {}
    return {
        path.name: path.read_bytes().decode("utf-8", errors="replace")
        for path in sorted(data.iterdir())
    }
