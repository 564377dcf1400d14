"""A stack of the program on a local cloud of its own, driven by the real engine."""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import engine, layout

PROGRAM = ("Pulumi.yaml", "__main__.py", "components", "meshca")
STACK = "test"
TIMEOUT = 120
"""Seconds after which a `pulumi` counts as hung."""


@dataclass(frozen=True)
class Run:
    """How a `pulumi` command ended."""

    code: int
    output: str

    @property
    def refusals(self) -> list[str]:
        """The lines of the program's own error, without the engine's frame."""
        inside = re.search(r"error: (.*?)\n\s*(?:error: |\n|$)", self.output, re.S)
        return [line.strip() for line in inside[1].splitlines()] if inside else []


class Workspace:
    """The program, linked into a directory of its own, and one stack of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "lab"
        backend = directory / "backend"
        for needed in (self.state, backend):
            needed.mkdir(mode=0o700)
        for name in PROGRAM:
            (directory / name).symlink_to(layout.ROOT / name)
        self.environment = {
            **os.environ,
            **engine.environment(state=self.state, backend=backend),
            "PATH": os.pathsep.join(
                (str(layout.BIN), str(layout.PYTHON.parent), os.environ["PATH"])
            ),
        }
        self.run("stack", "init", STACK)

    @property
    def stack_file(self) -> Path:
        """The stack's configuration file."""
        return self.directory / f"Pulumi.{STACK}.yaml"

    def configure(self, config: Mapping[str, Any]) -> None:
        """Writes the stack's configuration; a JSON document is a YAML document."""
        salt = re.search(r"encryptionsalt: (\S+)", self.stack_file.read_text())
        assert salt is not None
        spelt = {
            key if ":" in key else f"aks-istio-ca:{key}": value for key, value in config.items()
        }
        spelt.setdefault("azure-native:location", "westeurope")
        self.stack_file.write_text(f"encryptionsalt: {salt[1]}\nconfig: {json.dumps(spelt)}\n")

    def set_secret(self, path: str, value: str) -> None:
        """Sets one secret of the configuration by its path, as users do."""
        self.run("config", "set", "--secret", "--path", f"aks-istio-ca:{path}", given=value)

    def pulumi(self, *arguments: str, given: str | None = None) -> Run:
        """Runs `pulumi`, whatever comes of it."""
        answer = subprocess.run(
            ["pulumi", *arguments, "--non-interactive", "--color=never"],
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
        return self.pulumi("up", "--yes", "--skip-preview", *arguments)

    def converge(self, config: Mapping[str, Any]) -> None:
        """Two `pulumi up`s, after which the mesh is enabled."""
        self.configure(config)
        for _ in range(2):
            ended = self.up()
            assert ended.code == 0, ended.output
        assert self.outputs()["mesh"] == "enabled"

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        found = self.run("stack", "output", "--json")
        return dict(json.loads(found))

    def exported(self) -> Sequence[dict[str, Any]]:
        """The resources in the state, secrets as they are stored."""
        state = json.loads(self.run("stack", "export"))
        return list(state["deployment"]["resources"])
