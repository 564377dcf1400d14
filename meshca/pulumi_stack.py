"""What a stack recorded and is configured with, asked of the `pulumi` command.

For commands that run outside of Pulumi. Decrypted configuration stays in memory.
"""

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from meshca.refusals import Refusal, Refused
from meshca.settings import NAMESPACE

TIMEOUT = 120
"""Seconds after which a `pulumi` counts as hung."""


def outputs(stack: str | None) -> Mapping[str, Any]:
    """Every output of a stack; None: of the stack that is selected. Raises Refused."""
    return _ask("stack", "output", "--json", *_named(stack))


def cluster(stack: str | None) -> Mapping[str, Any]:
    """The setting `cluster` of a stack, decrypted; empty where there is none. Raises Refused."""
    found = _ask("config", "--json", "--show-secrets", *_named(stack)).get(f"{NAMESPACE}:cluster")
    if found is None:
        return {}
    try:
        value = found["objectValue"] if "objectValue" in found else json.loads(found["value"])
    except (KeyError, TypeError, ValueError, RecursionError):
        value = None
    if not isinstance(value, Mapping):
        raise Refused([_NO_CLUSTER])
    return value


_NO_CLUSTER = Refusal(
    "kubeconfig-unusable",
    f"the setting `{NAMESPACE}:cluster` of the stack is not an object and tells of no kubeconfig",
    "Correct it in the stack file (`pulumi preview` says how), or give --kubeconfig.",
)


def _named(stack: str | None) -> tuple[str, ...]:
    return () if stack is None else ("--stack", stack)


def _ask(*arguments: str) -> Mapping[str, Any]:
    try:
        answer = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise Refused([_failed(arguments, "there is no `pulumi` on PATH")]) from None
    except subprocess.TimeoutExpired:
        raise Refused([_failed(arguments, f"no answer within {TIMEOUT} seconds")]) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no such name"
        raise Refused([_failed(arguments, f"it cannot be started ({why})")]) from None
    if answer.returncode != 0:
        said = answer.stderr.decode(errors="replace").strip()
        lines = said.splitlines() or [f"exit code {answer.returncode}"]
        raise Refused([_failed(arguments, lines[-1].removeprefix("error: "))])
    try:
        found = json.loads(answer.stdout)
    except (ValueError, RecursionError):
        raise Refused([_failed(arguments, "it printed no JSON")]) from None
    if not isinstance(found, Mapping):
        raise Refused([_failed(arguments, "it printed no JSON object")])
    return found


def _failed(arguments: tuple[str, ...], why: str) -> Refusal:
    return Refusal(
        "pulumi-failed",
        f"`pulumi {' '.join(arguments[:2])}` failed: {why}",
        "Run this in the directory of the project, with a stack selected or named by --stack; or "
        "give --kubeconfig and --ledger.",
    )
