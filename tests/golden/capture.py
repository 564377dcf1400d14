"""Captures real previews of a stack as it walks through its life: `python -m tests.golden.capture`.

Each is what `.github/scripts/preview` leaves behind, without what the report does not read: where
in the sources a resource is made (which names directories of this machine), how long it took, and
the steps that change nothing. Certificates and keys are made afresh; no key is in what is kept.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab import layout
from lab.azure import faults
from tests.docs.mesh import CONFIGURATION, make_certificates
from tests.engine.workspace import Workspace

PREVIEWS = Path(__file__).resolve().parent / "previews"
SCRIPT = layout.ROOT / ".github" / "scripts" / "preview"
DAY = {"leafTtl": "24h", "slack": "5m"}
"""A pace at which nothing is legal soon after a move."""
SECOND = {"leafTtl": "1s", "slack": "1s"}


@dataclass(frozen=True)
class Captured:
    """A preview, when it was made, and how its script ended."""

    name: str
    at: datetime
    preview: dict[str, Any]
    events: list[dict[str, Any]]
    code: int
    report: str

    def as_json(self) -> dict[str, Any]:
        """What is kept of it."""
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "code": self.code,
            "preview": self.preview,
            "events": self.events,
        }


def life(directory: Path) -> Iterator[Captured]:
    """The previews of one stack from its first to a finished rotation, and what is refused."""
    mesh = Workspace(directory / "mesh", stack="shop")
    mesh.configure(CONFIGURATION)
    make_certificates(mesh)
    yield captured("first", mesh)
    mesh.done()
    yield captured("enable-mesh", mesh)
    mesh.done()
    yield captured("unchanged", mesh)
    yield from _what_is_refused_in_steady(mesh)
    mesh.want("steady a2", override=GLASS)
    yield captured("break-glass", mesh)
    mesh.want("distribute a1 b1", override=None, **DAY)
    yield captured("distribute", mesh)
    mesh.change(**SECOND)
    mesh.done()
    mesh.want("switch a1 b1", **DAY)
    yield captured("too-early", mesh)
    mesh.change(**SECOND)
    mesh.wait_for_next_move()
    yield captured("switch", mesh)
    yield from _interrupted(mesh)
    mesh.done()
    mesh.want("distribute a1 b1")
    yield captured("rollback", mesh)
    mesh.want("retire a1 b1")
    mesh.wait_for_next_move()
    yield captured("retire", mesh)
    mesh.done()
    mesh.want("steady b1")
    yield captured("finish", mesh)
    yield _generated(directory)


def _generated(directory: Path) -> Captured:
    """The distribution of a root and an issuer that come with it, of which nothing is known yet."""
    young = Workspace(directory / "young", stack="shop")
    young.converge(
        {
            "cluster": CONFIGURATION["cluster"],
            "keyVault": CONFIGURATION["keyVault"],
            "rotationPhase": "steady",
            "activeIssuer": "a1",
            "roots": {"a": {"generated": {}}},
            "issuers": {"a1": {"root": "a"}},
        }
    )
    young.want(
        "distribute a1 b1",
        roots={"a": {"generated": {}}, "b": {"generated": {}}},
        issuers={"a1": {"root": "a"}, "b1": {"root": "b"}},
    )
    return captured("generated", young)


GLASS = {"move": "steady a1 -> steady a2", "reason": "The key of a1 leaked, incident 4711"}


def _what_is_refused_in_steady(mesh: Workspace) -> Iterator[Captured]:
    cluster, vault = CONFIGURATION["cluster"], CONFIGURATION["keyVault"]
    mesh.want("switch a1 b1")
    yield captured("skipped-phase", mesh)
    mesh.want("steady a1", leafTtl="1 day")
    yield captured("mistake", mesh)
    mesh.change(leafTtl="1s", cluster={**cluster, "dnsPrefix": "other"})
    yield captured("replaces-cluster", mesh)
    mesh.change(cluster=cluster, keyVault={**vault, "secretPermissions": ["get", "list"]})
    yield captured("policy", mesh)
    mesh.change(keyVault=vault, cluster={**cluster, "mesh": False})
    yield captured("disable-mesh", mesh)
    mesh.change(cluster=cluster)


def _interrupted(mesh: Workspace) -> Iterator[Captured]:
    """The `up` of a switch fails at its last write; then another move is asked for."""
    faults.error(mesh.state, "secrets/write", "Conflict", "on purpose", resource="*/ca-cert")
    assert mesh.up().code != 0
    mesh.want("steady a1")
    yield captured("unfinished", mesh)
    mesh.want("switch a1 b1")


def captured(name: str, mesh: Workspace) -> Captured:
    """The preview of a stack as it is configured now."""
    with tempfile.TemporaryDirectory() as found:
        at = datetime.now(UTC)
        ended = subprocess.run(
            [SCRIPT, mesh.stack, found],
            cwd=mesh.directory,
            env=mesh.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        folder = Path(found)
        events = [json.loads(line) for line in (folder / "events.json").read_text().splitlines()]
        return Captured(
            name,
            at,
            _pruned(json.loads((folder / "preview.json").read_text())),
            [{"policyEvent": one["policyEvent"]} for one in events if "policyEvent" in one],
            ended.returncode,
            (folder / "report.md").read_text(),
        )


def _pruned(preview: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in preview.items() if key != "duration"}
    kept["steps"] = [
        _without(step, {"stackTrace", "sourcePosition"})
        for step in preview.get("steps", [])
        if step["op"] not in ("same", "read") or "::pulumi:pulumi:Stack::" in step["urn"]
    ]
    return kept


def _without(value: Any, keys: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, keys) for key, item in value.items() if key not in keys}
    return [_without(item, keys) for item in value] if isinstance(value, list) else value


def main() -> None:
    """Writes every preview, in place of what was there."""
    PREVIEWS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        for one in life(Path(directory)):
            text = json.dumps(one.as_json(), indent=1, sort_keys=True)
            assert "PRIVATE KEY" not in text
            (PREVIEWS / f"{one.name}.json").write_text(f"{text}\n")
            print(f"{one.name}: exit code {one.code}", flush=True)


if __name__ == "__main__":
    main()
