"""The policy pack `mesh-ca`: `pulumi preview --policy-pack policy`."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    PolicyConfigSchema,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)

# The engine runs this file by itself, from wherever it is.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policy import cluster_rules, rotation_rules, secret_rules, vault_rules
from policy.seen import UNKNOWN, Marks, Resource, is_secret, resource, unversioned

Rule = Callable[[Resource, dict[str, Any]], Iterator[str]]
marks = Marks()


def seen(args: ResourceValidationArgs) -> Resource:
    """The resource that is being validated."""
    return resource(
        type_=args.resource_type,
        name=args.name,
        urn=args.urn,
        properties=args.props,
        protected=bool(args.opts.protect),
    )


def policy(
    name: str,
    description: str,
    types: tuple[str, ...],
    rule: Rule,
    *,
    config: dict[str, Any] | None = None,
) -> ResourceValidationPolicy:
    """A policy over resources of some types, or of every type; `config` maps keys to defaults."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        if not types or unversioned(args.resource_type) in types:
            for violation in rule(seen(args), {**(config or {}), **args.get_config()}):
                report(violation, None)

    schema = {
        key: {"type": "array", "items": {"type": "string"}, "default": default}
        for key, default in (config or {}).items()
    }
    return ResourceValidationPolicy(
        name=name,
        description=description,
        validate=validate,
        config_schema=PolicyConfigSchema(schema) if schema else None,
    )


def note_plain_value(args: ResourceValidationArgs) -> None:
    """Notes whether a secret's value is unmarked, and changes nothing.

    Only a remediation is shown which values are secret, so the policy that asks for it is of the
    level `remediate`: the engine runs this first and its validation, as mandatory, afterwards.
    """
    if unversioned(args.resource_type) == secret_rules.SECRET:
        given = seen(args).at(*secret_rules.VALUE)
        marked = given in (None, UNKNOWN) or is_secret(args.props, secret_rules.VALUE)
        marks.note(args.urn, is_plain=not marked)


def validate_secret_value(args: ResourceValidationArgs, report: ReportViolation) -> None:
    """Reports what `note_plain_value` has noted."""
    if unversioned(args.resource_type) == secret_rules.SECRET:
        is_plain = args.urn in marks.plain_values
        for violation in secret_rules.value_is_secret(seen(args), is_plain=is_plain):
            report(violation, None)


def validate_rotation(args: StackValidationArgs, report: ReportViolation) -> None:
    """Compares the secrets of the stack with the phase that it states."""
    resources = [
        resource(type_=one.resource_type, name=one.name, urn=one.urn, properties=one.props)
        for one in args.resources
    ]
    for urn, violation in rotation_rules.phase_matches_secrets(resources):
        report(violation, urn)


POLICIES = [
    policy(
        "plugin-ca-complete",
        "A mesh takes its CA from Key Vault, with all five fields of the plug-in.",
        (cluster_rules.CLUSTER,),
        lambda cluster, _: cluster_rules.plugin_ca_complete(cluster),
    ),
    policy(
        "secret-rotation-on",
        "The CSI secrets provider of a mesh with a plug-in CA looks for changed secrets.",
        (cluster_rules.CLUSTER,),
        lambda cluster, _: cluster_rules.secret_rotation_on(cluster),
    ),
    policy(
        "narrow-access",
        "The add-on's identity may do no more in a vault than read secrets.",
        (vault_rules.VAULT, vault_rules.ACCESS_POLICY),
        lambda one, config: vault_rules.narrow_access_policy(
            one, permissions=config["permissions"], exempt=config["exempt"]
        ),
        config={"permissions": ["get"], "exempt": []},
    ),
    policy(
        "narrow-role",
        "A role that reaches a vault is Key Vault Secrets User, and is assigned in that vault.",
        (vault_rules.ROLE_ASSIGNMENT,),
        lambda one, config: vault_rules.narrow_role(one, exempt=config["exempt"]),
        config={"exempt": []},
    ),
    policy(
        "purge-protection",
        "Nobody can purge the secrets of a production mesh.",
        (vault_rules.VAULT,),
        lambda vault, config: vault_rules.purge_protection(
            vault, development=config["development"]
        ),
        config={"development": ["dev", "dev-*", "test", "test-*"]},
    ),
    policy(
        "secret-described",
        "A secret in Key Vault carries a content type and its end.",
        (secret_rules.SECRET,),
        lambda secret, _: secret_rules.described(secret),
    ),
    ResourceValidationPolicy(
        name="secret-is-secret",
        description="The value of a secret in Key Vault is a secret in the state too.",
        enforcement_level=EnforcementLevel.REMEDIATE,
        remediate=note_plain_value,
        validate=validate_secret_value,
    ),
    policy(
        "no-stray-private-key",
        "A private key is in the secret `ca-key` and nowhere else.",
        (),
        lambda one, _: secret_rules.no_stray_private_key(one),
    ),
    policy(
        "protected",
        "Cluster, vault and their groups are protected, so that nothing replaces or deletes them.",
        (cluster_rules.CLUSTER, vault_rules.VAULT, cluster_rules.GROUP),
        lambda one, _: cluster_rules.protected(one),
    ),
    StackValidationPolicy(
        name="phase-matches-secrets",
        description="The four secrets are those of the phase that the stack states.",
        validate=validate_rotation,
    ),
]

if __name__ == "__main__":
    PolicyPack(name="mesh-ca", policies=POLICIES, enforcement_level=EnforcementLevel.MANDATORY)
