"""Settings that are each allowed and cannot be used together.

The rules read the values of the stack file, not the typed settings, so that they still run when
something else in the file is wrong: a person sees every mistake at once. A value that is a mistake
itself is unreadable here (an object of no type that a rule looks for), and no rule complains about
what follows from it.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from . import durations
from .authority_settings import ISSUER_VALIDITY, ROOT_VALIDITY
from .fields import NAME, one_of
from .mistakes import Mistake, Path, show, spell, suggest
from .workload_settings import WorkloadKind

Raw = Mapping[str, Any]


def find(raw: Raw, namespace: str) -> dict[Path, Mistake]:
    """Every impossible combination in `raw` (key without its namespace -> decoded value)."""
    found: dict[Path, Mistake] = {}
    for rule in RULES:
        for path, written, allowed in rule(_Stack(raw, namespace)):
            found.setdefault(path, Mistake(spell(namespace, path), written, allowed))
    return found


Found = Iterator[tuple[Path, str | None, str]]
"""Where, the value as text (None when it is missing), and what is allowed there."""


class _Stack:
    """The parts of a stack file that combine; what is unreadable or missing is empty."""

    def __init__(self, raw: Raw, namespace: str) -> None:
        self.raw = raw
        self.namespace = namespace
        self.roots = self._table("roots")
        self.issuers = self._table("issuers")

    def _table(self, key: str) -> dict[str, Raw]:
        """Roots or issuers by name; names that are a mistake are left out, nothing has them."""
        table = self.raw.get(key)
        if not isinstance(table, dict):
            return {}
        named = {name: item for name, item in table.items() if re.fullmatch(NAME, name)}
        return {name: item if isinstance(item, dict) else {} for name, item in named.items()}

    def text(self, key: str) -> str | None:
        """A top-level setting when it is text."""
        value = self.raw.get(key)
        return value if isinstance(value, str) else None

    def root_of(self, issuer: Raw) -> Raw:
        name = issuer.get("root")
        return self.roots.get(name, {}) if isinstance(name, str) else {}


def _is_generated(root: Raw) -> bool:
    return "generated" in root and "certificate" not in root


def _is_offline(root: Raw) -> bool:
    return "certificate" in root and "generated" not in root


def _key_of(issuer: Raw) -> str | None:
    """The issuer's key source; None when it is unreadable."""
    key = issuer.get("key", "generated")
    return key if isinstance(key, str) else None


def _roots(stack: _Stack) -> Found:
    for name, root in stack.roots.items():
        if not isinstance(stack.raw["roots"][name], dict):
            continue
        given = [key for key in ("generated", "certificate") if key in root]
        if len(given) != 1:
            shown = "generated together with certificate" if given else "an empty object"
            allowed = "either generated (for development) or certificate (an offline root)"
            yield ("roots", name), shown, allowed


def _issuers(stack: _Stack) -> Found:
    for name, issuer in stack.issuers.items():
        at = ("issuers", name)
        root_name = issuer.get("root")
        if isinstance(root_name, str) and stack.roots and root_name not in stack.roots:
            allowed = f"a root, {one_of(stack.roots)}{suggest(root_name, stack.roots)}"
            yield (*at, "root"), show(at, root_name), allowed
        root = stack.root_of(issuer)
        if _is_generated(root):
            yield from _under_generated_root(at, issuer, str(root_name), root["generated"])
        if _is_offline(root):
            yield from _under_offline_root(at, issuer, str(root_name))
        yield from _without_effect(at, issuer)


def _names(stack: _Stack) -> Found:
    """Roots and issuers share the tables of names that the ledger and the outputs keep."""
    for name in stack.issuers:
        if name in stack.roots:
            yield ("issuers", name), show(("issuers", name), name), "a name that no root has"


