"""The stack configuration: what is read from it, and the exact line for every mistake in it."""

import copy
import json
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from meshca.settings import (
    AccessModel,
    AlertSeverity,
    Algorithm,
    KeySource,
    Phase,
    Settings,
    SettingsError,
    WorkloadKind,
    load,
)

ABSENT = object()
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ\n-----END PRIVATE KEY-----\n"
NAME_RULE = "a name of 1 to 20 lower-case letters, digits and hyphens that starts with a letter"
SECRET_COMMAND = "pulumi config set --secret --path 'aks-istio-ca:issuerKeys.b1' < key.pem"


def good() -> dict[str, Any]:
    """A development root `a` and an offline root `b`, with one issuer under each."""
    return {
        "rotationPhase": "steady",
        "activeIssuer": "a1",
        "roots": {"a": {"generated": {}}, "b": {"certificate": "certificates/b.pem"}},
        "issuers": {"a1": {"root": "a"}, "b1": {"root": "b", "certificate": "certificates/b1.pem"}},
        "cluster": {"name": "mesh", "resourceGroup": "group", "revisions": ["asm-1-30"]},
        "keyVault": {"name": "mesh-ca", "accessModel": "accessPolicy"},
    }


def changed(changes: Mapping[str, object]) -> dict[str, Any]:
    """`good()` with the values at dotted paths replaced, added, or taken out (ABSENT)."""
    values = good()
    for path, value in changes.items():
        *parents, last = path.split(".")
        holder = values
        for step in parents:
            holder = holder.setdefault(step, {})
        if value is ABSENT:
            del holder[last]
        else:
            holder[last] = copy.deepcopy(value)
    return values


def as_pulumi(values: Mapping[str, object]) -> dict[str, object]:
    """The configuration as Pulumi hands it to a program: scalars as text, objects as JSON."""
    return {
        f"aks-istio-ca:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in values.items()
    }


def read(**changes: object) -> Settings:
    """The settings of `good()` with changes, `__` for the dots of their paths."""
    return load(as_pulumi(changed({key.replace("__", "."): v for key, v in changes.items()})))


def lines(changes: Mapping[str, object]) -> list[str]:
    """The lines that a configuration with these changes is refused with."""
    with pytest.raises(SettingsError) as caught:
        load(as_pulumi(changed(changes)))
    return str(caught.value).splitlines()


WEB = {"namespace": "shop", "kind": "Deployment", "name": "web"}
ACTION_GROUP = (
    "/subscriptions/1/resourceGroups/ops/providers/Microsoft.Insights/actionGroups/on-call"
)

