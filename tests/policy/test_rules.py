"""The rules of the policy pack as functions: where each draws its line."""

import base64
from typing import Any

import pytest

from policy import cluster_rules, rotation_rules, secret_rules, vault_rules
from policy.rotation_rules import Stated
from policy.seen import UNKNOWN, Resource

PLUGIN = dict.fromkeys(cluster_rules.PLUGIN_FIELDS, "x")
ROOTS = {"a1": "a", "a2": "a", "b1": "b"}
KEY = f"-----BEGIN EC PRIVATE KEY-----\n{'not a real one ' * 9}\n-----END EC PRIVATE KEY-----\n"


def encoded(text: str) -> str:
    """A text in base64."""
    return base64.b64encode(text.encode()).decode()


def cluster(
    *, plugin: object = PLUGIN, mode: str = "Istio", add_on: object = None, protected: bool = True
) -> Resource:
    """A cluster with a mesh."""
    authority = {"certificateAuthority": {"plugin": plugin}} if plugin is not None else {}
    properties = {
        "serviceMeshProfile": {"mode": mode, "istio": authority},
        "addonProfiles": {cluster_rules.ADD_ON: add_on},
    }
    return Resource(cluster_rules.CLUSTER, "c", properties, protected)


def secret(*, name: object = "root-cert", value: object = "x", **properties: object) -> Resource:
    """A secret in a vault."""
    described = {"value": value, "contentType": "t", "attributes": {"expires": 1}}
    inside = {**described, **properties}
    return Resource(secret_rules.SECRET, "s", {"secretName": name, "properties": inside})


@pytest.mark.parametrize("missing", cluster_rules.PLUGIN_FIELDS)
def test_each_field_of_the_plug_in_is_needed(missing: str) -> None:
    """A plug-in CA that lacks any one of its five fields is told which."""
    found = cluster_rules.plugin_ca_complete(cluster(plugin={**PLUGIN, missing: ""}))
    assert list(found) == [f"serviceMeshProfile.istio.certificateAuthority.plugin lacks {missing}"]


@pytest.mark.parametrize("plugin", [None, {}])
def test_a_mesh_without_the_plug_in_is_told_of(plugin: object) -> None:
    """A mesh that would sign with a CA of its own is a violation."""
    [found] = cluster_rules.plugin_ca_complete(cluster(plugin=plugin))
    assert "a CA of its own" in found


@pytest.mark.parametrize(
    "sound",
    [
        cluster(),
        cluster(plugin={**PLUGIN, "keyVaultId": UNKNOWN}),
        cluster(plugin=UNKNOWN),
        cluster(plugin=None, mode="Disabled"),
        Resource(cluster_rules.CLUSTER, "c", {}),
        Resource(cluster_rules.CLUSTER, "c", {"serviceMeshProfile": UNKNOWN}),
    ],
)
def test_a_complete_plug_in_or_no_mesh_is_sound(sound: Resource) -> None:
    """All five fields, known or not, are enough; a cluster without a mesh needs none."""
    assert list(cluster_rules.plugin_ca_complete(sound)) == []


@pytest.mark.parametrize("value", ["false", True, None, "True"])
def test_secret_rotation_is_the_text_true(value: object) -> None:
    """Only the text that AKS understands turns rotation on."""
    add_on = {"enabled": True, "config": {"enableSecretRotation": value}}
    [found] = cluster_rules.secret_rotation_on(cluster(add_on=add_on))
    assert 'enableSecretRotation to "true"' in found


@pytest.mark.parametrize("add_on", [None, {"enabled": False}])
def test_a_mesh_with_a_plug_in_needs_the_add_on(add_on: object) -> None:
    """A plug-in CA without the CSI add-on is a violation."""
    [found] = cluster_rules.secret_rotation_on(cluster(add_on=add_on))
    assert "needs the add-on" in found


@pytest.mark.parametrize(
    "sound",
    [
        cluster(add_on={"enabled": True, "config": {"enableSecretRotation": "true"}}),
        cluster(add_on={"enabled": True, "config": UNKNOWN}),
        cluster(add_on=UNKNOWN),
        cluster(plugin=None, add_on={"enabled": False}),
        cluster(plugin=None, add_on={"enabled": True, "config": {"enableSecretRotation": "false"}}),
        cluster(plugin=None, mode="Disabled", add_on={"enabled": True}),
    ],
)
def test_rotation_that_is_on_or_not_needed_is_sound(sound: Resource) -> None:
    """Rotation that is on, or will be known to be, is enough; without a plug-in it is not asked."""
    assert list(cluster_rules.secret_rotation_on(sound)) == []