def _under_generated_root(at: Path, issuer: Raw, root_name: str, generated: object) -> Found:
    because = f"root {root_name} is generated, so the program signs this issuer"
    if "certificate" in issuer:
        yield (*at, "certificate"), show(at, issuer["certificate"]), f"no certificate: {because}"
    if _key_of(issuer) == "external":
        yield (*at, "key"), show(at, "external"), f"generated or secret: {because}"
    whole = _validity(generated, ROOT_VALIDITY) if isinstance(generated, dict) else None
    part = _validity(issuer, ISSUER_VALIDITY)
    # Nor equal: the issuer is made after its root and would end after it.
    if whole is not None and part is not None and part >= whole:
        written = issuer.get("validity", f"{durations.spell(part)}, the default,")
        shown = show(at, written) if "validity" in issuer else written
        yield (
            (*at, "validity"),
            shown,
            f"less than {durations.spell(whole)}, the validity of root {root_name}",
        )


def _under_offline_root(at: Path, issuer: Raw, root_name: str) -> Found:
    if "validity" in issuer:
        allowed = f"no validity: whoever signs with the offline root {root_name} decides it"
        yield (*at, "validity"), show(at, issuer["validity"]), allowed
    if _key_of(issuer) == "external" and "certificate" not in issuer:
        allowed = "the path of its certificate, as its key is external"
        yield (*at, "certificate"), None, allowed


def _without_effect(at: Path, issuer: Raw) -> Found:
    key = _key_of(issuer)
    if key in ("secret", "external") and "algorithm" in issuer:
        allowed = f"no algorithm: the key is {key}, so it has one"
        yield (*at, "algorithm"), show(at, issuer["algorithm"]), allowed
    if key != "external" and "keyWritten" in issuer:
        allowed = "no keyWritten: the program writes this key to ca-key itself"
        yield (*at, "keyWritten"), show(at, issuer["keyWritten"]), allowed
    for part in ("commonName", "organization"):
        if key == "external" and part in issuer:
            allowed = f"no {part}: the key is external, so the certificate has its subject"
            yield (*at, part), show(at, issuer[part]), allowed


def _validity(item: Raw, default: timedelta) -> timedelta | None:
    """The lifetime that a generated root or issuer asks for; None when it is unreadable."""
    written = item.get("validity", default)
    return (
        durations.parse(written)
        if isinstance(written, str)
        else (written if isinstance(written, timedelta) else None)
    )


def _keys(stack: _Stack) -> Found:
    keys = stack.raw.get("issuerKeys", {})
    if not isinstance(keys, dict) or not stack.issuers:
        return
    for name, issuer in stack.issuers.items():
        if _key_of(issuer) == "secret" and name not in keys:
            setting = f"{stack.namespace}:issuerKeys.{name}"
            allowed = (
                f"its private key, as issuers.{name}.key is secret: "
                f"pulumi config set --secret --path '{setting}' < key.pem"
            )
            yield ("issuerKeys", name), None, allowed
    for name, value in keys.items():
        at = ("issuerKeys", name)
        if name not in stack.issuers:
            allowed = f"keys of the issuers {one_of(stack.issuers)}{suggest(name, stack.issuers)}"
            yield at, show(at, value), allowed
        elif stack.issuers[name] and _key_of(stack.issuers[name]) in ("generated", "external"):
            yield at, show(at, value), f"no key, unless issuers.{name}.key is secret"


def _rotation(stack: _Stack) -> Found:
    active, following = stack.raw.get("activeIssuer"), stack.raw.get("nextIssuer")
    phase = stack.text("rotationPhase")
    choice = one_of(stack.issuers) if stack.issuers else ""
    for key in ("activeIssuer", "nextIssuer"):
        name = stack.text(key)
        if name is not None and stack.issuers and name not in stack.issuers:
            allowed = f"an issuer, {choice}{suggest(name, stack.issuers)}"
            yield (key,), show((key,), name), allowed
    rotating = phase is not None and phase != "steady"
    if active is None and stack.issuers and (rotating or _has_certificate(stack)):
        allowed = (
            f"an issuer, {choice}; it may be absent only in phase steady while all are pending"
        )
        yield ("activeIssuer",), None, allowed
    if phase == "steady" and following is not None:
        yield ("nextIssuer",), show(("nextIssuer",), following), "no nextIssuer in phase steady"
    if rotating and following is None:
        yield ("nextIssuer",), None, f"the issuer to move to, as the phase is {phase}"
    elif rotating and following == active:
        allowed = "an issuer other than activeIssuer"
        yield ("nextIssuer",), show(("nextIssuer",), following), allowed


