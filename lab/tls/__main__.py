"""The plug-in `tls` as a program: `python -m lab.tls <engine address> [flags]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lab.provider.protocol import import_stubs_alone

if TYPE_CHECKING:
    from lab.provider.plugin import Plugin

VERSION: Final = "5.6.2"
"""The version of the SDK that the program pins: the engine looks for exactly this plug-in."""


def plugin() -> Plugin:
    """Return the plug-in. Like bridged providers it keeps secrets secret itself."""
    from lab.provider.plugin import Plugin
    from lab.tls.resources import RESOURCES

    return Plugin(
        "tls", VERSION, {kind.token: kind() for kind in RESOURCES}, {}, accept_secrets=True
    )


def main() -> None:
    """Serve until the engine is done."""
    import_stubs_alone()
    from lab.provider.server import serve

    serve(plugin())


if __name__ == "__main__":
    main()