def test_only_what_is_protected_is_sound() -> None:
    """A cluster without `protect` is a violation, one with it is none."""
    assert list(cluster_rules.protected(cluster(protected=False)))
    assert list(cluster_rules.protected(cluster())) == []


def access(**permissions: object) -> Resource:
    """A standalone access policy."""
    entry = {"objectId": "id", "permissions": permissions}
    return Resource(vault_rules.ACCESS_POLICY, "p", {"policy": entry})


def judged(resource: Resource, **changed: Any) -> list[str]:
    """What the rule over access policies says, with the pack's defaults."""
    given = {"permissions": ["get"], "exempt": [], **changed}
    return list(vault_rules.narrow_access_policy(resource, **given))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (access(secrets=["get", "list"]), "it permits list on secrets; the add-on needs only get"),
        (access(secrets=["all"]), "it permits all on secrets; the add-on needs only get"),
        (access(keys=["get"]), "it permits get on keys; the add-on needs nothing"),
        (access(secrets=["get"], certificates=["list"]), "it permits list on certificates; the "
         "add-on needs nothing"),
    ],
)  # fmt: skip
def test_an_access_policy_permits_get_and_no_more(given: Resource, told: str) -> None:
    """Every permission beyond `get` on secrets is named."""
    assert judged(given) == [told]


def test_access_policies_inside_a_vault_are_judged_too() -> None:
    """A vault's own list of access policies is no way around the rule."""
    entry = access(secrets=["set"]).at("policy")
    vault = Resource(vault_rules.VAULT, "v", {"properties": {"accessPolicies": [entry]}})
    assert judged(vault) == ["it permits set on secrets; the add-on needs only get"]


@pytest.mark.parametrize(
    "sound",
    [
        access(secrets=["get"]),
        access(secrets=["Get"]),
        access(secrets=UNKNOWN),
        access(),
        Resource(vault_rules.ACCESS_POLICY, "p", {"policy": UNKNOWN}),
        Resource(vault_rules.VAULT, "v", {"properties": {}}),
        Resource(vault_rules.VAULT, "v", {"properties": {"accessPolicies": UNKNOWN}}),
    ],
)
def test_a_narrow_access_policy_is_sound(sound: Resource) -> None:
    """`get` alone, in any case, or what is not known yet, is no violation."""
    assert judged(sound) == []


def test_other_identities_can_be_exempt() -> None:
    """An access policy of an identity that the pack's configuration names may be wider."""
    assert judged(access(secrets=["set"]), exempt=["id"]) == []


def test_list_can_be_permitted() -> None:
    """`list`, which the article once asked for, can be permitted by the pack's configuration."""
    assert judged(access(secrets=["get", "list"]), permissions=["get", "list"]) == []


GROUP_SCOPE = "/subscriptions/s/resourceGroups/g"
VAULT_SCOPE = f"{GROUP_SCOPE}/providers/Microsoft.KeyVault/vaults/v"
OFFICER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
ADMINISTRATOR = "00482a5a-887f-4fb3-b363-3b7fe8e74483"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
KEY_VAULT_CONTRIBUTOR = "f25e0fa2-a7cd-4377-a976-54943a77a395"


def role(guid: object, scope: object = VAULT_SCOPE) -> Resource:
    """A role assignment."""
    definition = f"/x/roleDefinitions/{guid}" if isinstance(guid, str) else guid
    properties = {"roleDefinitionId": definition, "scope": scope, "principalId": "id"}
    return Resource(vault_rules.ROLE_ASSIGNMENT, "r", properties)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (role(OFFICER), "it assigns role b86a8fe4"),
        (role(OFFICER, UNKNOWN), "it assigns role b86a8fe4"),
        (role("8e3af657-a8ff-443c-a75c-2fe8c4bcb635"), "it assigns role 8e3af657"),
        (role(CONTRIBUTOR), "it assigns role b24988ac"),
        (role(KEY_VAULT_CONTRIBUTOR, UNKNOWN), "it assigns role f25e0fa2"),
        (role(vault_rules.SECRETS_USER, "/subscriptions/s"), "every vault in /subscriptions/s"),
    ],
)
def test_a_role_in_a_vault_is_secrets_user_there(given: Resource, told: str) -> None:
    """Another role in a vault, or the right one beyond a vault, is a violation."""
    [found] = vault_rules.narrow_role(given, exempt=[])
    assert told in found


