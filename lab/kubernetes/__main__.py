"""The plug-in `kubernetes` as a program: `python -m lab.kubernetes <engine address> [flags]`."""

from __future__ import annotations

from lab.kubernetes.provider import Kubernetes
from lab.provider.server import serve

if __name__ == "__main__":
    serve(Kubernetes())
