"""The stacks of a Pulumi backend and their outputs, asked of the `pulumi` on PATH."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from meshca.fleet import Member, member
from meshca.refusals import Refusal, Refused

AT_ONCE = 8
TIMEOUT = 120
"""Seconds after which a `pulumi` counts as hung."""


class _FailedError(Exception):
    """A `pulumi` gave no answer that can be used; its text says why."""


def every_mesh() -> list[Member]:
    """All stacks of the backend that are this program's.

    Raises Refused (`no-backend`) when they cannot be listed, (`no-mesh`) when there are none: a
    check that looks at the wrong backend must not pass.
    """
    stacks = _every_stack()
    found = [one for one in _members(stacks) if one is not None]
    if not found:
        raise Refused([_no_mesh(len(stacks))])
    return found


def named(stacks: Sequence[str]) -> list[Member]:
    """These stacks, in order; one without outputs of this program is told as a problem."""
    return [
        one or Member(stack, problem=_NO_OUTPUTS, brief="no outputs")
        for stack, one in zip(stacks, _members(stacks), strict=True)
    ]


_NO_OUTPUTS = (
    "it has no outputs of this program: bring it up with `pulumi up`, or name another stack"
)


def _every_stack() -> list[str]:
    try:
        listed = _pulumi("stack", "ls", "--all", "--json", "--fully-qualify-stack-names")
        if not isinstance(listed, list):
            raise _FailedError("`pulumi stack ls` printed no list")
        return sorted(str(found["name"]) for found in listed)
    except _FailedError as failed:
        raise Refused([_no_backend(str(failed))]) from None
    except (KeyError, TypeError):
        raise Refused([_no_backend("`pulumi stack ls` printed no list of stacks")]) from None


def _members(stacks: Sequence[str]) -> list[Member | None]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(_member, stacks))


def _member(stack: str) -> Member | None:
    try:
        outputs = _pulumi("stack", "output", "--json", "--stack", stack)
        if not isinstance(outputs, Mapping):
            raise _FailedError("`pulumi stack output` printed no JSON object")
    except _FailedError as failed:
        return Member(stack, problem=f"its outputs cannot be read: {failed}")
    return member(stack, outputs)


def _backend() -> str:
    """The backend in use, by its URL if that is to be had; without anybody's password."""
    try:
        told = _pulumi("whoami", "--verbose", "--json")
        url = urlsplit(told["url"] if isinstance(told, Mapping) else "")
    except (_FailedError, KeyError, TypeError, ValueError, AttributeError):
        return "the backend"
    place = f"{url.netloc.rpartition('@')[2]}{url.path}"
    return f"the backend {url.scheme}://{place}" if url.scheme and place else "the backend"


def _pulumi(*arguments: str) -> object:
    """What it prints as JSON. Raises _FailedError, or Refused where there is no `pulumi`."""
    command = f"`pulumi {' '.join(arguments[:2])}`"
    try:
        answer = subprocess.run(
            ["pulumi", *arguments, "--non-interactive", "--color=never"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise Refused([_NO_PULUMI]) from None
    except subprocess.TimeoutExpired:
        raise _FailedError(f"{command} did not answer within {TIMEOUT} seconds") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "a name in it is none"
        raise _FailedError(f"{command} cannot be run: {why}") from None
    if answer.returncode != 0:
        raise _FailedError(_last_line(answer.stderr.decode(errors="replace")))
    try:
        return json.loads(answer.stdout)
    except (ValueError, RecursionError):
        raise _FailedError(f"{command} printed no JSON") from None


_NO_PULUMI = Refusal(
    "no-backend",
    "the stacks of the backend cannot be listed (there is no `pulumi` on PATH)",
    "Install the Pulumi CLI, and choose a backend with `pulumi login`.",
)


def _no_backend(why: str) -> Refusal:
    return Refusal(
        "no-backend",
        f"the stacks of the backend cannot be listed ({why})",
        "Choose a backend with `pulumi login`, and run this where `pulumi stack ls --all` works.",
    )


def _no_mesh(stacks: int) -> Refusal:
    return Refusal(
        "no-mesh",
        f"{_backend()} has no stack with outputs of this program, out of {stacks}",
        "Choose another backend with `pulumi login`, or bring a stack up with `pulumi up`.",
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "it gave no reason"