ONE_MISTAKE: dict[str, tuple[dict[str, object], str]] = {
    "phase misspelt": (
        {"rotationPhase": "swich"},
        'rotationPhase: "swich" is not allowed; allowed: steady, distribute, switch or retire '
        '(did you mean "switch"?)',
    ),
    "phase missing": (
        {"rotationPhase": ABSENT},
        "rotationPhase: is missing; allowed: steady, distribute, switch or retire",
    ),
    "phase in capitals": (
        {"rotationPhase": "Steady"},
        'rotationPhase: "Steady" is not allowed; allowed: steady, distribute, switch or retire '
        '(did you mean "steady"?)',
    ),
    "key misspelt": (
        {"leafTTL": "24h"},
        "leafTTL: unknown key is not allowed; allowed: rotationPhase, activeIssuer, nextIssuer, "
        "roots, issuers, issuerKeys, cluster, keyVault, existingResourceGroups, workloads, "
        "restartTimeout, leafTtl, slack, expiryAlert, override, peers "
        '(did you mean "leafTtl"?)',
    ),
    "key of an object misspelt": (
        {"cluster.revision": "asm-1-30"},
        "cluster.revision: unknown key is not allowed; allowed: name, resourceGroup, revisions, "
        "kubernetesVersion, dnsPrefix, nodePool, rotationPollInterval, mesh, existing, kubeconfig "
        '(did you mean "revisions"?)',
    ),
    "key in an issuer unknown": (
        {"issuers.a1.password": PEM},
        "issuers.a1.password: unknown key is not allowed; allowed: root, certificate, key, "
        "algorithm, validity, organization, commonName, keyWritten",
    ),
    "active issuer missing": (
        {"activeIssuer": ABSENT},
        "activeIssuer: is missing; allowed: an issuer, a1 or b1; it may be absent only in "
        "phase steady while all are pending",
    ),
    "active issuer unknown": (
        {"activeIssuer": "a2"},
        'activeIssuer: "a2" is not allowed; allowed: an issuer, a1 or b1',
    ),
    "issuer misspelt": (
        {
            "issuers": {"mesh-2026": {"root": "a"}},
            "activeIssuer": "mesh-2062",
        },
        'activeIssuer: "mesh-2062" is not allowed; allowed: an issuer, mesh-2026 '
        '(did you mean "mesh-2026"?)',
    ),
    "active issuer no name": (
        {"activeIssuer": "A 1"},
        'activeIssuer: "A 1" is not allowed; allowed: the name of an issuer',
    ),
    "next issuer while steady": (
        {"nextIssuer": "b1"},
        'nextIssuer: "b1" is not allowed; allowed: no nextIssuer in phase steady',
    ),
    "next issuer missing while rotating": (
        {"rotationPhase": "distribute"},
        "nextIssuer: is missing; allowed: the issuer to move to, as the phase is distribute",
    ),
    "next issuer is the active one": (
        {"rotationPhase": "switch", "nextIssuer": "a1"},
        'nextIssuer: "a1" is not allowed; allowed: an issuer other than activeIssuer',
    ),
    "next issuer unknown": (
        {"rotationPhase": "retire", "nextIssuer": "zebra"},
        'nextIssuer: "zebra" is not allowed; allowed: an issuer, a1 or b1',
    ),
    "ca-key would change its owner to external": (
        {"rotationPhase": "distribute", "nextIssuer": "b1", "issuers.b1.key": "external"},
        'nextIssuer: "b1" is not allowed; allowed: an issuer whose key is generated or secret, '
        "as that of a1: who writes ca-key cannot change in a rotation",
    ),
    "ca-key would change its owner from external": (
        {
            "rotationPhase": "distribute",
            "activeIssuer": "b1",
            "nextIssuer": "a1",
            "issuers.b1.key": "external",
        },
        'nextIssuer: "a1" is not allowed; allowed: an issuer whose key is external, '
        "as that of b1: who writes ca-key cannot change in a rotation",
    ),
    "roots missing": (
        {"roots": ABSENT},
        "roots: is missing; allowed: an object of roots by name, at least one",
    ),
    "roots not an object": (
        {"roots": ["a"]},
        'roots: ["a"] is not allowed; allowed: an object of roots by name, at least one',
    ),
    "root name": (
        {"roots.Root": {"generated": {}}},
        f'roots.Root: {{"generated": {{}}}} is not allowed; allowed: {NAME_RULE}',
    ),
    "root name that needs quotes": (
        {"roots.my root": {"generated": {}}},
        f'roots["my root"]: {{"generated": {{}}}} is not allowed; allowed: {NAME_RULE}',
    ),
    "root not an object": (
        {"roots.c": "certificates/c.pem"},
        'roots.c: "certificates/c.pem" is not allowed; allowed: an object with the keys '
        "generated, certificate",
    ),
    "root with nothing behind the colon": (
        {"roots.c": {"generated": None}},
        "roots.c.generated: null is not allowed; allowed: an object with the keys algorithm, "
        "commonName, organization, validity",
    ),
    "root neither generated nor offline": (
        {"roots.c": {}},
        "roots.c: an empty object is not allowed; allowed: either generated (for development) "
        "or certificate (an offline root)",
    ),
    "root both generated and offline": (
        {"roots.c": {"generated": {}, "certificate": "c.pem"}},
        "roots.c: generated together with certificate is not allowed; allowed: either generated "
        "(for development) or certificate (an offline root)",
    ),
    "root algorithm": (
        {"roots.a.generated.algorithm": "ECDSA-384"},
        'roots.a.generated.algorithm: "ECDSA-384" is not allowed; allowed: RSA-2048, RSA-3072, '
        'RSA-4096, ECDSA-P256 or ECDSA-P384 (did you mean "ECDSA-P384"?)',
    ),
    "root common name too long": (
        {"roots.a.generated.commonName": "x" * 65},
        f'roots.a.generated.commonName: "{"x" * 65}" is not allowed; '
        "allowed: 1 to 64 printable characters",
    ),
    "root validity not in hours": (
        {"roots.a.generated.validity": "3650d30m"},
        'roots.a.generated.validity: "3650d30m" is not allowed; '
        "allowed: a duration in whole hours such as 730d, 1h to 36500d",
    ),
    "root path empty": (
        {"roots.b.certificate": ""},
        'roots.b.certificate: "" is not allowed; '
        "allowed: the path of a PEM file, relative to Pulumi.yaml",
    ),
    "certificate instead of its path": (
        {"roots.b.certificate": "-----BEGIN CERTIFICATE-----\nMII"},
        'roots.b.certificate: "-----BEGIN CERTIFICATE-----\\nMII" is not allowed; '
        "allowed: the path of a PEM file, relative to Pulumi.yaml",
    ),
    "private key instead of a path": (
        {"roots.b.certificate": PEM},
        "roots.b.certificate: [secret] is not allowed; "
        "allowed: the path of a PEM file, relative to Pulumi.yaml",
    ),
    "issuer name too long": (
        {f"issuers.{'a' * 21}": {"root": "a"}},
        f'issuers.{"a" * 21}: {{"root": "a"}} is not allowed; allowed: {NAME_RULE}',
    ),
    "issuer without root": (
        {"issuers.a1": {}},
        "issuers.a1.root: is missing; allowed: the name of a root",
    ),
    "issuer under an unknown root": (
        {"issuers.b1.root": "c"},
        'issuers.b1.root: "c" is not allowed; allowed: a root, a or b',
    ),
    "root misspelt": (
        {"roots.spare": {"generated": {}}, "issuers.b1.root": "spaer"},
        'issuers.b1.root: "spaer" is not allowed; allowed: a root, a, b or spare '
        '(did you mean "spare"?)',
    ),
    "issuer with a certificate under a generated root": (
        {"issuers.a1.certificate": "a1.pem"},
        'issuers.a1.certificate: "a1.pem" is not allowed; allowed: no certificate: '
        "root a is generated, so the program signs this issuer",
    ),
    "external issuer under a generated root": (
        {"issuers.a1.key": "external"},
        'issuers.a1.key: "external" is not allowed; allowed: generated or secret: '
        "root a is generated, so the program signs this issuer",
    ),
    "external issuer without certificate": (
        {"issuers.b1": {"root": "b", "key": "external"}},
        "issuers.b1.certificate: is missing; allowed: the path of its certificate, "
        "as its key is external",
    ),
    "moment of a key that the program writes": (
        {"issuers.b1.keyWritten": "2027-03-01T12:00:00Z"},
        'issuers.b1.keyWritten: "2027-03-01T12:00:00Z" is not allowed; allowed: no keyWritten: the '
        "program writes this key to ca-key itself",
    ),
    "moment without a time zone": (
        {"issuers.b1.key": "external", "issuers.b1.keyWritten": "2027-03-01 12:00"},
        'issuers.b1.keyWritten: "2027-03-01 12:00" is not allowed; allowed: a moment in quotes '
        'such as "2027-03-01T12:00:00Z"',
    ),
    "key source": (
        {"issuers.a1.key": "secrets"},
        'issuers.a1.key: "secrets" is not allowed; allowed: generated, secret or external '
        '(did you mean "secret"?)',
    ),
    "secret key missing": (
        {"issuers.b1.key": "secret"},
        "issuerKeys.b1: is missing; allowed: its private key, as issuers.b1.key is secret: "
        + SECRET_COMMAND,
    ),
    "secret key of an issuer that generates its own": (
        {"issuerKeys": {"a1": PEM}},
        "issuerKeys.a1: [secret] is not allowed; allowed: no key, unless issuers.a1.key is secret",
    ),
    "secret key of an external issuer": (
        {"activeIssuer": "b1", "issuers.b1.key": "external", "issuerKeys": {"b1": PEM}},
        "issuerKeys.b1: [secret] is not allowed; allowed: no key, unless issuers.b1.key is secret",
    ),
    "secret key of an unknown issuer": (
        {"issuerKeys": {"z9": PEM}},
        "issuerKeys.z9: [secret] is not allowed; allowed: keys of the issuers a1 or b1",
    ),
    "secret key empty": (
        {"issuers.b1.key": "secret", "issuerKeys": {"b1": ""}},
        "issuerKeys.b1: [secret] is not allowed; allowed: private keys in PEM by name of the "
        "issuer",
    ),
    "secret keys not by name": (
        {"issuerKeys": PEM},
        "issuerKeys: [secret] is not allowed; allowed: private keys in PEM by name of the issuer",
    ),
    "algorithm of a key that is given": (
        {"issuers.b1.key": "secret", "issuerKeys": {"b1": PEM}, "issuers.b1.algorithm": "RSA-2048"},
        'issuers.b1.algorithm: "RSA-2048" is not allowed; allowed: no algorithm: '
        "the key is secret, so it has one",
    ),
    "subject of an external issuer": (
        {"issuers.b1.key": "external", "issuers.b1.commonName": "Issuer b1"},
        'issuers.b1.commonName: "Issuer b1" is not allowed; allowed: no commonName: '
        "the key is external, so the certificate has its subject",
    ),
    "validity under an offline root": (
        {"issuers.b1.validity": "365d"},
        'issuers.b1.validity: "365d" is not allowed; allowed: no validity: '
        "whoever signs with the offline root b decides it",
    ),
    "issuer outlives its root": (
        {"issuers.a1.validity": "4000d"},
        'issuers.a1.validity: "4000d" is not allowed; '
        "allowed: less than 3650d, the validity of root a",
    ),
    "issuer ends with its root": (
        {"issuers.a1.validity": "3650d"},
        'issuers.a1.validity: "3650d" is not allowed; '
        "allowed: less than 3650d, the validity of root a",
    ),
    "issuer outlives its root by default": (
        {"roots.a.generated.validity": "365d"},
        "issuers.a1.validity: 730d, the default, is not allowed; "
        "allowed: less than 365d, the validity of root a",
    ),
    "cluster missing": (
        {"cluster": ABSENT},
        "cluster: is missing; allowed: an object with the keys name, resourceGroup, revisions, "
        "kubernetesVersion, dnsPrefix, nodePool, rotationPollInterval, mesh, existing, kubeconfig",
    ),
    "cluster is not JSON": (
        {"cluster": "mesh"},
        'cluster: "mesh" is not allowed; allowed: an object with the keys name, resourceGroup, '
        "revisions, kubernetesVersion, dnsPrefix, nodePool, rotationPollInterval, mesh, existing, "
        "kubeconfig",
    ),
    "cluster name": (
        {"cluster.name": "-mesh"},
        'cluster.name: "-mesh" is not allowed; allowed: 1 to 63 letters, digits, underscores and '
        "hyphens, a letter or digit at both ends",
    ),
    "resource group": (
        {"cluster.resourceGroup": "group."},
        'cluster.resourceGroup: "group." is not allowed; allowed: 1 to 90 letters, digits, '
        "underscores, hyphens, periods and parentheses, no period at the end",
    ),
    "three revisions": (
        {"cluster.revisions": ["asm-1-28", "asm-1-29", "asm-1-30"]},
        'cluster.revisions: ["asm-1-28", "asm-1-29", "asm-1-30"] is not allowed; allowed: '
        'one revision, or two consecutive ones such as ["asm-1-28", "asm-1-29"]',
    ),
    "no revision": (
        {"cluster.revisions": []},
        "cluster.revisions: [] is not allowed; allowed: "
        'one revision, or two consecutive ones such as ["asm-1-28", "asm-1-29"]',
    ),
    "revisions too far apart": (
        {"cluster.revisions": ["asm-1-27", "asm-1-30"]},
        'cluster.revisions: ["asm-1-27", "asm-1-30"] is not allowed; allowed: '
        'one revision, or two consecutive ones such as ["asm-1-28", "asm-1-29"]',
    ),
    "revisions descending": (
        {"cluster.revisions": ["asm-1-30", "asm-1-29"]},
        'cluster.revisions: ["asm-1-30", "asm-1-29"] is not allowed; allowed: '
        'one revision, or two consecutive ones such as ["asm-1-28", "asm-1-29"]',
    ),
    "revision as text": (
        {"cluster.revisions": "asm-1-30"},
        'cluster.revisions: "asm-1-30" is not allowed; allowed: '
        'one revision, or two consecutive ones such as ["asm-1-28", "asm-1-29"]',
    ),
    "revision of upstream Istio": (
        {"cluster.revisions": ["1.30.0"]},
        'cluster.revisions: ["1.30.0"] is not allowed; allowed: '
        'one revision, or two consecutive ones such as ["asm-1-28", "asm-1-29"]',
    ),
    "Kubernetes version without quotes": (
        {"cluster.kubernetesVersion": 1.3},
        "cluster.kubernetesVersion: 1.3 is not allowed; "
        'allowed: text in quotes such as "1.33" or "1.33.2"',
    ),
    "DNS prefix": (
        {"cluster.dnsPrefix": "my_mesh"},
        'cluster.dnsPrefix: "my_mesh" is not allowed; allowed: 1 to 54 letters, digits and '
        "hyphens, a letter or digit at both ends",
    ),
    "node pool name": (
        {"cluster.nodePool": {"name": "System"}},
        'cluster.nodePool.name: "System" is not allowed; allowed: 1 to 12 lower-case letters and '
        "digits that start with a letter",
    ),
    "node pool size": (
        {"cluster.nodePool": {"vmSize": "D4s_v5"}},
        'cluster.nodePool.vmSize: "D4s_v5" is not allowed; allowed: a size such as Standard_D4s_v5',
    ),
    "node count": (
        {"cluster.nodePool": {"count": 1001}},
        "cluster.nodePool.count: 1001 is not allowed; allowed: a whole number, 1 to 1000",
    ),
    "node count true": (
        {"cluster.nodePool": {"count": True}},
        "cluster.nodePool.count: true is not allowed; allowed: a whole number, 1 to 1000",
    ),
    "poll interval without unit": (
        {"cluster.rotationPollInterval": "20"},
        'cluster.rotationPollInterval: "20" is not allowed; '
        "allowed: a duration in h, m and s such as 20s or 2m, 1s to 24h",
    ),
    "poll interval in days, which the driver cannot read": (
        {"cluster.rotationPollInterval": "1d"},
        'cluster.rotationPollInterval: "1d" is not allowed; '
        "allowed: a duration in h, m and s such as 20s or 2m, 1s to 24h",
    ),
    "poll interval of nothing": (
        {"cluster.rotationPollInterval": "0s"},
        'cluster.rotationPollInterval: "0s" is not allowed; '
        "allowed: a duration in h, m and s such as 20s or 2m, 1s to 24h",
    ),
    "poll interval of more than a day": (
        {"cluster.rotationPollInterval": "25h"},
        'cluster.rotationPollInterval: "25h" is not allowed; '
        "allowed: a duration in h, m and s such as 20s or 2m, 1s to 24h",
    ),
    "issuer with the name of a root": (
        {"issuers.a": {"root": "a"}},
        'issuers.a: "a" is not allowed; allowed: a name that no root has',
    ),
    "resource group in another case": (
        {"cluster.resourceGroup": "mesh-group", "keyVault.resourceGroup": "Mesh-Group"},
        'keyVault.resourceGroup: "Mesh-Group" is not allowed; '
        "allowed: mesh-group, as the cluster's is spelt",
    ),
    "mesh as text": (
        {"cluster.mesh": "yes"},
        'cluster.mesh: "yes" is not allowed; allowed: true or false',
    ),
    "vault name with underscore": (
        {"keyVault.name": "mesh_ca"},
        'keyVault.name: "mesh_ca" is not allowed; allowed: 3 to 24 letters, digits and single '
        "hyphens, a letter first, no hyphen at the end",
    ),
    "vault name with two hyphens": (
        {"keyVault.name": "mesh--ca"},
        'keyVault.name: "mesh--ca" is not allowed; allowed: 3 to 24 letters, digits and single '
        "hyphens, a letter first, no hyphen at the end",
    ),
    "vault name too long": (
        {"keyVault.name": "m" * 25},
        f'keyVault.name: "{"m" * 25}" is not allowed; allowed: 3 to 24 letters, digits and single '
        "hyphens, a letter first, no hyphen at the end",
    ),
    "access model": (
        {"keyVault.accessModel": "RBAC"},
        'keyVault.accessModel: "RBAC" is not allowed; allowed: accessPolicy or rbac '
        '(did you mean "rbac"?)',
    ),
    "access model missing": (
        {"keyVault.accessModel": ABSENT},
        "keyVault.accessModel: is missing; allowed: accessPolicy or rbac",
    ),
    "secret permissions without get": (
        {"keyVault.secretPermissions": ["list"]},
        'keyVault.secretPermissions: ["list"] is not allowed; allowed: ["get"] or ["get", "list"]',
    ),
    "secret permissions too wide": (
        {"keyVault.secretPermissions": ["get", "set"]},
        'keyVault.secretPermissions: ["get", "set"] is not allowed; '
        'allowed: ["get"] or ["get", "list"]',
    ),
    "secret permissions with rbac": (
        {"keyVault.accessModel": "rbac", "keyVault.secretPermissions": ["get"]},
        'keyVault.secretPermissions: ["get"] is not allowed; allowed: no secretPermissions with '
        "accessModel rbac, where roles decide",
    ),
    "soft-delete days": (
        {"keyVault.softDeleteDays": 6},
        "keyVault.softDeleteDays: 6 is not allowed; allowed: a whole number of days, 7 to 90",
    ),
    "purge protection as text": (
        {"keyVault.purgeProtection": "true"},
        'keyVault.purgeProtection: "true" is not allowed; allowed: true or false',
    ),
    "new version of an existing cluster": (
        {"cluster.existing": True, "cluster.kubernetesVersion": "1.33"},
        'cluster.kubernetesVersion: "1.33" is not allowed; '
        "allowed: no kubernetesVersion with existing: true",
    ),
    "node pool of an existing cluster": (
        {"cluster.existing": True, "cluster.nodePool": {"count": 3}},
        'cluster.nodePool: {"count": 3} is not allowed; allowed: no nodePool with existing: true',
    ),
    "purge protection of an existing vault": (
        {"keyVault.existing": True, "keyVault.purgeProtection": True},
        "keyVault.purgeProtection: true is not allowed; "
        "allowed: no purgeProtection with existing: true",
    ),
    "existing as text": (
        {"keyVault.existing": "yes"},
        'keyVault.existing: "yes" is not allowed; allowed: true or false',
    ),
    "kubeconfig empty": (
        {"cluster.kubeconfig": ""},
        "cluster.kubeconfig: [secret] is not allowed; allowed: the text of a kubeconfig file",
    ),
    "resource group in use by nothing": (
        {"existingResourceGroups": ["grup"]},
        'existingResourceGroups[0]: "grup" is not allowed; '
        'allowed: a resource group in use, group (did you mean "group"?)',
    ),
    "resource group of a bad name": (
        {"existingResourceGroups": ["group."]},
        'existingResourceGroups: ["group."] is not allowed; allowed: a list of names of resource '
        "groups, each 1 to 90 letters, digits, underscores, hyphens, periods and parentheses, no "
        "period at the end",
    ),
    "workloads not in a list": (
        {"workloads": {"web": "Deployment"}},
        'workloads: {"web": "Deployment"} is not allowed; allowed: a list of workloads such as '
        "[{namespace: shop, kind: Deployment, name: web}] or "
        "[{namespace: shop, selector: {tier: web}}]",
    ),
    "workload as text": (
        {"workloads": ["web"]},
        'workloads[0]: "web" is not allowed; '
        "allowed: an object with the keys namespace, kind, name, selector",
    ),
    "workload without namespace": (
        {"workloads": [{"kind": "Deployment", "name": "web"}]},
        "workloads[0].namespace: is missing; allowed: 1 to 63 lower-case letters, digits and "
        "hyphens, a letter or digit at both ends",
    ),
    "workload of a kind misspelt": (
        {"workloads": [WEB, {**WEB, "kind": "Statefulset"}]},
        'workloads[1].kind: "Statefulset" is not allowed; '
        'allowed: Deployment, StatefulSet or DaemonSet (did you mean "StatefulSet"?)',
    ),
    "workload with a key misspelt": (
        {"workloads": [{**WEB, "namspace": "shop"}]},
        "workloads[0].namspace: unknown key is not allowed; "
        'allowed: namespace, kind, name, selector (did you mean "namespace"?)',
    ),
    "workload by a name in capitals": (
        {"workloads": [{**WEB, "name": "Web"}]},
        'workloads[0].name: "Web" is not allowed; allowed: 1 to 253 lower-case letters, digits, '
        "hyphens and dots, a letter or digit at both ends of each part",
    ),
    "workload by name without kind": (
        {"workloads": [{"namespace": "shop", "name": "web"}]},
        "workloads[0].kind: is missing; "
        "allowed: Deployment, StatefulSet or DaemonSet, as one workload is named",
    ),
    "workload by neither name nor selector": (
        {"workloads": [{"namespace": "shop", "kind": "Deployment"}]},
        "workloads[0]: neither name nor selector is not allowed; "
        "allowed: either name, for one workload, or selector, for all that match",
    ),
    "workload by name and selector": (
        {"workloads": [{**WEB, "selector": {"tier": "web"}}]},
        "workloads[0]: name together with selector is not allowed; "
        "allowed: either name, for one workload, or selector, for all that match",
    ),
    "selector with a number": (
        {"workloads": [{"namespace": "shop", "selector": {"version": 1}}]},
        "workloads[0].selector.version: 1 is not allowed; allowed: an object of labels such as "
        "{tier: web}, values in quotes where they are no text",
    ),
    "selector with a bad label": (
        {"workloads": [{"namespace": "shop", "selector": {"tier": "web app"}}]},
        'workloads[0].selector: {"tier": "web app"} is not allowed; allowed: an object of labels '
        "such as {tier: web}, values in quotes where they are no text",
    ),
    "restart timeout of nothing": (
        {"restartTimeout": "0s"},
        'restartTimeout: "0s" is not allowed; allowed: a duration such as 10m or 1h, 1s to 2h',
    ),
    "alert for nobody": (
        {"expiryAlert": {"actionGroups": []}},
        "expiryAlert.actionGroups: [] is not allowed; allowed: a list of ARM ids of action groups, "
        "such as /subscriptions/ID/resourceGroups/GROUP/providers/Microsoft.Insights/actionGroups"
        "/NAME",
    ),
    "alert of an unknown severity": (
        {"expiryAlert": {"actionGroups": [ACTION_GROUP], "severity": "Sev5"}},
        'expiryAlert.severity: "Sev5" is not allowed; '
        'allowed: Sev0, Sev1, Sev2, Sev3 or Sev4 (did you mean "Sev4"?)',
    ),
    "leaf lifetime without unit": (
        {"leafTtl": "24"},
        'leafTtl: "24" is not allowed; allowed: a duration such as 90m or 24h, 1s to 90d',
    ),
    "leaf lifetime beyond what istiod signs": (
        {"leafTtl": "91d"},
        'leafTtl: "91d" is not allowed; allowed: a duration such as 90m or 24h, 1s to 90d',
    ),
    "slack of nothing": (
        {"slack": "0m"},
        'slack: "0m" is not allowed; allowed: a duration such as 20s or 5m, 1s to 24h',
    ),
    "slack too long": (
        {"slack": "25h"},
        'slack: "25h" is not allowed; allowed: a duration such as 20s or 5m, 1s to 24h',
    ),
    "override without reason": (
        {"override": {"move": "steady a1 -> steady b1"}},
        "override.reason: is missing; allowed: text of at least 10 characters",
    ),
    "override with a blank reason": (
        {"override": {"move": "steady a1 -> steady b1", "reason": "           "}},
        'override.reason: "           " is not allowed; allowed: text of at least 10 characters',
    ),
    "override of no move": (
        {"override": {"move": "steady a1", "reason": "the key of a1 has leaked"}},
        'override.move: "steady a1" is not allowed; allowed: a move as the refusal names it, '
        'such as "steady a1 -> steady a2"',
    ),
    "override to the unknown": (
        {"override": {"move": "steady a1 -> unknown", "reason": "the key of a1 has leaked"}},
        'override.move: "steady a1 -> unknown" is not allowed; allowed: a move as the refusal '
        'names it, such as "steady a1 -> steady a2"',
    ),
    "peer without organization": (
        {"peers": ["aks-istio-ca/west"]},
        'peers: ["aks-istio-ca/west"] is not allowed; allowed: '
        'a list of stacks such as ["organization/aks-istio-ca/west"]',
    ),
    "value too long to show": (
        {"cluster.name": "m" * 200},
        f'cluster.name: "{"m" * 119}... is not allowed; allowed: 1 to 63 letters, digits, '
        "underscores and hyphens, a letter or digit at both ends",
    ),
}


