"""A stack of the program on a local cloud of its own, driven by the real engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from lab import engine, layout
from lab.azure import ids
from lab.azure.cloud import Cloud

PROJECT = "aks-istio-ca"
PROGRAM = ("Pulumi.yaml", "__main__.py", "components", "meshca")
STACK = "test"
TIMEOUT = 120
"""Seconds after which a `pulumi` counts as hung."""

FLAGS = ("--non-interactive", "--color=never")
UP = ("up", "--yes", "--skip-preview")


@dataclass(frozen=True)
class Run:
    """How a `pulumi` command ended."""

    code: int
    output: str

    @property
    def errors(self) -> list[str]:
        """The lines that the program itself refused with, without the engine's frame."""
        _, _, diagnostics = self.output.partition("Diagnostics:")
        program = diagnostics.partition("\n\n")[0]
        said = re.search(r"^    error: (.*?)(?=^    error: |\Z)", program, re.S | re.M)
        return [line.strip() for line in said[1].splitlines() if line.strip()] if said else []

    @property
    def said(self) -> list[str]:
        """What the program told on the console about the stack, line by line."""
        _, _, diagnostics = self.output.partition("Diagnostics:")
        about_stack = diagnostics.partition("\n\n")[0].splitlines()
        return [line.removeprefix("    ") for line in about_stack if line.startswith("    ")]


