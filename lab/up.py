"""`make up`: the program on the local cloud, until it has converged."""

import json
import subprocess
import sys

from lab import layout

STACK = "dev"
PASSES = 3
"""The first builds what the mesh needs, the second enables it; a third would be a defect."""


def main() -> int:
    """Runs `pulumi up` until the output `mesh` says that nothing is pending; returns its code."""
    _pulumi("stack", "select", "--create", STACK)
    for _ in range(PASSES):
        print(f"\n$ pulumi up --yes --stack {STACK}", flush=True)
        if code := _pulumi("up", "--yes", "--skip-preview", "--stack", STACK):
            return code
        if not _output("mesh").startswith("pending: run"):
            print(
                f"\nConverged. `. {layout.ENVIRONMENT.relative_to(layout.ROOT)}` gives a shell "
                "in which `pulumi` runs on the local cloud."
            )
            return 0
    print(f"lab: the mesh is still pending after {PASSES} runs of `pulumi up`", file=sys.stderr)
    return 1


def _pulumi(*arguments: str) -> int:
    return subprocess.run(["pulumi", *arguments], cwd=layout.ROOT, check=False).returncode


def _output(name: str) -> str:
    answer = subprocess.run(
        ["pulumi", "stack", "output", "--json", "--stack", STACK],
        cwd=layout.ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return str(json.loads(answer.stdout)[name])


if __name__ == "__main__":
    sys.exit(main())
