"""What a stack recorded and is configured with, asked of the `pulumi` command.

For commands that run outside of Pulumi. Decrypted configuration stays in memory.
"""

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from meshca.refusals import Refusal, Refused
from meshca.settings import NAMESPACE


def outputs(stack: str | None) -> Mapping[str, Any]:
    """Every output of a stack; None: of the stack that is selected. Raises Refused."""
    return _mapping(_ask("stack", "output", "--json", *_named(stack)))


def cluster(stack: str | None) -> Mapping[str, Any]:
    """The setting `cluster` of a stack, decrypted; empty where there is none. Raises Refused."""
    config = _mapping(_ask("config", "--json", "--show-secrets", *_named(stack)))
    found = config.get(f"{NAMESPACE}:cluster", {})
    value = found.get("objectValue", found.get("value", {}))
    return _mapping(json.loads(value) if isinstance(value, str) else value)


def _named(stack: str | None) -> tuple[str, ...]:
    return () if stack is None else ("--stack", stack)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _ask(*arguments: str) -> object:
    try:
        answer = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise Refused([_failed(arguments, error.strerror or "it cannot be started")]) from None
    if answer.returncode != 0:
        lines = answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"]
        raise Refused([_failed(arguments, lines[-1].removeprefix("error: "))])
    try:
        return json.loads(answer.stdout)
    except ValueError:
        raise Refused([_failed(arguments, "it printed no JSON")]) from None


def _failed(arguments: tuple[str, ...], why: str) -> Refusal:
    return Refusal(
        "pulumi-failed",
        f"`pulumi {' '.join(arguments[:2])}` failed: {why}",
        "Run this in the directory of the project, with a stack selected or named by --stack; or "
        "give --kubeconfig and --ledger.",
    )