class Workspace:
    """The program, linked into a directory of its own, and one stack of it."""

    def __init__(self, directory: Path, *, stack: str = STACK, program: str | None = None) -> None:
        """Opens the stack in a directory; makes it where there is none yet.

        `program` is the text of another program to run in place of this project's.
        """
        self.directory = directory
        self.stack = stack
        self.state = directory / "lab"
        self.backend = directory / "backend"
        self.environment = {
            **os.environ,
            **engine.environment(state=self.state, backend=self.backend),
            "PULUMI_STACK": stack,
            "PATH": os.pathsep.join(
                (str(layout.BIN), str(layout.PYTHON.parent), os.environ["PATH"])
            ),
        }
        # As users run it: the program is compiled once, not in each of its runs.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if not self.backend.exists():
            self._make(program)
        self.cloud = Cloud(self.state)

    def _make(self, program: str | None) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        for private in (self.state, self.backend):
            private.mkdir(mode=0o700)
        for name in PROGRAM if program is None else PROGRAM[:1]:
            (self.directory / name).symlink_to(layout.ROOT / name)
        if program is not None:
            (self.directory / "__main__.py").write_text(program)
        self.run("stack", "init", "--no-select", self.stack)

    def copy(self, directory: Path) -> Workspace:
        """The same stack, cloud and all, to go on from here without changing the original."""
        shutil.copytree(self.directory, directory, symlinks=True)
        return Workspace(directory, stack=self.stack)

    def neighbour(self, stack: str) -> Workspace:
        """Another stack on the same cloud and backend: another cluster of the fleet."""
        beside = Workspace(self.directory, stack=stack)
        beside.run("stack", "init", "--no-select", stack)
        return beside

    # -- configuration ---------------------------------------------------------------------------

    @property
    def stack_file(self) -> Path:
        """The stack's configuration file."""
        return self.directory / f"Pulumi.{self.stack}.yaml"

    def configure(self, config: Mapping[str, Any]) -> None:
        """Replaces the stack's configuration, but for the secrets that `set_secret` put there."""
        before = yaml.safe_load(self.stack_file.read_text())
        spelt = {key if ":" in key else f"{PROJECT}:{key}": value for key, value in config.items()}
        spelt.setdefault("azure-native:location", "westeurope")
        keys = f"{PROJECT}:issuerKeys"
        if keys in before.get("config", {}):
            spelt.setdefault(keys, before["config"][keys])
        self.stack_file.write_text(yaml.safe_dump({**before, "config": spelt}))

    def change(self, **settings: Any) -> None:
        """Sets some settings and leaves the others; None takes one out."""
        before = yaml.safe_load(self.stack_file.read_text())["config"]
        changed = before | {f"{PROJECT}:{key}": value for key, value in settings.items()}
        self.configure({key: value for key, value in changed.items() if value is not None})

    def want(self, stance: str, **settings: Any) -> None:
        """Configures a stance such as `switch a1 b1`, and other settings with it."""
        phase, active, *following = stance.split()
        self.change(
            rotationPhase=phase,
            activeIssuer=active,
            nextIssuer=following[0] if following else None,
            **settings,
        )

    def set_secret(self, path: str, value: str) -> None:
        """Sets one secret of the configuration by its path, as users do."""
        self.run("config", "set", "--secret", "--path", f"{PROJECT}:{path}", given=value)

    # -- pulumi ----------------------------------------------------------------------------------

    def pulumi(self, *arguments: str, given: str | None = None) -> Run:
        """Runs `pulumi`, whatever comes of it."""
        answer = subprocess.run(
            ["pulumi", *arguments, *FLAGS],
            cwd=self.directory,
            env=self.environment,
            input=given,
            stdin=None if given is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return Run(answer.returncode, answer.stdout)

    def run(self, *arguments: str, given: str | None = None) -> str:
        """Runs `pulumi`, which must succeed."""
        ended = self.pulumi(*arguments, given=given)
        assert ended.code == 0, ended.output
        return ended.output

    def preview(self, *arguments: str) -> Run:
        """`pulumi preview`."""
        return self.pulumi("preview", *arguments)

    def up(self, *arguments: str) -> Run:
        """`pulumi up` without the preview before it."""
        return self.pulumi(*UP, *arguments)

    def done(self, *arguments: str) -> Run:
        """`pulumi up`, which must succeed."""
        ended = self.up(*arguments)
        assert ended.code == 0, ended.output
        return ended

    @contextmanager
    def up_in_background(self) -> Iterator[subprocess.Popen[str]]:
        """A `pulumi up` while it runs. Ends it and everything that it started."""
        with subprocess.Popen(
            ["pulumi", *UP, *FLAGS],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as running:
            try:
                yield running
            finally:
                for process in (running.pid, *_session(running.pid)):
                    _kill(process)

    def converge(self, config: Mapping[str, Any]) -> None:
        """Two `pulumi up`s, after which the mesh is enabled."""
        self.configure(config)
        for _ in range(2):
            self.done()
        assert self.outputs()["mesh"] == "enabled"

    # -- what came of it -------------------------------------------------------------------------

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        return dict(json.loads(self.run("stack", "output", "--json")))

    def ledger(self) -> dict[str, Any]:
        """The output `rotation`."""
        return dict(self.outputs()["rotation"])

    def exported(self) -> dict[str, Any]:
        """The state as `pulumi stack export` gives it, secrets encrypted."""
        return dict(json.loads(self.run("stack", "export")))

    def resources(self) -> dict[str, dict[str, Any]]:
        """The resources in the state, by type and name; without Pulumi's own (stack, providers)."""
        found = self.exported()["deployment"].get("resources", [])
        return {
            f"{one['type']}::{one['urn'].rsplit('::', 1)[1]}": one
            for one in found
            if not one["type"].startswith("pulumi:p")
        }

    @contextmanager
    def writes(self) -> Iterator[list[str]]:
        """What is written to Azure meanwhile, in order: `secrets/root-cert`, `vaults/write`."""
        seen = len(self.cloud.requests(outcome=None))
        found: list[str] = []
        yield found
        for request in self.cloud.requests(outcome=None)[seen:]:
            if request.outcome == "ok" and request.operation.endswith(("/write", "/delete")):
                secret = request.operation == "secrets/write"
                found.append(
                    f"secrets/{ids.segment(request.id, 'secrets')}" if secret else request.operation
                )

    def secret(self, name: str) -> dict[str, Any]:
        """A secret of the only vault as ARM shows it, and its `value` as the data plane would."""
        with self.cloud.glance() as azure:
            [stored] = [
                one
                for one in azure.of_kind("Microsoft.KeyVault/vaults/secrets")
                if one.document["name"] == name
            ]
            held = azure.secret_value(stored.id)
            assert held is not None
            return {**stored.document, "value": held[1]}

    def secrets(self) -> set[str]:
        """The names of the secrets in the cloud's vaults."""
        with self.cloud.glance() as azure:
            found = azure.of_kind("Microsoft.KeyVault/vaults/secrets")
        return {str(one.document["name"]) for one in found}

    def only(self, kind: str) -> dict[str, Any]:
        """The only resource of an ARM type, as a GET would show it."""
        with self.cloud.glance() as azure:
            [stored] = azure.of_kind(kind)
        return stored.document

    def import_without_outputs(self) -> None:
        """Exports the state and imports it again without the stack's outputs."""
        state = self.exported()
        for resource in state["deployment"]["resources"]:
            if resource["type"] == "pulumi:pulumi:Stack":
                del resource["outputs"]
        self.run("stack", "import", given=json.dumps(state))

    # -- time ------------------------------------------------------------------------------------

    def wait_for_next_move(self) -> None:
        """Waits until the next move of the ledger is legal."""
        wait_until(self.ledger()["nextMove"]["notBefore"])

    def wait_for_window(self) -> None:
        """Waits until nothing but the posture in force counts any more."""
        for entry in self.ledger()["window"]:
            ended = datetime.fromisoformat(entry["until"])
            wait_until((ended + timedelta(seconds=sum(entry["pace"].values()))).isoformat())


def wait_until(moment: str) -> None:
    """Waits until a moment that a ledger or a refusal names has come."""
    left = (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()
    assert left < TIMEOUT, f"{moment} is too far away for a test"
    time.sleep(max(0.0, left))


def _session(leader: int) -> list[int]:
    """The processes of a session, which plug-ins stay in although they leave the group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # proc(5): pid (comm) state ppid pgrp session ...; comm may hold anything.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader:
            found.append(int(stat.parent.name))
    return found


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return