@pytest.mark.parametrize(("changes", "line"), ONE_MISTAKE.values(), ids=ONE_MISTAKE.keys())
def test_a_mistake_has_exactly_one_line(changes: dict[str, object], line: str) -> None:
    """A stack file with one mistake is refused with one line: key path, value, what is allowed."""
    assert lines(changes) == [f"aks-istio-ca:{line}"]


APART = (
    "phase misspelt",
    "key misspelt",
    "root algorithm",
    "validity under an offline root",
    "root neither generated nor offline",
    "secret key of an unknown issuer",
    "cluster name",
    "three revisions",
    "node count",
    "vault name with underscore",
    "secret permissions with rbac",
    "workload as text",
    "resource group in use by nothing",
    "restart timeout of nothing",
    "alert for nobody",
    "leaf lifetime without unit",
    "override without reason",
    "peer without organization",
)
"""Mistakes of ONE_MISTAKE that concern different keys and do not follow from one another."""


@given(st.sets(st.sampled_from(APART), min_size=2))
def test_every_mistake_is_reported_at_once(names: set[str]) -> None:
    """A file with any set of independent mistakes is refused with the line of each, sorted."""
    changes = {path: value for name in names for path, value in ONE_MISTAKE[name][0].items()}
    found = lines(changes)
    assert sorted(found) == sorted(f"aks-istio-ca:{ONE_MISTAKE[name][1]}" for name in names)