@pytest.mark.parametrize("guid", [*vault_rules.BROAD_ROLES, KEY_VAULT_CONTRIBUTOR, ADMINISTRATOR])
@pytest.mark.parametrize(
    "scope",
    [
        "/",
        "/providers/Microsoft.Management/managementGroups/m",
        "/subscriptions/s",
        "/subscriptions/s/",
        "/subscriptions/s/resourceGroups/g",
        "/SUBSCRIPTIONS/s/RESOURCEGROUPS/g",
    ],
)
def test_a_role_above_vaults_may_not_open_them(guid: str, scope: str) -> None:
    """Whoever owns, contributes or gives access above a vault has all that is in it."""
    found = list(vault_rules.narrow_role(role(guid, scope), exempt=[]))
    assert [line.partition(" ")[2].partition(" ")[0] for line in found] == ["assigns", "reaches"]


@pytest.mark.parametrize(
    "sound",
    [
        role(vault_rules.SECRETS_USER),
        role(CONTRIBUTOR, f"{GROUP_SCOPE}/providers/Microsoft.Network/privateDnsZones/z"),
        role(CONTRIBUTOR, UNKNOWN),
        role(vault_rules.SECRETS_USER.upper(), VAULT_SCOPE.upper()),
        role(vault_rules.SECRETS_USER, UNKNOWN),
        role(UNKNOWN),
        role("4d97b98b-1d4f-4787-a291-c67834d212e7", GROUP_SCOPE),
    ],
)
def test_a_narrow_role_or_one_elsewhere_is_sound(sound: Resource) -> None:
    """Secrets User in a vault is enough; a role that opens no vault is not judged."""
    assert list(vault_rules.narrow_role(sound, exempt=[])) == []


def test_a_role_of_another_identity_can_be_exempt() -> None:
    """A role of an identity that the pack's configuration names may be wider."""
    assert list(vault_rules.narrow_role(role(OFFICER), exempt=["id"])) == []


@pytest.mark.parametrize(
    ("stack", "given", "tripped"),
    [
        ("prod", None, True),
        ("prod", False, True),
        ("prod", True, False),
        ("prod", UNKNOWN, False),
        ("dev", None, False),
        ("dev-7", None, False),
        ("device", None, True),
    ],
)
def test_purge_protection_is_for_every_stack_but_development(
    stack: str, given: object, tripped: bool
) -> None:
    """A stack is production unless its name says otherwise, and production needs the protection."""
    properties = {"properties": {"enablePurgeProtection": given}}
    vault = Resource(vault_rules.VAULT, "v", properties, stack=stack)
    found = list(vault_rules.purge_protection(vault, development=["dev", "dev-*"]))
    assert bool(found) is tripped


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (secret(contentType=None), "set properties.contentType"),
        (secret(contentType=""), "set properties.contentType"),
        (secret(attributes={"enabled": True}), "set properties.attributes.expires"),
        (secret(attributes=None), "set properties.attributes.expires"),
    ],
)
def test_a_secret_says_what_it_is_and_when_it_ends(given: Resource, told: str) -> None:
    """A secret without content type or without end is a violation."""
    [found] = secret_rules.described(given)
    assert told in found


@pytest.mark.parametrize(
    "sound", [secret(), secret(contentType=UNKNOWN), secret(attributes={"expires": UNKNOWN})]
)
def test_a_described_secret_is_sound(sound: Resource) -> None:
    """Content type and end, known or not yet, are enough."""
    assert list(secret_rules.described(sound)) == []


@pytest.mark.parametrize(
    "given",
    [
        secret(name="root-cert", value=f"-----BEGIN CERTIFICATE-----\n{KEY}"),
        secret(name="cert-chain", value=encoded(KEY)),
        secret(name="cert-chain", value=encoded(f"\n{KEY}")),
        secret(name="cert-chain", value=encoded(f"12{KEY}")),
        secret(name="cert-chain", value=base64.encodebytes(KEY.encode()).decode()),
        secret(name="kubeconfig", value=f"users:\n- user: {{client-key-data: {encoded(KEY)}}}\n"),
        secret(name="kubeconfig", value=encoded(f'{{"client-key-data": "{encoded(KEY)}"}}')),
        Resource("pulumi:providers:kubernetes", "p", {"other": KEY}),
        secret(name="ca-key", value="x", contentType=KEY),
        Resource("azure-native:storage:Blob", "b", {"a": [{"b": KEY}]}),
        Resource("pulumi:index:Stash", "b", {"input": KEY}),
    ],
)
def test_a_private_key_elsewhere_is_found(given: Resource) -> None:
    """A private key is found wherever it stands, in base64 too, and only its place is told."""
    [found] = secret_rules.no_stray_private_key(given)
    assert "holds a private key" in found
    assert "not a real one" not in found


