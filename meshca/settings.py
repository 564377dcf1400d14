"""Stack configuration as typed settings, or every mistake in it at once.

`load` takes what Pulumi hands a program (scalars as text, objects as JSON text) and returns
`Settings`, or raises `SettingsError`. The same models yield the JSON Schema of the stack files
(`python -m meshca.schema`), so editors and the program cannot disagree on a key.

Sources of the rules on names: Azure Resource Manager, "Naming rules and restrictions for Azure
resources" (learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules).
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.alias_generators import to_camel

from . import combinations, durations
from .mistakes import (
    Mistake,
    Setting,
    SettingsError,
    from_validation,
    keys_of,
    one_of,
)

__all__ = [
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


class Phase(StrEnum):
    """The phases of a rotation, in order."""

    STEADY = "steady"
    DISTRIBUTE = "distribute"
    SWITCH = "switch"
    RETIRE = "retire"


class Algorithm(StrEnum):
    """Key algorithms that istiod and pulumi-tls both take."""

    RSA_2048 = "RSA-2048"
    RSA_3072 = "RSA-3072"
    RSA_4096 = "RSA-4096"
    ECDSA_P256 = "ECDSA-P256"
    ECDSA_P384 = "ECDSA-P384"


class KeySource(StrEnum):
    """Where an issuer's private key comes from."""

    GENERATED = "generated"
    SECRET = "secret"
    EXTERNAL = "external"


class AccessModel(StrEnum):
    """How a vault decides who may read its secrets."""

    ACCESS_POLICY = "accessPolicy"
    RBAC = "rbac"


class _Model(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        strict=True,
        # A ValidationError must not carry a private key into a traceback.
        hide_input_in_errors=True,
    )


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError("not text")
    return durations.parse(value)


def _whole_hours(value: timedelta) -> timedelta:
    if value % timedelta(hours=1):
        raise ValueError("not whole hours")
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,19}$")]
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": durations.PATTERN}),
]
# pulumi-tls counts validity in hours (validityPeriodHours); a century ends before year 9999.
Validity = Annotated[
    timedelta,
    Field(ge=timedelta(hours=1), le=timedelta(days=36500)),
    BeforeValidator(_duration),
    AfterValidator(_whole_hours),
    WithJsonSchema({"type": "string", "pattern": durations.PATTERN}),
]
# RFC 5280, appendix A.1: ub-common-name and ub-organization-name are 64 characters.
SubjectText = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,64}$")]
FilePath = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,4096}$")]
# Resource groups: 1 to 90 letters, digits, underscores, hyphens, periods and parentheses, no
# period at the end.
ResourceGroup = Annotated[str, StringConstraints(pattern=r"^[-\w.()]{0,89}[-\w()]$")]

_ALGORITHMS = tuple(Algorithm)
_SUBJECT = "1 to 64 printable characters"
_PEM_PATH = "the path of a PEM file, relative to Pulumi.yaml"
_VALIDITY = "a duration in whole hours, 1h to 36500d"
_RESOURCE_GROUP = (
    "1 to 90 letters, digits, underscores, hyphens, periods and parentheses, no period at the end"
)


class GeneratedRoot(_Model):
    """A root whose key the program makes and keeps in the encrypted state: for development."""

    algorithm: Annotated[
        Algorithm,
        Field(strict=False),
        Setting("Key algorithm of the root", one_of(_ALGORITHMS), _ALGORITHMS),
    ] = Algorithm.ECDSA_P384
    common_name: Annotated[
        SubjectText | None, Setting("Common name of the root; derived from its name", _SUBJECT)
    ] = None
    organization: Annotated[SubjectText, Setting("Organization of the root", _SUBJECT)] = "Istio"
    validity: Annotated[Validity, Setting("Lifetime of the root", _VALIDITY)] = (
        combinations.ROOT_VALIDITY
    )


class Root(_Model):
    """A trust anchor: generated, or a certificate whose key stays on an offline machine."""

    generated: Annotated[
        GeneratedRoot | None,
        Setting("Make this root here; its key is in the state", keys_of(GeneratedRoot)),
    ] = None
    certificate: Annotated[
        FilePath | None, Setting("Certificate of an offline root", _PEM_PATH)
    ] = None


class Issuer(_Model):
    """An intermediate CA under a root."""

    root: Annotated[Name, Setting("The root that signs this issuer", "the name of a root")]
    certificate: Annotated[
        FilePath | None,
        Setting("Certificate that the offline root has signed; pending without it", _PEM_PATH),
    ] = None
    key: Annotated[
        KeySource,
        Field(strict=False),
        Setting(
            "Private key: made here, from issuerKeys, or written to ca-key by someone else",
            one_of(KeySource),
            tuple(KeySource),
        ),
    ] = KeySource.GENERATED
    algorithm: Annotated[
        Algorithm | None,
        Field(strict=False),
        Setting("Algorithm of a generated key; ECDSA-P256", one_of(_ALGORITHMS), _ALGORITHMS),
    ] = None
    validity: Annotated[
        Validity, Setting("Lifetime of the certificate, when the program signs it", _VALIDITY)
    ] = combinations.ISSUER_VALIDITY
    organization: Annotated[SubjectText, Setting("Organization of the issuer", _SUBJECT)] = "Istio"
    common_name: Annotated[
        SubjectText | None, Setting("Common name of the issuer; derived from its name", _SUBJECT)
    ] = None