def test_an_empty_configuration_names_what_is_needed() -> None:
    """Nothing configured: one line for each required key, and none for what follows from them."""
    with pytest.raises(SettingsError) as caught:
        load({})
    assert [mistake.path for mistake in caught.value.mistakes] == [
        "aks-istio-ca:cluster",
        "aks-istio-ca:issuers",
        "aks-istio-ca:keyVault",
        "aks-istio-ca:roots",
        "aks-istio-ca:rotationPhase",
    ]


def test_a_mistake_is_not_reported_again_by_what_follows_from_it() -> None:
    """An issuer whose key source is misspelt is not also blamed for its key in issuerKeys."""
    found = lines({"issuers.b1.key": "secert", "issuerKeys": {"b1": PEM}})
    assert [line.split(" ")[0] for line in found] == ["aks-istio-ca:issuers.b1.key:"]


def test_mistakes_are_data_too() -> None:
    """SettingsError carries each mistake as path, shown value and what is allowed."""
    with pytest.raises(SettingsError) as caught:
        load(as_pulumi(changed({"leafTtl": "1w"})))
    (mistake,) = caught.value.mistakes
    assert (mistake.path, mistake.value, mistake.allowed) == (
        "aks-istio-ca:leafTtl",
        '"1w"',
        "a duration such as 90m or 24h, 1s to 90d",
    )