@pytest.mark.parametrize(
    "sound",
    [
        secret(name="ca-key", value=KEY),
        secret(name=UNKNOWN, value=KEY),
        secret(value="-----BEGIN PUBLIC KEY-----"),
        secret(value=UNKNOWN),
        secret(value="LS0tLS1CRUdJTi is no base64 of anything!"),
        secret(value=encoded("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n")),
        secret(value="-----BEGIN CERTIFICATE-----\n" + encoded("x" * 900)),
        Resource("pulumi:providers:kubernetes", "p", {"kubeconfig": encoded(KEY)}),
        Resource("tls:index/selfSignedCert:SelfSignedCert", "t", {"privateKeyPem": KEY}),
    ],
)
def test_a_private_key_in_its_place_is_sound(sound: Resource) -> None:
    """`ca-key` holds a private key, and the tls provider takes one."""
    assert list(secret_rules.no_stray_private_key(sound)) == []


@pytest.mark.parametrize(
    ("phase", "to", "trust", "signer", "chain"),
    [
        ("steady", None, "a", "a1", "a1"),
        ("distribute", "b1", "a b", "a1", "b1 a1"),
        ("switch", "b1", "a b", "b1", "b1 a1"),
        ("retire", "b1", "b", "b1", "b1"),
        ("distribute", "a2", "a", "a1", "a2 a1"),
        ("switch", "a2", "a", "a2", "a2 a1"),
        ("retire", "a2", "a", "a2", "a2"),
    ],
)
def test_each_phase_has_its_secrets(
    phase: str, to: str | None, trust: str, signer: str, chain: str
) -> None:
    """The table of the four phases, for a root and for an intermediate rotation."""
    assert Stated(phase, "a1", to, ROOTS).holds() == {
        "root-cert": trust.split(),
        "ca-cert": [signer],
        "ca-key": [signer],
        "cert-chain": chain.split(),
    }


def stack(phase: object = "switch", **changed: object) -> Resource:
    """The stack's own resource, with what it states."""
    records = {
        name.upper(): {"name": name, "root": ROOTS[name].upper() if name in ROOTS else None}
        for name in ("a", "b", *ROOTS)
    }
    stated = {"phase": phase, "activeIssuer": "a1", "nextIssuer": "b1", "records": records}
    return Resource(rotation_rules.STACK, "s", {"rotation": {**stated, **changed}})


def tagged(name: object, authority: object) -> Resource:
    """A secret that says what it holds."""
    properties = {"name": name, "tags": {"authority": authority}}
    return Resource(secret_rules.SECRET, "secret", properties, urn=str(name))


def test_a_secret_of_another_phase_is_named() -> None:
    """The one secret that does not belong to the phase is told, with what is wanted."""
    held = [tagged("root-cert", "a b"), tagged("ca-key", "b1"), tagged("cert-chain", "a1")]
    assert list(rotation_rules.phase_matches_secrets([*held, stack()])) == [
        ("cert-chain", "cert-chain holds a1, but `switch` from a1 to b1 wants b1 a1")
    ]


def test_a_secret_that_does_not_say_what_it_holds_is_named() -> None:
    """A mesh secret without the tag could hold anything, so it is a violation."""
    untagged = Resource(secret_rules.SECRET, "secret", {"name": "ca-cert", "tags": {}}, urn="u")
    assert list(rotation_rules.phase_matches_secrets([untagged, stack()])) == [
        ("u", "ca-cert does not say what it holds: set the tag authority")
    ]


@pytest.mark.parametrize(
    "sound",
    [
        tagged("ca-cert", UNKNOWN),
        tagged("password", "a1"),
        tagged(UNKNOWN, "a1"),
        Resource("azure-native:storage:Blob", "x", {"name": "ca-cert", "tags": {"authority": "x"}}),
    ],
)
def test_what_says_nothing_is_not_judged(sound: Resource) -> None:
    """Names and tags that are unknown, and what is no mesh secret, are no violation."""
    assert list(rotation_rules.phase_matches_secrets([stack(), sound])) == []


@pytest.mark.parametrize(
    "silent",
    [
        stack(UNKNOWN),
        stack(activeIssuer=None),
        stack(records=UNKNOWN),
        Resource(rotation_rules.STACK, "s", {"rotation": UNKNOWN}),
        Resource(rotation_rules.STACK, "s", {}),
    ],
)
def test_a_stack_that_states_no_phase_is_not_judged(silent: Resource) -> None:
    """A stack without a phase, or with one that only an `up` will know, is held to none."""
    wrong = tagged("ca-cert", "nobody")
    assert list(rotation_rules.phase_matches_secrets([stack(), wrong])) != []
    assert list(rotation_rules.phase_matches_secrets([silent, wrong])) == []
