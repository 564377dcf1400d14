"""The resource groups that the stack makes."""

from __future__ import annotations

import pulumi
from pulumi_azure_native import resources

from meshca.settings import Settings


def resource_groups(settings: Settings, *, retain: bool = False) -> dict[str, pulumi.Input[str]]:
    """Name -> the group's name, which what lies in a group that is made here has to wait for.

    ARM deletes a group with everything in it, whatever Pulumi keeps. `retain`: a group stays when
    the stack goes, for a mesh that stays.
    """
    options = pulumi.ResourceOptions(protect=True, retain_on_delete=retain)
    return {
        name: resources.ResourceGroup(f"group-{name}", resource_group_name=name, opts=options).name
        if settings.creates_resource_group(name)
        else name
        for name in dict.fromkeys(
            (settings.cluster.resource_group, settings.key_vault.resource_group)
        )
    }