def test_settings_error_is_a_value_error() -> None:
    """Callers that know nothing of this module can still catch it."""
    assert issubclass(SettingsError, ValueError)


def test_defaults() -> None:
    """What a file leaves out: durations, node pool, DNS prefix, vault, keys and subjects."""
    known = read()
    assert (known.leaf_ttl, known.slack) == (timedelta(hours=24), timedelta(minutes=5))
    assert (known.next_issuer, known.override, known.issuer_keys) == (None, None, {})
    assert (known.workloads, known.peers) == ([], [])
    assert (known.restart_timeout, known.expiry_alert) == (timedelta(minutes=10), None)
    assert known.existing_resource_groups == []
    root, issuer = known.roots["a"].generated, known.issuers["a1"]
    assert root is not None
    assert (root.algorithm, root.validity) == (Algorithm.ECDSA_P384, timedelta(days=3650))
    assert (root.organization, root.common_name) == ("Istio", None)
    assert (issuer.key, issuer.algorithm) == (KeySource.GENERATED, None)
    assert (issuer.validity, issuer.organization) == (timedelta(days=730), "Istio")
    cluster, vault = known.cluster, known.key_vault
    assert (cluster.kubernetes_version, cluster.dns_prefix, cluster.mesh) == (None, "mesh", True)
    assert (cluster.existing, cluster.kubeconfig, vault.existing) == (False, None, False)
    pool = cluster.node_pool
    assert (pool.name, pool.vm_size, pool.count) == ("system", "Standard_D4s_v5", 3)
    assert (cluster.rotation_poll_interval, cluster.poll) == ("2m", timedelta(minutes=2))
    assert (vault.resource_group, vault.secret_permissions) == ("group", ("get",))
    assert (vault.purge_protection, vault.soft_delete_days) == (True, 90)


