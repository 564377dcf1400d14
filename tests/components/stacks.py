"""Stack configurations, and a stack that remembers from one `up` to the next what it must."""

import json
import runpy
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pulumi
import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

import components.ledger
from lab import layout
from meshca import material as read_material
from meshca import settings
from meshca.material import Material
from meshca.settings import Settings
from tests import material
from tests.components import recorder
from tests.components.cloud import Cloud
from tests.components.recorder import Run
from tests.material import Authority

NAME = f"{recorder.ORGANIZATION}/{recorder.PROJECT}/{recorder.STACK}"
"""The stack's full name."""

GENERATED: Mapping[str, Any] = {
    "rotationPhase": "steady",
    "activeIssuer": "a1",
    "roots": {"a": {"generated": {}}},
    "issuers": {"a1": {"root": "a"}},
    "cluster": {
        "name": "mesh",
        "resourceGroup": "mesh-group",
        "revisions": ["asm-1-28", "asm-1-29"],
    },
    "keyVault": {"name": "mesh-vault", "accessModel": "accessPolicy"},
}
"""One generated root and issuer, a vault with access policies."""

TWO_ROOTS: Mapping[str, Any] = {
    **GENERATED,
    "roots": {"a": {"generated": {}}, "b": {"generated": {}}},
    "issuers": {"a1": {"root": "a"}, "b1": {"root": "b"}},
}
"""Two generated roots with an issuer each, for a rotation."""

OFFLINE: Mapping[str, Any] = {
    **GENERATED,
    "roots": {"a": {"certificate": "a.pem"}},
    "issuers": {"a1": {"root": "a", "certificate": "a1.pem", "key": "external"}},
}
"""An offline root, and an issuer whose key somebody else writes; see `offline`."""

PENDING: Mapping[str, Any] = {
    **{key: value for key, value in GENERATED.items() if key != "activeIssuer"},
    "roots": {"a": {"certificate": "a.pem"}},
    "issuers": {"a1": {"root": "a"}},
}
"""An offline root, and an issuer that waits for its signature; see `offline`."""


def changed(config: Mapping[str, Any], /, **changes: Any) -> dict[str, Any]:
    """The configuration with some keys changed, `cluster` and `keyVault` key by key; None drops."""
    result = deepcopy(dict(config))
    for key, value in changes.items():
        if key in ("cluster", "keyVault"):
            result[key] = {**result[key], **value}
        else:
            result[key] = value
    return {key: value for key, value in result.items() if value is not None}


def stance(config: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The configuration with another stance, such as `switch a1 b1`."""
    phase, active, *following = text.split()
    next_issuer = following[0] if following else None
    return changed(config, rotationPhase=phase, activeIssuer=active, nextIssuer=next_issuer)


def handed_over(config: Mapping[str, Any]) -> dict[str, str]:
    """The configuration as Pulumi hands it to the program: objects as JSON text."""
    return {
        f"{recorder.PROJECT}:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in config.items()
    }


def component(
    build: Callable[[Settings, Material], object],
    config: Mapping[str, Any] = GENERATED,
    *,
    cloud: Cloud | None = None,
    preview: bool = False,
    left_out: Collection[str] = (),
) -> Run:
    """A program of one component, which must succeed: `build` gets the settings and the files."""
    loaded = settings.load(handed_over(config))
    files = read_material.read(loaded, Path.cwd())
    run = recorder.deploy(
        lambda: build(loaded, files), cloud or Cloud(), preview=preview, left_out=left_out
    )
    if run.error is not None:
        raise run.error
    return run


@dataclass
class Clock:
    """The time that the program reads. It starts now, as pulumi-tls dates certificates by it."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def passes(self, span: timedelta) -> None:
        """Lets time pass."""
        self.now += span


@dataclass
class Stack:
    """A stack of the whole program: its cloud, its outputs and its Stash outlive an `up`."""

    clock: Clock = field(default_factory=Clock)
    cloud: Cloud = field(default_factory=Cloud)
    stash: Any = None

    def copy(self) -> "Stack":
        """The same stack, to go on from here without changing the original."""
        return Stack(Clock(self.clock.now), self.cloud.copy(), deepcopy(self.stash))

    def up(self, config: Mapping[str, Any]) -> Run:
        """`pulumi up`, which must succeed."""
        run = self.attempt(config)
        if run.error is not None:
            raise run.error
        return run

    def attempt(self, config: Mapping[str, Any], *, left_out: Collection[str] = ()) -> Run:
        """`pulumi up`, however it ends; the engine keeps the outputs of those that succeed."""
        run = self._run(config, preview=False, left_out=left_out)
        self.stash = run.stash
        if run.error is None:
            self.cloud.stacks[NAME] = {
                key: value for key, value in run.outputs.items() if value is not None
            }
        return run

    def preview(self, config: Mapping[str, Any]) -> Run:
        """`pulumi preview`, however it ends; of a first `up`, nothing is known yet."""
        self.cloud.exists = NAME in self.cloud.stacks
        try:
            return self._run(config, preview=True)
        finally:
            self.cloud.exists = True

    def refused(self, config: Mapping[str, Any]) -> str:
        """What a preview and an `up` refuse the configuration with, before anything registers."""
        said = []
        for run in (self.preview(config), self.attempt(config)):
            assert isinstance(run.error, pulumi.RunError), run.error
            assert run.requests == []
            said.append(str(run.error))
        assert said[0] == said[1]
        return said[0]

    @property
    def ledger(self) -> dict[str, Any]:
        """The output `rotation` of the last completed `up`."""
        return dict(self.cloud.stacks[NAME]["rotation"])

    def rotate(self, config: Mapping[str, Any], *stances: str) -> dict[str, Run]:
        """An `up` for each stance, by stance; waits until the windows allow the next."""
        runs = {}
        for text in stances:
            self.clock.passes(timedelta(days=2))
            runs[text] = self.up(stance(config, text))
        return runs

    def _run(
        self, config: Mapping[str, Any], *, preview: bool, left_out: Collection[str] = ()
    ) -> Run:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(components.ledger, "clock", self.clock)
            return recorder.deploy(
                lambda: runpy.run_path(str(layout.ROOT / "__main__.py"), run_name="__main__"),
                self.cloud,
                config=handed_over(config),
                preview=preview,
                stash=self.stash,
                left_out=left_out,
            )


@dataclass(frozen=True)
class Offline:
    """An offline root `a` with its issuers, as files in the directory of the stack."""

    root: Authority
    issuers: Mapping[str, Authority]

    def key(self, name: str) -> str:
        """The private key of an issuer in SEC1, as `openssl ecparam -genkey` leaves it."""
        return material.key_text(self.issuers[name].key, PrivateFormat.TraditionalOpenSSL)


def offline(directory: Path, *names: str) -> Offline:
    """Makes the root `a` and an issuer for each name, and writes their certificates."""
    now = datetime.now(UTC).replace(microsecond=0)
    start, end = now - material.DAY, now + 10 * material.YEAR
    root = material.authority("Offline Root", start=start, end=end)
    issuers = {
        name: material.authority(
            f"Offline {name}", under=root, start=start, end=now + material.YEAR
        )
        for name in names
    }
    for name, made in {"a": root, **issuers}.items():
        (directory / f"{name}.pem").write_text(made.pem)
    return Offline(root, issuers)
