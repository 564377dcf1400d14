"""The stacks of a Pulumi backend and their outputs, asked of the `pulumi` on PATH."""

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from meshca.fleet import Member, member
from meshca.refusals import Refusal, Refused

AT_ONCE = 8
TIMEOUT = 120
"""Seconds after which a `pulumi` counts as hung."""


def every_stack() -> list[str]:
    """The full names of all stacks of the backend. Raises Refused (`no-backend`)."""
    answer = _pulumi("stack", "ls", "--all", "--json", "--fully-qualify-stack-names")
    if answer.returncode != 0:
        raise Refused([_no_backend(answer.stderr)])
    return sorted(found["name"] for found in json.loads(answer.stdout))


def members(stacks: Sequence[str]) -> list[Member]:
    """The stacks among these that are this program's, in order; what fails is told as a problem."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(_member, stacks))
    return [one for one in found if one is not None]


def _member(stack: str) -> Member | None:
    answer = _pulumi("stack", "output", "--json", "--stack", stack)
    if answer.returncode != 0:
        return Member(stack, problem=f"its outputs cannot be read: {_last_line(answer.stderr)}")
    return member(stack, json.loads(answer.stdout))


def _pulumi(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["pulumi", *arguments, "--non-interactive", "--color=never"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise Refused([_no_backend("there is no `pulumi` on PATH")]) from None


def _no_backend(why: str) -> Refusal:
    return Refusal(
        "no-backend",
        f"the stacks of the backend cannot be listed ({_last_line(why)})",
        "Install the Pulumi CLI, choose a backend with `pulumi login`, and run it where "
        "`pulumi stack ls --all` works.",
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "no reason was given"
