"""`make bench`: prints every figure; exit code 1 when one is over what it may be."""

import sys
import tempfile
from pathlib import Path

from bench import timing
from bench.check import check
from bench.fleet import fleet
from bench.preview import preview
from bench.rotation import rotation
from bench.verify import verify


def main() -> int:
    """Runs every measurement in a directory of its own."""
    results: list[timing.Result] = []
    for measure in (preview, check, fleet, verify, rotation):
        with tempfile.TemporaryDirectory() as directory:
            for result in measure(Path(directory)):
                print(result, flush=True)
                results.append(result)
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