class NodePool(_Model):
    """The cluster's system node pool."""

    # AKS, Linux node pools: 1 to 12 lower-case letters and digits, a letter first.
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
        StringConstraints(pattern=r"^Standard_[A-Za-z0-9_-]{1,60}$"),
        Setting("Virtual machine size", "a size such as Standard_D4s_v5"),
    ] = "Standard_D4s_v5"
    count: Annotated[
        int, Field(ge=1, le=1000), Setting("Number of nodes", "a whole number, 1 to 1000")
    ] = 3


def _revisions(value: tuple[str, ...]) -> tuple[str, ...]:
    minors = [int(revision.rpartition("-")[2]) for revision in value]
    if len(minors) == 2 and minors[1] - minors[0] not in (1, 2):
        raise ValueError("not consecutive")
    return value


def _poll(value: str) -> str:
    if durations.parse(value) < timedelta(seconds=1):
        raise ValueError("too short")
    return value


def _dns_prefix(data: dict[str, Any]) -> str:
    """The cluster's name as a DNS prefix: hyphens for underscores, 54 characters at most."""
    return str(data["name"]).replace("_", "-")[:54].rstrip("-")


class Cluster(_Model):
    """The AKS cluster that runs the mesh."""

    name: Annotated[
        str,
        StringConstraints(pattern=r"^[a-zA-Z0-9]$|^[a-zA-Z0-9][-_a-zA-Z0-9]{0,61}[a-zA-Z0-9]$"),
        Setting(
            "Name of the AKS cluster",
            "1 to 63 letters, digits, underscores and hyphens, a letter or digit at both ends",
        ),
    ]
    resource_group: Annotated[
        ResourceGroup, Setting("Resource group of the cluster", _RESOURCE_GROUP)
    ]
    revisions: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^asm-1-[1-9][0-9]{0,3}$")], ...],
        Field(strict=False, min_length=1, max_length=2),
        AfterValidator(_revisions),
        Setting(
            "Istio revisions; two during an upgrade",
            'one revision, or two consecutive ones such as ["asm-1-28", "asm-1-29"]',
        ),
    ]
    kubernetes_version: Annotated[
        str | None,
        StringConstraints(pattern=r"^1\.[0-9]{1,2}(\.[0-9]{1,3})?$"),
        Setting("Kubernetes version", 'text in quotes such as "1.33" or "1.33.2"'),
    ] = None
    dns_prefix: Annotated[
        str,
        StringConstraints(pattern=r"^[a-zA-Z0-9]$|^[a-zA-Z0-9][-a-zA-Z0-9]{0,52}[a-zA-Z0-9]$"),
        Setting(
            "DNS prefix of the API server; derived from the name",
            "1 to 54 letters, digits and hyphens, a letter or digit at both ends",
        ),
    ] = Field(default_factory=_dns_prefix)
    node_pool: Annotated[NodePool, Setting("The system node pool", keys_of(NodePool))] = NodePool()
    rotation_poll_interval: Annotated[
        str,
        AfterValidator(_poll),
        WithJsonSchema({"type": "string", "pattern": durations.GO_PATTERN}),
        Setting(
            "How often the Secrets Store CSI driver looks for new secrets",
            "a duration in h, m and s of at least 1s, such as 20s or 2m",
        ),
    ] = "2m"
    mesh: Annotated[bool, Setting("Whether the mesh is on", "true or false")] = True

    @property
    def poll(self) -> timedelta:
        """`rotation_poll_interval` as a duration."""
        return durations.parse(self.rotation_poll_interval)


def _permissions(value: tuple[str, ...]) -> tuple[str, ...]:
    if "get" not in value or len(set(value)) != len(value):
        raise ValueError("get is needed, once")
    return value


