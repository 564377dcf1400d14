"""Stack configuration as typed settings, or every mistake in it at once.

`load` takes what Pulumi hands to a program (scalars as text, objects as JSON text) and returns
`Settings`, or raises `SettingsError`. The JSON Schema of the stack files comes from the same
models (`python -m meshca.schema`), so an editor and the program agree on every key.
"""

import json
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from . import combinations
from .authority_settings import Algorithm, GeneratedRoot, Issuer, KeySource, Root
from .azure_settings import (
    AccessModel,
    AlertSeverity,
    Cluster,
    ExpiryAlert,
    KeyVault,
    NodePool,
)
from .fields import (
    NAME,
    RESOURCE_GROUP_ALLOWED,
    Duration,
    Model,
    Name,
    ResourceGroup,
    Setting,
    keys_of,
    one_of,
)
from .mistakes import Mistake, Path, SettingsError, from_validation, spell
from .rotation import Phase, stance
from .workload_settings import Workload, WorkloadKind

__all__ = [
    "NAMESPACE",
    "AccessModel",
    "AlertSeverity",
    "Algorithm",
    "Cluster",
    "ExpiryAlert",
    "GeneratedRoot",
    "Issuer",
    "KeySource",
    "KeyVault",
    "Mistake",
    "NodePool",
    "Override",
    "Phase",
    "Root",
    "Settings",
    "SettingsError",
    "Workload",
    "WorkloadKind",
    "load",
]

NAMESPACE = "aks-istio-ca"
"""The project's name: Pulumi's namespace for keys of a stack file that belong to the project."""


_STANCE = rf"(bootstrap|steady {NAME}|(distribute|switch|retire) {NAME} {NAME})"


class Override(Model):
    """Break-glass: admits one refused move and no other."""

    move: Annotated[
        str,
        StringConstraints(pattern=f"^({_STANCE}|unknown) -> {_STANCE}$"),
        Setting(
            "The one move to admit although it is refused",
            'a move as the refusal names it, such as "steady a1 -> steady a2"',
        ),
    ]
    reason: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=10),
        Setting("Why it has to be; it is recorded", "text of at least 10 characters"),
    ]


_STACK_PART = "[A-Za-z0-9_.-]+"


class Settings(Model):
    """The configuration of one stack."""

    rotation_phase: Annotated[
        Annotated[Phase, Field(strict=False)],
        Setting("The phase that the mesh should be in", one_of(Phase), tuple(Phase)),
    ]
    active_issuer: Annotated[
        Name | None,
        Setting(
            "The issuer that signs; while rotating, the one to move from", "the name of an issuer"
        ),
    ] = None
    next_issuer: Annotated[
        Name | None, Setting("While rotating, the issuer to move to", "the name of an issuer")
    ] = None
    roots: Annotated[
        dict[Name, Root],
        Field(min_length=1),
        Setting("Trust anchors by name", "an object of roots by name, at least one"),
    ]
    issuers: Annotated[
        dict[Name, Issuer],
        Field(min_length=1),
        Setting("Intermediate CAs by name", "an object of issuers by name, at least one"),
    ]
    issuer_keys: Annotated[
        dict[Name, Annotated[SecretStr, Field(min_length=1)]],
        Setting(
            "Private keys of the issuers whose key is secret; only ever set with --secret",
            "private keys in PEM by name of the issuer",
        ),
    ] = Field(default_factory=dict)
    cluster: Annotated[Cluster, Setting("The AKS cluster", keys_of(Cluster))]
    key_vault: Annotated[KeyVault, Setting("The Key Vault", keys_of(KeyVault))]
    existing_resource_groups: Annotated[
        list[ResourceGroup],
        Setting(
            "Resource groups that exist already and are only used; one of an existing cluster or "
            "vault need not be named",
            f"a list of names of resource groups, each {RESOURCE_GROUP_ALLOWED}",
        ),
    ] = Field(default_factory=list)
    workloads: Annotated[
        list[Workload],
        Setting(
            "Workloads to restart when trust or signer has changed; [] waits instead",
            "a list of workloads such as [{namespace: shop, kind: Deployment, name: web}] or "
            "[{namespace: shop, selector: {tier: web}}]",
        ),
    ] = Field(default_factory=list)
    restart_timeout: Annotated[
        Duration,
        Field(ge=timedelta(seconds=1), le=timedelta(hours=2)),
        Setting(
            "How long to wait for istiod to show a change, and for each restarted workload",
            "a duration such as 10m or 1h, 1s to 2h",
        ),
    ] = timedelta(minutes=10)
    # 90 days is istiod's own limit, MAX_WORKLOAD_CERT_TTL.
    leaf_ttl: Annotated[
        Duration,
        Field(ge=timedelta(seconds=1), le=timedelta(days=90)),
        Setting("Lifetime of workload certificates", "a duration such as 90m or 24h, 1s to 90d"),
    ] = timedelta(hours=24)
    slack: Annotated[
        Duration,
        Field(ge=timedelta(seconds=1), le=timedelta(hours=24)),
        Setting(
            "How much later than its interval a poll or a renewal may come",
            "a duration such as 20s or 5m, 1s to 24h",
        ),
    ] = timedelta(minutes=5)
    expiry_alert: Annotated[
        ExpiryAlert | None,
        Setting("An alert on secrets that are about to end", keys_of(ExpiryAlert)),
    ] = None
    override: Annotated[
        Override | None, Setting("Break-glass for one refused move", keys_of(Override))
    ] = None
    peers: Annotated[
        list[
            Annotated[
                str,
                StringConstraints(
                    pattern=f"^{_STACK_PART}/{_STACK_PART}/{_STACK_PART}$", max_length=300
                ),
            ]
        ],
        Setting(
            "Stacks of the other clusters in the same trust domain",
            'a list of stacks such as ["organization/aks-istio-ca/west"]',
        ),
    ] = Field(default_factory=list)

    @field_validator("key_vault")
    @classmethod
    def _vault_beside_cluster(cls, vault: KeyVault, info: ValidationInfo) -> KeyVault:
        if vault.resource_group or "cluster" not in info.data:
            return vault
        return vault.model_copy(update={"resource_group": info.data["cluster"].resource_group})

    @property
    def stance(self) -> str:
        """Phase and issuers, as overrides and the ledger name them: `switch a1 b1`."""
        if self.active_issuer is None:
            return "bootstrap"
        return stance(self.rotation_phase, self.active_issuer, self.next_issuer)

    def pending(self, name: str) -> bool:
        """Whether an issuer waits for its offline root to sign it; KeyError for an unknown name."""
        issuer = self.issuers[name]
        return issuer.certificate is None and self.roots[issuer.root].generated is None

    def creates_resource_group(self, name: str) -> bool:
        """Whether the program makes the resource group of this name."""
        existing = {group.lower() for group in self.existing_resource_groups}
        if self.cluster.existing:
            existing.add(self.cluster.resource_group.lower())
        if self.key_vault.existing:
            existing.add(self.key_vault.resource_group.lower())
        return name.lower() not in existing


