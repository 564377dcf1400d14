"""Stacks that have converged once, for tests to look at or to copy and go on from."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import engine, layout
from tests import material
from tests.engine import stacks
from tests.engine.workspace import Run, Workspace
from tests.material import Authority


@dataclass(frozen=True)
class Converged:
    """A stack after two `pulumi up`s, and what they said. Copy it to change anything."""

    stack: Workspace
    first: Run
    outputs_between: dict[str, object]
    second: Run
    writes: tuple[str, ...]
    """Everything that the two wrote to Azure, in order."""


def converge(stack: Workspace, *, with_preview: bool = False) -> Converged:
    """Runs the two `pulumi up`s that a configured stack needs; the first as users do, if asked."""
    with stack.writes() as writes:
        first = Run(0, stack.run("up", "--yes")) if with_preview else stack.done()
        between = stack.outputs()
        second = stack.done()
    return Converged(stack, first, between, second, tuple(writes))


@pytest.fixture(scope="session", autouse=True)
def _real_engine() -> None:
    """The engine and the plug-ins' folders are in place."""
    engine.prepare()


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Converged:
    """The dev stack file as it is committed, converged: everything is generated."""
    stack = Workspace(tmp_path_factory.mktemp("dev") / "stack")
    shutil.copyfile(layout.ROOT / "Pulumi.dev.yaml", stack.stack_file)
    return converge(stack, with_preview=True)


@pytest.fixture(scope="session")
def authorities() -> dict[str, Authority]:
    """Offline roots `a` and `b`, and the issuers a1, a2 and b1 under them."""
    return stacks.make_authorities()


@pytest.fixture(scope="session")
def offline(
    authorities: dict[str, Authority], tmp_path_factory: pytest.TempPathFactory
) -> Converged:
    """Offline roots and issuers with their keys in secure config, converged: steady a1."""
    stack = Workspace(tmp_path_factory.mktemp("offline") / "stack")
    stacks.write_certificates(authorities, stack.directory)
    stack.configure(stacks.offline())
    stacks.set_keys(stack, authorities)
    return converge(stack)


@pytest.fixture(scope="session")
def istio(tmp_path_factory: pytest.TempPathFactory) -> Converged:
    """RSA 4096 root and intermediate, made by openssl as Istio's tools/certs makes them.

    The vault is in a resource group of its own and permits `get` and `list`.
    """
    stack = Workspace(tmp_path_factory.mktemp("istio") / "stack")
    material.openssl_bundle(stack.directory)
    stack.configure(
        stacks.offline(
            roots={"a": {"certificate": "root-cert.pem"}},
            issuers={"a1": {"root": "a", "certificate": "ca-cert.pem", "key": "secret"}},
            cluster={"rotationPollInterval": "20s"},
            keyVault={"resourceGroup": "vaults", "secretPermissions": ["get", "list"]},
        )
    )
    stack.set_secret("issuerKeys.a1", (stack.directory / "ca-key.pem").read_text())
    return converge(stack)


@pytest.fixture(scope="session")
def ecdsa(tmp_path_factory: pytest.TempPathFactory) -> Converged:
    """An ECDSA P-384 root and a P-256 intermediate of openssl; the vault decides by roles."""
    stack = Workspace(tmp_path_factory.mktemp("ecdsa") / "stack")
    material.openssl_root(stack.directory, new_key=material.P384)
    material.openssl_intermediate(stack.directory, new_key=material.P256)
    stack.configure(
        stacks.offline(
            roots={"a": {"certificate": "root-cert.pem"}},
            issuers={"a1": {"root": "a", "certificate": "ca-cert.pem", "key": "secret"}},
            keyVault={"accessModel": "rbac"},
        )
    )
    stack.set_secret("issuerKeys.a1", (stack.directory / "ca-key.pem").read_text())
    return converge(stack)


@pytest.fixture(scope="session")
def external(
    authorities: dict[str, Authority], tmp_path_factory: pytest.TempPathFactory
) -> Converged:
    """An issuer whose private key somebody else writes to the vault."""
    stack = Workspace(tmp_path_factory.mktemp("external") / "stack")
    stacks.write_certificates(authorities, stack.directory)
    stack.configure(
        stacks.offline(
            roots={"a": {"certificate": "a.pem"}},
            issuers={"a1": {"root": "a", "certificate": "a1.pem", "key": "external"}},
        )
    )
    return converge(stack)


@dataclass(frozen=True)
class Step:
    """A move of a rotation: what the stack was before and after it, and what it did."""

    before: Workspace
    after: Workspace
    preview: Run | None
    up: Run
    writes: tuple[str, ...]
    ledger: dict[str, Any]


def walk(
    start: Workspace, directory: Path, stances: Sequence[str], *, preview: bool = True
) -> dict[str, Step]:
    """Makes one move after the other, each as soon as the ledger says that it is legal."""
    steps: dict[str, Step] = {}
    before = start
    for stance in stances:
        stack = before.copy(directory / stance.replace(" ", "-"))
        if before.ledger()["nextMove"]:
            stack.wait_for_next_move()
        stack.want(stance)
        shown = stack.preview() if preview else None
        with stack.writes() as writes:
            up = stack.done()
        steps[stance] = Step(before, stack, shown, up, tuple(writes), stack.ledger())
        before = stack
    return steps


@pytest.fixture(scope="session")
def root_rotation(offline: Converged, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Step]:
    """From a1 under root a to b1 under root b, by stance. Copy a stack to change it."""
    stances = ("distribute a1 b1", "switch a1 b1", "retire a1 b1", "steady b1")
    return walk(offline.stack, tmp_path_factory.mktemp("root-rotation"), stances)


@pytest.fixture
def rotating(offline: Converged, tmp_path: Path) -> Workspace:
    """A stack of its own in `steady a1`, with everything at hand to rotate to a2 or b1."""
    return offline.stack.copy(tmp_path / "stack")
