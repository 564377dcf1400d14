"""The plug-in `azure-native` as a program: `python -m lab.azure <engine address> [flags]`.

The cloud it stands for is in the directory that LAB_STATE names.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lab.provider.protocol import import_stubs_alone


def main() -> None:
    """Serve until the engine is done; exit 1 when LAB_STATE is not set."""
    import_stubs_alone()
    from lab.azure.provider import AzureNative
    from lab.provider.server import serve

    state = os.environ.get("LAB_STATE")
    if not state:
        sys.exit("lab.azure: LAB_STATE is not set; it names the directory that holds the cloud")
    serve(AzureNative(Path(state)))


if __name__ == "__main__":
    main()