_TEXT = frozenset(
    {"rotationPhase", "activeIssuer", "nextIssuer", "leafTtl", "slack", "restartTimeout"}
)
"""Settings that are text; Pulumi hands over the others as JSON text."""


def load(
    config: Mapping[str, object],
    *,
    secret: Collection[str] | None = None,
    namespace: str = NAMESPACE,
) -> Settings:
    """The settings in a stack's configuration; SettingsError with every mistake in it.

    `config` maps `namespace:key` to what Pulumi hands over: text for scalars, JSON text (or the
    decoded value) for everything else. Keys of other namespaces are not looked at. `secret` names
    the keys that are encrypted in the stack file; private keys must be (None: it is not known).
    """
    prefix = f"{namespace}:"
    raw: dict[str, Any] = {
        key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)
    }
    raw = {key: value if key in _TEXT else _decoded(value) for key, value in raw.items()}
    settings, mistakes, readable = _validated(raw, namespace)
    mistakes = {
        **combinations.find(readable, namespace),
        **(_in_plain_text(raw, secret, namespace) if secret is not None else {}),
        **mistakes,
    }
    if mistakes or settings is None:
        raise SettingsError(mistakes[path] for path in sorted(mistakes))
    return settings


def _in_plain_text(
    raw: Mapping[str, Any], secret: Collection[str], namespace: str
) -> dict[Path, Mistake]:
    """Private keys that stand in the stack file for everyone to read.

    Pulumi calls a key secret as soon as anything in it is.
    """
    paths: list[Path] = [("issuerKeys",)] if raw.get("issuerKeys") else []
    cluster = raw.get("cluster")
    if isinstance(cluster, Mapping) and "kubeconfig" in cluster:
        paths.append(("cluster", "kubeconfig"))
    return {
        path: Mistake(
            spell(namespace, path),
            "plain text",
            "a secret: take it out of the stack file, replace the key that was in it, and use "
            "`pulumi config set --secret --path`",
        )
        for path in paths
        if f"{namespace}:{path[0]}" not in secret
    }


def _validated(
    raw: dict[str, Any], namespace: str
) -> tuple[Settings | None, dict[Path, Mistake], dict[str, Any]]:
    try:
        return Settings.model_validate(raw), {}, raw
    except ValidationError as error:
        return None, *from_validation(error, Settings, raw, namespace)


def _decoded(value: object) -> object:
    """JSON text decoded; anything else as it is, for the model to refuse."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
