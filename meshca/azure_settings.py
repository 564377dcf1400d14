"""The settings of the cluster and of the Key Vault.

Names follow Azure Resource Manager, "Naming rules and restrictions for Azure resources"
(learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules), sections
Microsoft.ContainerService and Microsoft.KeyVault: ARM refuses a bad one only at `pulumi up`.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, WithJsonSchema

from . import durations
from .fields import (
    RESOURCE_GROUP_ALLOWED,
    SWITCH_ALLOWED,
    Model,
    ResourceGroup,
    Setting,
    keys_of,
    one_of,
)


class NodePool(Model):
    """The cluster's system node pool."""

    # AKS, Linux node pools: a letter, then up to 11 lower-case letters and digits.
    name: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z][a-z0-9]{0,11}$"),
        Setting(
            "Name of the node pool",
            "1 to 12 lower-case letters and digits that start with a letter",
        ),
    ] = "system"
    vm_size: Annotated[
        str,
        StringConstraints(pattern=r"^Standard_[A-Za-z0-9_-]+$", max_length=80),
        Setting("Size of the virtual machines", "a size such as Standard_D4s_v5"),
    ] = "Standard_D4s_v5"
    count: Annotated[
        int, Field(ge=1, le=1000), Setting("Number of nodes", "a whole number, 1 to 1000")
    ] = 3


def _consecutive(revisions: tuple[str, ...]) -> tuple[str, ...]:
    """AKS, "Upgrade Istio-based service mesh add-on": from n to n+1 or to n+2."""
    minors = [int(revision.rpartition("-")[2]) for revision in revisions]
    if len(minors) == 2 and minors[1] - minors[0] not in (1, 2):
        raise ValueError("not consecutive")
    return revisions


def _within_a_day(interval: str) -> str:
    if not timedelta(seconds=1) <= durations.parse(interval) <= timedelta(hours=24):
        raise ValueError("out of range")
    return interval


def _dns_prefix(data: dict[str, Any]) -> str:
    """The cluster's name as a DNS prefix. It must never change: AKS replaces the cluster then."""
    return str(data["name"]).replace("_", "-")[:54].rstrip("-")


class Cluster(Model):
    """The AKS cluster that runs the mesh."""

    name: Annotated[
        str,
        StringConstraints(
            pattern=r"^[a-zA-Z0-9]([-_a-zA-Z0-9]*[a-zA-Z0-9])?$", min_length=1, max_length=63
        ),
        Setting(
            "Name of the AKS cluster",
            "1 to 63 letters, digits, underscores and hyphens, a letter or digit at both ends",
        ),
    ]
    resource_group: Annotated[
        ResourceGroup, Setting("Resource group of the cluster", RESOURCE_GROUP_ALLOWED)
    ]
    # Revisions are retired every few months (AKS, "Istio add-on support policy"): no default.
    revisions: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^asm-1-[1-9][0-9]{0,3}$")], ...],
        Field(strict=False, min_length=1, max_length=2),
        AfterValidator(_consecutive),
        Setting(
            "Istio revisions; two during an upgrade",
            'one revision, or two consecutive ones such as ["asm-1-28", "asm-1-29"]',
        ),
    ]
    kubernetes_version: Annotated[
        Annotated[str, StringConstraints(pattern=r"^1\.[0-9]{1,2}(\.[0-9]{1,3})?$")] | None,
        # In quotes: YAML reads 1.30 as the number 1.3.
        Setting(
            "Kubernetes version; by default the one AKS chooses",
            'text in quotes such as "1.33" or "1.33.2"',
        ),
    ] = None
    # The azurerm provider's KubernetesDNSPrefix; ARM's own schema has no rule.
    dns_prefix: Annotated[
        str,
        StringConstraints(
            pattern=r"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$", min_length=1, max_length=54
        ),
        Setting(
            "DNS prefix of the API server; by default the name of the cluster",
            "1 to 54 letters, digits and hyphens, a letter or digit at both ends",
        ),
    ] = Field(default_factory=_dns_prefix)
    node_pool: Annotated[
        NodePool,
        Setting(
            "The system node pool that the cluster is made with; `az aks nodepool` changes it "
            "afterwards",
            keys_of(NodePool),
        ),
    ] = Field(default_factory=NodePool)
    rotation_poll_interval: Annotated[
        str,
        AfterValidator(_within_a_day),
        # The driver's flag of the same name is a Go duration.
        StringConstraints(pattern="^[0-9hms]+$"),
        WithJsonSchema({"type": "string", "pattern": durations.GO_PATTERN}),
        Setting(
            "How often the Secrets Store CSI driver looks for new secrets",
            "a duration in h, m and s such as 20s or 2m, 1s to 24h",
        ),
    ] = "2m"
    mesh: Annotated[bool, Setting("Whether the mesh is on", SWITCH_ALLOWED)] = True
    existing: Annotated[
        bool,
        Setting("Whether the cluster exists already and is adopted", SWITCH_ALLOWED),
    ] = False
    # With kubelogin or behind a private endpoint the credentials that AKS hands out do not serve.
    kubeconfig: Annotated[
        Annotated[SecretStr, Field(min_length=1)] | None,
        Setting(
            "Kubeconfig to restart workloads with, by default the one that AKS hands out; "
            "only ever set with --secret",
            "the text of a kubeconfig file",
        ),
    ] = None

    @property
    def poll(self) -> timedelta:
        """`rotation_poll_interval` as a duration."""
        return durations.parse(self.rotation_poll_interval)