def test_what_is_written_is_what_is_read() -> None:
    """Every setting of a file that uses all of them arrives, typed."""
    known = read(
        rotationPhase="distribute",
        nextIssuer="b1",
        issuers__b1__key="secret",
        issuerKeys={"b1": PEM},
        roots__a__generated={
            "algorithm": "RSA-4096",
            "commonName": "Root a",
            "organization": "Example",
            "validity": "1000d",
        },
        issuers__a1__algorithm="RSA-3072",
        issuers__a1__validity="8760h",
        cluster__kubernetesVersion="1.33.2",
        cluster__dnsPrefix="prefix",
        cluster__nodePool={"name": "pool1", "vmSize": "Standard_D8s_v5", "count": 5},
        cluster__revisions=["asm-1-28", "asm-1-30"],
        cluster__rotationPollInterval="1m30s",
        cluster__mesh=False,
        keyVault__resourceGroup="vaults",
        keyVault__secretPermissions=["get", "list"],
        keyVault__purgeProtection=False,
        keyVault__softDeleteDays=7,
        leafTtl="1h30m",
        slack="20s",
        override={"move": "unknown -> distribute a1 b1", "reason": "  the ledger was lost  "},
        peers=["organization/aks-istio-ca/west"],
        workloads=[WEB, {"namespace": "shop", "selector": {"example.org/tier": "web"}}],
        restartTimeout="20m",
        existingResourceGroups=["group"],
        expiryAlert={"actionGroups": [ACTION_GROUP], "severity": "Sev1"},
        cluster__kubeconfig="kind: Config",
    )
    root, issuer = known.roots["a"].generated, known.issuers["a1"]
    assert root is not None
    assert (known.rotation_phase, known.active_issuer, known.next_issuer) == (
        Phase.DISTRIBUTE,
        "a1",
        "b1",
    )
    assert (root.algorithm, root.common_name) == (Algorithm.RSA_4096, "Root a")
    assert (root.organization, root.validity) == ("Example", timedelta(days=1000))
    assert (issuer.algorithm, issuer.validity) == (Algorithm.RSA_3072, timedelta(days=365))
    assert known.roots["b"].certificate == "certificates/b.pem"
    assert known.issuers["b1"].certificate == "certificates/b1.pem"
    assert known.issuers["b1"].key is KeySource.SECRET
    assert known.issuer_keys["b1"].get_secret_value() == PEM
    cluster, vault = known.cluster, known.key_vault
    assert (cluster.kubernetes_version, cluster.dns_prefix) == ("1.33.2", "prefix")
    pool = cluster.node_pool
    assert (pool.name, pool.vm_size, pool.count) == ("pool1", "Standard_D8s_v5", 5)
    assert (cluster.revisions, cluster.mesh) == (("asm-1-28", "asm-1-30"), False)
    assert (cluster.rotation_poll_interval, cluster.poll) == ("1m30s", timedelta(seconds=90))
    assert (vault.access_model, vault.resource_group) == (AccessModel.ACCESS_POLICY, "vaults")
    assert vault.secret_permissions == ("get", "list")
    assert (vault.purge_protection, vault.soft_delete_days) == (False, 7)
    assert (known.leaf_ttl, known.slack) == (timedelta(minutes=90), timedelta(seconds=20))
    assert known.override is not None
    assert known.override.move == "unknown -> distribute a1 b1"
    assert known.override.reason == "the ledger was lost"
    assert known.peers == ["organization/aks-istio-ca/west"]
    named, selected = known.workloads
    assert (named.namespace, named.kind, named.name) == ("shop", WorkloadKind.DEPLOYMENT, "web")
    assert (selected.kind, selected.selector) == (None, {"example.org/tier": "web"})
    assert known.restart_timeout == timedelta(minutes=20)
    assert known.existing_resource_groups == ["group"]
    assert known.expiry_alert is not None
    assert known.expiry_alert.action_groups == (ACTION_GROUP,)
    assert known.expiry_alert.severity is AlertSeverity.ERROR
    assert cluster.kubeconfig is not None
    assert cluster.kubeconfig.get_secret_value() == "kind: Config"


