"""Programs other than this project's, to hold the policies against through the real engine.

Each is the text of a whole Pulumi program. They differ only in the resources that they declare.
"""

_BEGINNING = """\
import pulumi
from pulumi_azure_native import authorization, containerservice as aks, keyvault, resources

client = authorization.get_client_config()
roles = f"/subscriptions/{client.subscription_id}/providers/Microsoft.Authorization/roleDefinitions"
protected = pulumi.ResourceOptions(protect=True)
made = resources.ResourceGroup("group", resource_group_name="group", opts=protected)
group = made.name


def cluster(name, add_on, plugin, options=None):
    return aks.ManagedCluster(
        name,
        resource_name_=name,
        resource_group_name=group,
        dns_prefix=name,
        identity={"type": "SystemAssigned"},
        agent_pool_profiles=[{"name": "system", "mode": "System", "count": 1,
                              "vm_size": "Standard_D4s_v5"}],
        addon_profiles={"azureKeyvaultSecretsProvider": add_on},
        service_mesh_profile=None if plugin is None else {
            "mode": "Istio", "istio": {"revisions": ["asm-1-29"], **plugin}},
        opts=options,
    )


def vault(name, options=None, **properties):
    return keyvault.Vault(
        name,
        vault_name=name,
        resource_group_name=group,
        properties={
            "tenant_id": client.tenant_id,
            "sku": {"family": "A", "name": "standard"},
            "enable_rbac_authorization": False,
            **properties,
        },
        opts=options,
    )


def access_policy(name, of, **permissions):
    keyvault.AccessPolicy(
        name,
        resource_group_name=group,
        vault_name=of.name,
        policy={"tenant_id": client.tenant_id,
                "object_id": "00000000-0000-0000-0000-00000000000a",
                "permissions": permissions},
    )


def role(name, of, guid):
    authorization.RoleAssignment(
        name,
        scope=of.id,
        principal_id="00000000-0000-0000-0000-00000000000a",
        principal_type="ServicePrincipal",
        role_definition_id=f"{roles}/{guid}",
    )


def role_above(name, guid):
    authorization.RoleAssignment(
        name,
        scope=f"/subscriptions/{client.subscription_id}/resourceGroups/group",
        principal_id="00000000-0000-0000-0000-00000000000a",
        principal_type="ServicePrincipal",
        role_definition_id=f"{roles}/{guid}",
        opts=pulumi.ResourceOptions(depends_on=[made]),
    )


def secret(name, of, value, tags=None, content_type="application/x-pem-file", expires=2000000000):
    keyvault.Secret(
        name,
        secret_name=name,
        vault_name=of.name,
        resource_group_name=group,
        tags=tags,
        properties={"value": value, "content_type": content_type,
                    "attributes": {"enabled": True, "expires": expires}},
    )


def state_phase():
    records = {"A": {"name": "a"}, "A1": {"name": "a1", "root": "A"},
               "B": {"name": "b"}, "B1": {"name": "b1", "root": "B"}}
    pulumi.export("rotation", {"phase": "distribute", "activeIssuer": "a1", "nextIssuer": "b1",
                               "records": records})


def private_key():
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding, NoEncryption, PrivateFormat)
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def encoded(text):
    import base64
    return base64.b64encode(text.encode()).decode()


ON = {"enabled": True,
      "config": {"enableSecretRotation": "true", "rotationPollInterval": "2m"}}
PLUGIN = {"key_vault_id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/v",
          "root_cert_object_name": "root-cert", "cert_object_name": "ca-cert",
          "key_object_name": "ca-key", "cert_chain_object_name": "cert-chain"}
"""

KEEPS_ALL = (
    _BEGINNING
    + """
cluster("good", ON, {"certificate_authority": {"plugin": PLUGIN}}, protected)
cluster("to-come", {"enabled": True, "config": {"enableSecretRotation": "false"}}, None, protected)
kept = vault("kept", protected, enable_purge_protection=True)
access_policy("reader", kept, secrets=["get"])
role("user", kept, "4633458b-17de-408a-b874-0445c86b69e6")
for name, authority in {"root-cert": "a b", "ca-cert": "a1", "cert-chain": "b1 a1"}.items():
    secret(name, kept, pulumi.Output.secret("certificates"), {"authority": authority})
secret("ca-key", kept, pulumi.Output.secret(private_key()), {"authority": "a1"})
state_phase()
"""
)
"""Follows every policy."""

BREAKS_ALL = (
    _BEGINNING
    + """
resources.ResourceGroup("loose", resource_group_name="loose")
cluster("bare", {"enabled": True}, {})
cluster("still", {"enabled": True}, {"certificate_authority": {"plugin": PLUGIN}}, protected)
cluster("half", ON, {"certificate_authority": {"plugin": {"key_vault_id": "v"}}}, protected)
open_ = vault("open")
access_policy("writer", open_, secrets=["get", "set"])
role("officer", open_, "b86a8fe4-44ce-4948-aee5-eccb2c155cd7")
role_above("contributor", "b24988ac-6180-42a0-ab88-20f7382dd24c")
secret("nameless", open_, pulumi.Output.secret("x"), content_type=None, expires=None)
secret("shown", open_, "plain text")
secret("stray", open_, pulumi.Output.secret(private_key()))
secret("kubeconfig", open_, pulumi.Output.secret(f"client-key-data: {encoded(private_key())}"))
"""
)
"""Breaks every policy over resources, most in a resource of its own."""

BREAKS_PHASE = (
    _BEGINNING
    + """
kept = vault("kept", protected, enable_purge_protection=True)
secret("ca-cert", kept, pulumi.Output.secret("x"), {"authority": "b1"})
secret("root-cert", kept, pulumi.Output.secret("x"), {"authority": "a b"})
secret("cert-chain", kept, pulumi.Output.secret("x"))
state_phase()
"""
)
"""Breaks the policy over the stack in one of its secrets: the engine asks policies over stacks only
when those over resources are content."""
