"""The protocol's gRPC stubs without the SDK around them.

The stubs are a part of the package `pulumi`, whose own import takes longer than everything else
that a plug-in does in a preview. A process that only serves the protocol needs none of it.
"""

import sys
from importlib.util import find_spec
from types import ModuleType


def import_stubs_alone() -> None:
    """Makes `pulumi.runtime.proto` importable without running the packages above it.

    Call it first thing in a plug-in's process, and nowhere else: `pulumi` stays an empty shell
    there. Without effect where the SDK is imported already.
    """
    if "pulumi" in sys.modules:
        return
    found = find_spec("pulumi")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("the package `pulumi` is not installed: run `make setup`")
    [home] = found.submodule_search_locations
    for name in ("pulumi", "pulumi.runtime", "pulumi.runtime.proto"):
        shell = ModuleType(name)
        shell.__path__ = [home + name.removeprefix("pulumi").replace(".", "/")]
        sys.modules[name] = shell