@pytest.mark.parametrize(
    ("changes", "made"),
    [
        ({}, True),
        ({"existingResourceGroups": ["GROUP"]}, False),
        ({"cluster__existing": True}, False),
        ({"keyVault__existing": True}, False),
        ({"keyVault__existing": True, "keyVault__resourceGroup": "vaults"}, True),
    ],
    ids=["new", "named", "existing cluster", "existing vault", "existing vault elsewhere"],
)
def test_what_exists_is_not_made(changes: dict[str, object], made: bool) -> None:
    """A resource group is made unless it is named, or something in it exists already."""
    assert read(**changes).creates_resource_group("group") is made


def test_decoded_values_read_like_json_text() -> None:
    """Objects may come as JSON text, as Pulumi hands them over, or decoded already."""
    decoded = {f"aks-istio-ca:{key}": value for key, value in good().items()}
    assert load(decoded) == load(as_pulumi(good()))


def test_loading_leaves_the_configuration_alone() -> None:
    """Not even a refused configuration is changed by reading it."""
    decoded = {f"aks-istio-ca:{key}": value for key, value in changed({"slack": "x"}).items()}
    before = copy.deepcopy(decoded)
    with pytest.raises(SettingsError):
        load(decoded)
    assert decoded == before


def test_other_namespaces_are_ignored() -> None:
    """Keys of providers and of Pulumi itself are none of this program's business."""
    others = {"azure-native:location": "westeurope", "pulumi:tags": "{}", "aks-istio-ca-2:x": "y"}
    assert load({**as_pulumi(good()), **others}) == load(as_pulumi(good()))


def test_the_namespace_is_the_callers() -> None:
    """A fork under another project name reads, and names in mistakes, its own namespace."""
    values = {f"fork:{key}": value for key, value in changed({"leafTtl": "x"}).items()}
    with pytest.raises(SettingsError, match=r"^fork:leafTtl: "):
        load(values, namespace="fork")


def test_settings_cannot_be_changed() -> None:
    """Settings are frozen: what the guard judged is what the components see."""
    with pytest.raises(ValidationError, match="frozen"):
        read().rotation_phase = Phase.SWITCH


@pytest.mark.parametrize(
    ("changes", "stance"),
    [
        ({}, "steady a1"),
        ({"rotationPhase": "distribute", "nextIssuer": "b1"}, "distribute a1 b1"),
        ({"rotationPhase": "switch", "nextIssuer": "b1"}, "switch a1 b1"),
        ({"rotationPhase": "retire", "nextIssuer": "b1"}, "retire a1 b1"),
        (
            {"activeIssuer": ABSENT, "issuers": {"b1": {"root": "b"}, "b2": {"root": "b"}}},
            "bootstrap",
        ),
    ],
)
def test_stance(changes: dict[str, object], stance: str) -> None:
    """The stance is the phase and its issuers, or bootstrap while no issuer is active."""
    assert load(as_pulumi(changed(changes))).stance == stance


def test_every_stance_can_be_overridden() -> None:
    """A move between any two stances has a text that `override.move` accepts."""
    stances = ("bootstrap", "steady a1", "distribute a1 b1", "switch a1 b1", "retire a1 b1")
    for old in (*stances, "unknown"):
        for new in stances:
            move = f"{old} -> {new}"
            override = read(override={"move": move, "reason": "break glass"}).override
            assert override is not None
            assert override.move == move


def test_an_issuer_without_certificate_under_an_offline_root_is_pending() -> None:
    """Only that one: a signed issuer is not pending, nor one that the program signs."""
    known = read(issuers__b2={"root": "b"})
    assert {name: known.pending(name) for name in known.issuers} == {
        "a1": False,
        "b1": False,
        "b2": True,
    }


def test_a_pending_issuer_may_be_configured_as_active() -> None:
    """That is no mistake in the file: the guard refuses it as not ready and says what to do."""
    assert read(activeIssuer="b2", issuers__b2={"root": "b"}).pending("b2")


def test_a_rotation_needs_an_active_issuer_even_if_all_are_pending() -> None:
    """There is nothing to rotate while no issuer signs."""
    changes = {
        "activeIssuer": ABSENT,
        "rotationPhase": "distribute",
        "nextIssuer": "b1",
        "issuers": {"b1": {"root": "b"}, "b2": {"root": "b"}},
    }
    assert lines(changes) == [
        "aks-istio-ca:activeIssuer: is missing; allowed: an issuer, b1 or b2; it may be absent "
        "only in phase steady while all are pending"
    ]


def test_a_root_may_be_used_by_no_issuer() -> None:
    """A root can be prepared before its first issuer is."""
    assert "c" in read(roots__c={"generated": {}}).roots


@given(st.from_regex(r"[a-zA-Z0-9]([-_a-zA-Z0-9]{0,61}[a-zA-Z0-9])?", fullmatch=True))
@example("a" * 53 + "_" * 9 + "b")
def test_the_default_dns_prefix_is_a_valid_one(name: str) -> None:
    """Every name that AKS takes yields a DNS prefix that it takes too."""
    prefix = read(cluster__name=name).cluster.dns_prefix
    assert read(cluster__name=name, cluster__dnsPrefix=prefix).cluster.dns_prefix == prefix


