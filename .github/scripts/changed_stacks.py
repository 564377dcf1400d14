#!/usr/bin/env python3
"""changed_stacks.py [BASE HEAD]: the stacks that a change concerns, as `stacks=[...]`.

A stack is concerned when its file has changed, or a file that this one names (a certificate), or
anything that every stack runs. Only stacks listed in $STACKS (a JSON list) count, so that the
example files are nobody's; one without a file is left out, and said so. Every one of them is
concerned without BASE and HEAD, and when git cannot compare the two (the first commit of a branch,
a force push).

Needs Python and git only: it runs before anything is installed.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

SHARED_FILES = ("Pulumi.yaml", "__main__.py", "policies.json", "requirements.txt")
SHARED_DIRECTORIES = ("components/", "meshca/", "policy/")
"""What every stack runs."""


def concerned(changed: Iterable[str], stacks: Mapping[str, str]) -> list[str]:
    """The stacks that changed files concern; `stacks` maps each to the text of its file."""
    files = set(changed)
    if any(file in SHARED_FILES or file.startswith(SHARED_DIRECTORIES) for file in files):
        return list(stacks)
    return [
        stack
        for stack, text in stacks.items()
        if f"Pulumi.{stack}.yaml" in files or any(file in text for file in files)
    ]


def changed_files(base: str, head: str) -> list[str] | None:
    """The files that `head` changes since it left `base`; None when that cannot be told."""
    answer = subprocess.run(
        # A file that moved has changed under both names: a stack may go on naming the old one.
        ["git", "diff", "--name-only", "--no-renames", "-z", f"{base}...{head}"],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    if answer.returncode != 0:
        return None
    return [name for name in answer.stdout.split("\0") if name]


def main(arguments: list[str]) -> int:
    """Prints the line that a step appends to $GITHUB_OUTPUT."""
    names = json.loads(os.environ.get("STACKS") or "[]")
    stacks = {}
    for name in names:
        file = Path(f"Pulumi.{name}.yaml")
        if file.is_file():
            stacks[name] = file.read_text()
        else:
            print(f"{name} is left out: STACKS names it, but there is no {file}", file=sys.stderr)
    base, head = [*arguments, "", ""][:2]
    changed = changed_files(base, head) if base and head else None
    chosen = list(stacks) if changed is None else concerned(changed, stacks)
    print(f"stacks={json.dumps(chosen)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
