"""The plug-in `tls` as a program: `python -m lab.tls <engine address> [flags]`."""

from __future__ import annotations

from typing import Final

from lab.provider.plugin import Plugin
from lab.provider.server import serve
from lab.tls.resources import RESOURCES

VERSION: Final = "5.6.2"
"""The version of the SDK that the program pins: the engine looks for exactly this plug-in."""


def plugin() -> Plugin:
    """Return the plug-in. Like bridged providers it keeps secrets secret itself."""
    return Plugin(
        "tls", VERSION, {kind.token: kind() for kind in RESOURCES}, {}, accept_secrets=True
    )


if __name__ == "__main__":
    serve(plugin())