any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates too
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner) | st.dictionaries(any_text, inner),
    max_leaves=8,
)
KEYS = (*(field.alias or name for name, field in Settings.model_fields.items()), "unknown", "")


def leaves(value: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every value in nested objects, the objects themselves included."""
    below = value.items() if isinstance(value, dict) else ()
    return [path, *(leaf for key, item in below for leaf in leaves(item, (*path, key)))]


PATHS = [".".join(path) for path in leaves(good()) if path]


@given(st.dictionaries(st.sampled_from(KEYS), junk | any_text.map(json.dumps)))
def test_junk_is_refused_in_an_orderly_way(values: dict[str, object]) -> None:
    """Whatever a configuration holds, reading it raises SettingsError and nothing else."""
    with pytest.raises(SettingsError) as caught:
        load({f"aks-istio-ca:{key}": value for key, value in values.items()})
    assert all(len(str(mistake).splitlines()) == 1 for mistake in caught.value.mistakes)


@given(st.dictionaries(st.sampled_from(PATHS), junk, max_size=3))
@example({"issuers.a1": {"root": {}}})
@example({"issuers.a1.root": [], "roots.a": []})
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_junk_amid_good_settings_is_refused_in_an_orderly_way(changes: dict[str, object]) -> None:
    """A good file with junk at any keys is read, or refused with SettingsError."""
    values = good()
    for path in sorted(changes, key=len, reverse=True):
        *parents, last = path.split(".")
        holder = values
        for step in parents:
            holder = holder[step]
        holder[last] = changes[path]
    with suppress(SettingsError):
        load({f"aks-istio-ca:{key}": value for key, value in values.items()})


def test_json_nested_without_end_is_refused_in_an_orderly_way() -> None:
    """A text that exhausts the JSON reader is a mistake like any other."""
    with pytest.raises(SettingsError):
        load({**as_pulumi(good()), "aks-istio-ca:peers": "[" * 100_000})


def everything_told(error: SettingsError) -> str:
    """All that a crash or a log could show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(error.mistakes)


@given(
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=12),
    st.sampled_from(
        (
            lambda secret: {"issuerKeys": {"a1": secret}},
            lambda secret: {"issuerKeys": {"unknown": secret}},
            lambda secret: {"issuerKeys": {"A 1": secret}},
            lambda secret: {"issuerKeys": secret},
            lambda secret: {"issuerKeys": [secret]},
            lambda secret: {"issuerKeys": {"a1": [secret]}},
            lambda secret: {"issuerKeys": {"a1": {"pem": secret}}},
            lambda secret: {"issuerKeys": {"b1": secret}, "issuers.b1.key": "secret", "slack": ""},
            lambda secret: {"issuerkeys": {"a1": secret}},
            lambda secret: {"issuers.a1.privateKey": secret},
        )
    ),
)
def test_issuer_keys_are_never_shown(secret: str, place: Any) -> None:
    """Whatever is wrong in or around issuerKeys, no part of a value there reaches the error."""
    with pytest.raises(SettingsError) as caught:
        load(as_pulumi(changed(place(secret))))
    assert secret not in everything_told(caught.value)


@given(st.sampled_from(PATHS), st.booleans())
def test_a_private_key_in_the_wrong_place_is_never_shown(path: str, nested: bool) -> None:
    """A private key in PEM that was pasted over any setting does not reach the error."""
    with pytest.raises(SettingsError) as caught:
        load(as_pulumi(changed({path: {"x": [PEM]} if nested else PEM})))
    assert PEM.splitlines()[1] not in everything_told(caught.value)


def test_a_private_key_as_a_name_is_never_shown() -> None:
    """Nor does one that stands where a name should."""
    with pytest.raises(SettingsError) as caught:
        load(as_pulumi(changed({"issuerKeys": {PEM: "b1"}, "roots": {PEM: {}}})))
    assert PEM.splitlines()[1] not in everything_told(caught.value)


@given(
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=12),
    st.sampled_from(
        (
            lambda secret: {"cluster.kubeconfig": [secret]},
            lambda secret: {"cluster.kubeconfig": {"users": [secret]}},
            lambda secret: {"cluster.kubeconfig": secret, "slack": ""},
            lambda secret: {"cluster": f"client-key-data: {secret}"},
        )
    ),
)
def test_a_kubeconfig_is_never_shown(secret: str, place: Any) -> None:
    """Whatever is wrong in or around it, no part of it reaches the error."""
    with pytest.raises(SettingsError) as caught:
        load(as_pulumi(changed(place(secret))))
    assert secret not in everything_told(caught.value)


def test_settings_do_not_show_a_kubeconfig() -> None:
    """Printing the settings prints nothing of it."""
    known = read(cluster__kubeconfig="token: hush")
    assert "hush" not in f"{known!r}{known}{known.model_dump()}{known.model_dump_json()}"


def test_settings_do_not_show_issuer_keys() -> None:
    """Printing the settings prints no key."""
    known = read(issuers__b1__key="secret", issuerKeys={"b1": PEM})
    assert "MC4CAQ" not in f"{known!r}{known}{known.model_dump()}{known.model_dump_json()}"


def test_a_private_key_in_plain_text_is_refused() -> None:
    """Keys and kubeconfigs must be encrypted in the stack file; the line does not repeat them."""
    config = as_pulumi(
        changed(
            {
                "issuers.b1.key": "secret",
                "issuerKeys": {"b1": PEM},
                "cluster.kubeconfig": "token: hush",
            }
        )
    )
    allowed = (
        "plain text is not allowed; allowed: a secret: take it out of the stack file, replace the "
        "key that was in it, and use `pulumi config set --secret --path`"
    )
    with pytest.raises(SettingsError) as caught:
        load(config, secret={"aks-istio-ca:roots"})
    assert str(caught.value).splitlines() == [
        f"aks-istio-ca:cluster.kubeconfig: {allowed}",
        f"aks-istio-ca:issuerKeys: {allowed}",
    ]


def test_encrypted_keys_are_taken() -> None:
    """Pulumi calls the whole setting secret when one part of it is."""
    config = as_pulumi(changed({"issuers.b1.key": "secret", "issuerKeys": {"b1": PEM}}))
    assert load(config, secret={"aks-istio-ca:issuerKeys"}).issuer_keys.keys() == {"b1"}