class KeyVault(_Model):
    """The vault that holds the four secrets."""

    # Vaults: 3 to 24 letters, digits and hyphens, a letter first, no hyphen last, no two in a row.
    name: Annotated[
        str,
        StringConstraints(pattern=r"^[a-zA-Z](-?[a-zA-Z0-9])*$", min_length=3, max_length=24),
        Setting(
            "Name of the Key Vault; unique in Azure",
            "3 to 24 letters, digits and single hyphens that start with a letter "
            "and do not end with a hyphen",
        ),
    ]
    access_model: Annotated[
        AccessModel,
        Field(strict=False),
        Setting("How the vault decides who may read", one_of(AccessModel), tuple(AccessModel)),
    ]
    resource_group: Annotated[
        ResourceGroup,
        Setting("Resource group of the vault; the cluster's", _RESOURCE_GROUP),
    ] = ""
    secret_permissions: Annotated[
        tuple[Literal["get", "list"], ...],
        Field(strict=False),
        AfterValidator(_permissions),
        Setting(
            "What the access policy of the add-on identity permits",
            '["get"], or ["get", "list"] as in the article of 2023',
        ),
    ] = ("get",)
    purge_protection: Annotated[
        bool, Setting("Whether nobody can purge deleted secrets", "true or false")
    ] = True
    soft_delete_days: Annotated[
        int,
        Field(ge=7, le=90),
        Setting("How long deleted secrets can be recovered", "a whole number of days, 7 to 90"),
    ] = 90


_NAME = r"[a-z][a-z0-9-]{0,19}"
_STANCE = rf"(bootstrap|steady {_NAME}|(distribute|switch|retire) {_NAME} {_NAME})"


class Override(_Model):
    """Break-glass: admits one refused move and no other."""

    move: Annotated[
        str,
        StringConstraints(pattern=rf"^({_STANCE}|unknown) -> {_STANCE}$"),
        Setting("The one refused move to admit", "two stances such as steady a1 -> steady a2"),
    ]
    reason: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=10),
        Setting("Why it has to be", "a reason of at least 10 characters"),
    ]


_PEER = "[A-Za-z0-9_.-]{1,100}"


class Settings(_Model):
    """The configuration of one stack. Names of roots and issuers are keys of their tables."""

    rotation_phase: Annotated[
        Phase,
        Field(strict=False),
        Setting("The phase that the mesh should be in", one_of(Phase), tuple(Phase)),
    ]
    active_issuer: Annotated[
        Name | None,
        Setting(
            "The issuer that signs, or that a rotation moves away from", "the name of an issuer"
        ),
    ] = None
    next_issuer: Annotated[
        Name | None, Setting("The issuer that a rotation moves to", "the name of an issuer")
    ] = None
    roots: Annotated[
        dict[Name, Root],
        Field(min_length=1),
        Setting("Trust anchors by name", "an object of at least one root by name"),
    ]
    issuers: Annotated[
        dict[Name, Issuer],
        Field(min_length=1),
        Setting("Intermediate CAs by name", "an object of at least one issuer by name"),
    ]
    issuer_keys: Annotated[
        dict[Name, Annotated[SecretStr, Field(min_length=1)]],
        Setting(
            "Private keys of issuers whose key is secret, by name; encrypted",
            "an object of private keys in PEM by name of the issuer",
        ),
    ] = Field(default_factory=dict)
    cluster: Annotated[Cluster, Setting("The AKS cluster", keys_of(Cluster))]
    key_vault: Annotated[KeyVault, Setting("The Key Vault", keys_of(KeyVault))]
    workloads: Annotated[
        list[Any],
        Field(max_length=0),
        Setting(
            "Workloads to restart",
            "[]: restarting workloads is not supported yet, moves wait for leafTtl instead",
        ),
    ] = Field(default_factory=list)
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
        list[Annotated[str, StringConstraints(pattern=rf"^{_PEER}/{_PEER}/{_PEER}$")]],
        Setting(
            "Stacks of other clusters in the same trust domain",
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
        """Phase and issuers as overrides and the ledger name them: `switch a1 b1`."""
        if self.active_issuer is None:
            return "bootstrap"
        issuers = [self.active_issuer, *([self.next_issuer] if self.next_issuer else [])]
        return " ".join([self.rotation_phase, *issuers])

    def pending(self, name: str) -> bool:
        """Whether an issuer waits for its offline root to sign it; KeyError for an unknown one."""
        issuer = self.issuers[name]
        return issuer.certificate is None and self.roots[issuer.root].generated is None


_TEXT = {"rotationPhase", "activeIssuer", "nextIssuer", "leafTtl", "slack"}


def load(config: Mapping[str, object], *, namespace: str = NAMESPACE) -> Settings:
    """The settings in a stack's configuration; SettingsError with every mistake in it.

    `config` maps `namespace:key` to what Pulumi hands over: text for scalars, JSON text (or
    already decoded values) for the rest. Keys of other namespaces are not looked at.
    """
    prefix = f"{namespace}:"
    raw = {
        key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)
    }
    raw = {key: value if key in _TEXT else _decoded(value) for key, value in raw.items()}
    mistakes: list[Mistake] = []
    readable: Mapping[str, Any] = raw
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        mistakes, readable = from_validation(error, Settings, raw, namespace)
    mistakes += combinations.find(readable, namespace)
    if mistakes or settings is None:
        raise SettingsError(mistakes)
    return settings


def _decoded(value: object) -> object:
    """JSON text decoded; anything else as it is, for the model to refuse."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
