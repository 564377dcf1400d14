"""The plug-in `kubernetes` as a program: `python -m lab.kubernetes <engine address> [flags]`."""

from __future__ import annotations

from lab.provider.protocol import import_stubs_alone


def main() -> None:
    """Serve until the engine is done."""
    import_stubs_alone()
    from lab.kubernetes.provider import Kubernetes
    from lab.provider.server import serve

    serve(Kubernetes())


if __name__ == "__main__":
    main()
