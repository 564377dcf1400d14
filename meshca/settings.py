"""Stack configuration as typed settings, or every mistake in it at once.

`load` takes what Pulumi hands to a program (scalars as text, objects as JSON text) and returns
`Settings`, or raises `SettingsError`. The JSON Schema of the stack files comes from the same
models (`python -m meshca.schema`), so an editor and the program agree on every key.
"""

import json
from collections.abc import Mapping
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
from .azure_settings import AccessModel, Cluster, KeyVault, NodePool
from .fields import NAME, Duration, Model, Name, Setting, keys_of, one_of
from .mistakes import Mistake, Path, SettingsError, from_validation
from .rotation import Phase, stance

__all__ = [
    "NAMESPACE",
    "AccessModel",
    "Algorithm",
    "Cluster",
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
    workloads: Annotated[
        list[Any],
        Field(max_length=0),
        Setting(
            "Workloads to restart when trust or signer has changed",
            "[], as restarting workloads is not supported yet",
        ),
    ] = Field(default_factory=list)
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


_TEXT = frozenset({"rotationPhase", "activeIssuer", "nextIssuer", "leafTtl", "slack"})
"""Settings that are text; Pulumi hands over the others as JSON text."""


def load(config: Mapping[str, object], *, namespace: str = NAMESPACE) -> Settings:
    """The settings in a stack's configuration; SettingsError with every mistake in it.

    `config` maps `namespace:key` to what Pulumi hands over: text for scalars, JSON text (or the
    decoded value) for everything else. Keys of other namespaces are not looked at.
    """
    prefix = f"{namespace}:"
    raw: dict[str, Any] = {
        key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)
    }
    raw = {key: value if key in _TEXT else _decoded(value) for key, value in raw.items()}
    settings, mistakes, readable = _validated(raw, namespace)
    mistakes = {**combinations.find(readable, namespace), **mistakes}
    if mistakes or settings is None:
        raise SettingsError(mistakes[path] for path in sorted(mistakes))
    return settings


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
