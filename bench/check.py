"""What `python -m meshca check` costs on a good bundle."""

from collections.abc import Iterator
from pathlib import Path

from bench.timing import Ratio, alternating, command
from lab import layout
from tests.material import openssl_bundle


def check(directory: Path) -> Iterator[Ratio]:
    """The command against importing the library that it cannot do without."""
    bundle = openssl_bundle(directory)
    python = str(layout.PYTHON)
    importing, checking = alternating(
        command([python, "-c", "import cryptography.x509"]),
        command([python, "-m", "meshca", "check", str(bundle)], cwd=layout.ROOT),
    )
    yield Ratio("meshca check / import cryptography.x509", checking, importing, 3.0)
