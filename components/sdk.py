"""The parts of the Azure SDK that every run uses; each loads at its first use."""

from __future__ import annotations

from pulumi_azure_native import containerservice, keyvault, resources


def load() -> None:
    """Imports them now: for a thread of its own, while the engine starts their plug-in.

    Either takes a tenth of a second and more, and a preview waits for both.
    """
    for module in (containerservice, keyvault, resources):
        _ = module.outputs