def _has_certificate(stack: _Stack) -> bool:
    """Whether an issuer is not pending."""
    return any(
        "certificate" in issuer or _is_generated(stack.root_of(issuer))
        for issuer in stack.issuers.values()
    )


def _key_owner(stack: _Stack) -> Found:
    """Secret `ca-key` is written by this program or by someone else, never by both in turn."""
    active, following = stack.text("activeIssuer"), stack.text("nextIssuer")
    old, new = stack.issuers.get(active or ""), stack.issuers.get(following or "")
    if not old or not new or _key_of(old) is None or _key_of(new) is None:
        return
    if (_key_of(old) == "external") != (_key_of(new) == "external"):
        wanted = "external" if _key_of(old) == "external" else "generated or secret"
        allowed = (
            f"an issuer whose key is {wanted}, as that of {active}: "
            "who writes ca-key cannot change in a rotation"
        )
        yield ("nextIssuer",), show(("nextIssuer",), following), allowed


def _vault(stack: _Stack) -> Found:
    vault = stack.raw.get("keyVault")
    if not isinstance(vault, dict):
        return
    if vault.get("accessModel") == "rbac" and "secretPermissions" in vault:
        at = ("keyVault", "secretPermissions")
        allowed = "no secretPermissions with accessModel rbac, where roles decide"
        yield at, show(at, vault["secretPermissions"]), allowed
    yield from _of_what_exists("keyVault", vault, ("purgeProtection", "softDeleteDays"))


def _cluster(stack: _Stack) -> Found:
    cluster = stack.raw.get("cluster")
    if isinstance(cluster, dict):
        yield from _of_what_exists(
            "cluster", cluster, ("kubernetesVersion", "dnsPrefix", "nodePool")
        )


def _of_what_exists(key: str, item: Raw, without: tuple[str, ...]) -> Found:
    """Settings that only something new can be given."""
    if item.get("existing") is not True:
        return
    for setting in without:
        if setting in item:
            at = (key, setting)
            yield at, show(at, item[setting]), f"no {setting} with existing: true"


def _resource_groups(stack: _Stack) -> Found:
    groups = stack.raw.get("existingResourceGroups")
    parts = [stack.raw.get(key) for key in ("cluster", "keyVault")]
    used = [part.get("resourceGroup") for part in parts if isinstance(part, dict)]
    named = [group for group in used if isinstance(group, str)]
    # ARM does not distinguish them, Pulumi would make two resources of them.
    if len(set(named)) > len({group.lower() for group in named}):
        at = ("keyVault", "resourceGroup")
        yield at, show(at, named[1]), f"{named[0]}, as the cluster's is spelt"
    if not isinstance(groups, list) or not named:
        return
    for index, group in enumerate(groups):
        if isinstance(group, str) and group.lower() not in (name.lower() for name in named):
            at = ("existingResourceGroups", f"[{index}]")
            allowed = f"a resource group in use, {one_of(named)}{suggest(group, named)}"
            yield at, show(at, group), allowed


def _workloads(stack: _Stack) -> Found:
    workloads = stack.raw.get("workloads")
    if not isinstance(workloads, list):
        return
    for index, workload in enumerate(workloads):
        if not isinstance(workload, dict):
            continue
        at = ("workloads", f"[{index}]")
        given = [key for key in ("name", "selector") if key in workload]
        if len(given) != 1:
            shown = "name together with selector" if given else "neither name nor selector"
            yield at, shown, "either name, for one workload, or selector, for all that match"
        elif given == ["name"] and "kind" not in workload:
            yield (*at, "kind"), None, f"{one_of(WorkloadKind)}, as one workload is named"


RULES = (
    _roots,
    _names,
    _issuers,
    _keys,
    _rotation,
    _key_owner,
    _cluster,
    _vault,
    _resource_groups,
    _workloads,
)