class AccessModel(StrEnum):
    """How a vault decides who may read its secrets."""

    ACCESS_POLICY = "accessPolicy"
    RBAC = "rbac"


def _with_get(permissions: tuple[str, ...]) -> tuple[str, ...]:
    if "get" not in permissions or len(set(permissions)) != len(permissions):
        raise ValueError("get is needed, and none twice")
    return permissions


class KeyVault(Model):
    """The vault that holds the four secrets."""

    name: Annotated[
        str,
        StringConstraints(pattern=r"^[a-zA-Z](-?[a-zA-Z0-9])*$", min_length=3, max_length=24),
        Setting(
            "Name of the Key Vault, unique in all of Azure",
            "3 to 24 letters, digits and single hyphens, a letter first, no hyphen at the end",
        ),
    ]
    access_model: Annotated[
        Annotated[AccessModel, Field(strict=False)],
        Setting(
            "How the vault decides who may read its secrets",
            one_of(AccessModel),
            tuple(AccessModel),
        ),
    ]
    resource_group: Annotated[
        ResourceGroup,
        Setting("Resource group of the vault; by default the cluster's", RESOURCE_GROUP_ALLOWED),
    ] = ""
    secret_permissions: Annotated[
        tuple[Literal["get", "list"], ...],
        Field(strict=False, min_length=1, max_length=2),
        AfterValidator(_with_get),
        Setting(
            "What the access policy of the add-on's identity permits; get suffices",
            '["get"] or ["get", "list"]',
        ),
    ] = ("get",)
    purge_protection: Annotated[
        bool,
        Setting("Whether nobody can purge deleted secrets; cannot be undone", SWITCH_ALLOWED),
    ] = True
    soft_delete_days: Annotated[
        int,
        Field(ge=7, le=90),
        Setting(
            "How many days deleted secrets can be recovered", "a whole number of days, 7 to 90"
        ),
    ] = 90
    existing: Annotated[
        bool,
        Setting("Whether the vault exists already and is only used", SWITCH_ALLOWED),
    ] = False


class AlertSeverity(StrEnum):
    """Severities of Azure Monitor, from critical to verbose."""

    CRITICAL = "Sev0"
    ERROR = "Sev1"
    WARNING = "Sev2"
    INFORMATIONAL = "Sev3"
    VERBOSE = "Sev4"


class ExpiryAlert(Model):
    """An Azure Monitor alert on secrets that are about to end (30 days before, Key Vault says)."""

    action_groups: Annotated[
        tuple[
            Annotated[
                str,
                StringConstraints(
                    pattern=r"^/subscriptions/[^/]+/resourceGroups/[^/]+/providers"
                    r"/[Mm]icrosoft\.[Ii]nsights/actionGroups/[^/]+$",
                    max_length=500,
                ),
            ],
            ...,
        ],
        Field(strict=False, min_length=1),
        Setting(
            "Who is told",
            "a list of ARM ids of action groups, such as /subscriptions/ID/resourceGroups/GROUP"
            "/providers/Microsoft.Insights/actionGroups/NAME",
        ),
    ]
    severity: Annotated[
        Annotated[AlertSeverity, Field(strict=False)],
        Setting("Severity of the alert", one_of(AlertSeverity), tuple(AlertSeverity)),
    ] = AlertSeverity.WARNING
