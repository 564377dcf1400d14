"""`make setup`: the engine, the plug-ins' folders and `.lab/env`. Seconds when all is there."""

import sys

from lab import engine
from lab.programs import BuildError


def main() -> int:
    """Prepares everything that `make up` and `make test` need; returns the exit code."""
    try:
        engine.prepare()
    except BuildError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    engine.write_environment()
    return 0


if __name__ == "__main__":
    sys.exit(main())
