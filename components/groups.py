"""The resource groups that the stack makes."""

from __future__ import annotations

import pulumi
from pulumi_azure_native import resources

from meshca.settings import Settings


def resource_groups(settings: Settings) -> dict[str, pulumi.Input[str]]:
    """Name -> the group's name, which what lies in a group that is made here has to wait for."""
    return {
        name: resources.ResourceGroup(f"group-{name}", resource_group_name=name).name
        if settings.creates_resource_group(name)
        else name
        for name in dict.fromkeys(
            (settings.cluster.resource_group, settings.key_vault.resource_group)
        )
    }
