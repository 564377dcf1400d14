"""Settings that are each allowed and cannot be used together.

The rules read the stack file's own values, not the typed settings, so that they still run when
something else in the file is wrong and a person sees every mistake at once. A refused value is
UNREADABLE: rules complain only about values that they can read.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from . import durations
from .mistakes import Mistake, Path, Unreadable, one_of, show, spell, suggest

ROOT_VALIDITY = timedelta(days=3650)
ISSUER_VALIDITY = timedelta(days=730)

Raw = Mapping[str, Any]


def find(raw: Raw, namespace: str) -> Iterator[Mistake]:
    """Every impossible combination in `raw` (top-level key to decoded value)."""

    def mistake(path: Path, value: object, allowed: str) -> Mistake:
        shown = None if value is None else show(path, value)
        return Mistake(spell(namespace, path), shown, allowed)

    found = (*_roots(raw), *_issuers(raw), *_keys(raw, namespace), *_rotation(raw), *_vault(raw))
    return (mistake(*one) for one in found)


Found = Iterator[tuple[Path, object, str]]


def _table(raw: Raw, key: str) -> dict[str, Raw]:
    """The objects by name under a top-level key; those that are unreadable are empty."""
    table = raw.get(key)
    if not isinstance(table, dict):
        return {}
    return {name: item if isinstance(item, dict) else {} for name, item in table.items()}


def _readable(value: object) -> bool:
    return value is not None and not isinstance(value, Unreadable)


def _is_generated(root: Raw | None) -> bool:
    return root is not None and "generated" in root and "certificate" not in root


def _is_offline(root: Raw | None) -> bool:
    return root is not None and "certificate" in root and "generated" not in root


def _is_external(issuer: Raw) -> bool:
    return issuer.get("key") == "external"


def _roots(raw: Raw) -> Found:
    for name, root in _table(raw, "roots").items():
        item = raw["roots"][name]
        if isinstance(item, dict) and ("generated" in root) == ("certificate" in root):
            allowed = 'exactly one of "generated" (development) and "certificate" (offline root)'
            yield ("roots", name), item, allowed


def _issuers(raw: Raw) -> Found:
    roots = _table(raw, "roots")
    for name, issuer in _table(raw, "issuers").items():
        at = ("issuers", name)
        root_name = issuer.get("root")
        root = roots.get(root_name) if isinstance(root_name, str) else None
        if isinstance(root_name, str) and roots and root is None:
            yield (*at, "root"), root_name, f"a root: {one_of(roots)}{suggest(root_name, roots)}"
        if _is_generated(root):
            yield from _under_generated_root(at, issuer, str(root_name), root or {})
        if _is_offline(root):
            yield from _under_offline_root(at, issuer)
        yield from _without_effect(at, issuer)


def _under_generated_root(at: Path, issuer: Raw, root_name: str, root: Raw) -> Found:
    because = f"because root {root_name} is generated: the program signs its issuers"
    if "certificate" in issuer:
        yield (*at, "certificate"), issuer["certificate"], f"nothing, {because}"
    if _is_external(issuer):
        yield (*at, "key"), "external", f"generated or secret, {because}"
    generated = root.get("generated")
    whole = _validity(generated, ROOT_VALIDITY) if isinstance(generated, dict) else None
    part = _validity(issuer, ISSUER_VALIDITY)
    # Not equal either: the issuer is made after its root, so it would end after it too.
    if whole is not None and part is not None and part >= whole:
        limit = f"less than the {durations.text(whole)} of root {root_name}"
        yield (*at, "validity"), issuer.get("validity", durations.text(part)), limit


def _under_offline_root(at: Path, issuer: Raw) -> Found:
    if "validity" in issuer:
        allowed = "nothing, because whoever holds the offline root decides when it signs"
        yield (*at, "validity"), issuer["validity"], allowed
    if _is_external(issuer) and "certificate" not in issuer:
        yield (*at, "certificate"), None, 'the path of the signed certificate, as "key" is external'


def _without_effect(at: Path, issuer: Raw) -> Found:
    key = issuer.get("key", "generated")
    if "algorithm" in issuer and key in ("secret", "external"):
        yield (*at, "algorithm"), issuer["algorithm"], f'nothing, because "key" is {key}'
    for subject in ("commonName", "organization"):
        if subject in issuer and key == "external":
            allowed = 'nothing, because "key" is external: the certificate has its subject already'
            yield (*at, subject), issuer[subject], allowed


def _validity(item: Raw, default: timedelta) -> timedelta | None:
    written = item.get("validity")
    if isinstance(written, str):
        return durations.parse(written)
    return default if written is None else None


def _keys(raw: Raw, namespace: str) -> Found:
    issuers = _table(raw, "issuers")
    keys = raw.get("issuerKeys", {})
    if not isinstance(keys, dict) or not issuers:
        return
    for name, issuer in issuers.items():
        if issuer.get("key") == "secret" and name not in keys:
            command = f"pulumi config set --secret --path '{namespace}:issuerKeys.{name}' < key.pem"
            yield ("issuerKeys", name), None, f"its private key in PEM; run {command}"
    for name in keys:
        if name not in issuers:
            yield ("issuerKeys", name), "", f'keys of issuers in "issuers"{suggest(name, issuers)}'
        elif isinstance(raw["issuers"][name], dict) and issuers[name].get("key", "generated") in (
            "generated",
            "external",
        ):
            allowed = f"nothing, unless issuers.{name}.key is secret"
            yield ("issuerKeys", name), "", allowed


def _rotation(raw: Raw) -> Found:
    issuers = _table(raw, "issuers")
    phase, active, following = (
        raw.get(key) for key in ("rotationPhase", "activeIssuer", "nextIssuer")
    )
    for key, name in (("activeIssuer", active), ("nextIssuer", following)):
        if isinstance(name, str) and issuers and name not in issuers:
            yield (key,), name, f"an issuer: {one_of(issuers)}{suggest(name, issuers)}"
    if active is None and issuers and not (phase == "steady" and _all_pending(raw)):
        allowed = (
            f"an issuer: {one_of(issuers)} (absent only in phase steady while all are pending)"
        )
        yield ("activeIssuer",), None, allowed
    if phase == "steady" and following is not None:
        yield ("nextIssuer",), following, "nothing in phase steady"
    if phase in ("distribute", "switch", "retire"):
        if following is None:
            yield ("nextIssuer",), None, f"the issuer to move to, in phase {phase}"
        elif _readable(following) and following == active:
            yield ("nextIssuer",), following, "an issuer other than activeIssuer"
    yield from _owner_of_the_key(issuers, active, following)


def _all_pending(raw: Raw) -> bool:
    """True unless an issuer is certainly not pending."""
    roots = _table(raw, "roots")
    return all(
        "certificate" not in issuer and not _is_generated(roots.get(str(issuer.get("root"))))
        for issuer in _table(raw, "issuers").values()
    )


def _owner_of_the_key(issuers: Mapping[str, Raw], active: object, following: object) -> Found:
    """Secret `ca-key` is written by this program or by someone else, never by both in turn."""
    if not (isinstance(active, str) and isinstance(following, str)):
        return
    if not (active in issuers and following in issuers):
        return
    kinds = [issuers[name].get("key", "generated") for name in (active, following)]
    if any(isinstance(kind, Unreadable) for kind in kinds) or not all(
        issuers[name] for name in (active, following)
    ):
        return
    if (kinds[0] == "external") != (kinds[1] == "external"):
        wanted = "external" if kinds[0] == "external" else "generated or secret"
        allowed = (
            f'an issuer whose "key" is {wanted}, as that of {active} is: '
            "a rotation cannot change who writes ca-key"
        )
        yield ("nextIssuer",), following, allowed


def _vault(raw: Raw) -> Found:
    vault = raw.get("keyVault")
    if isinstance(vault, dict) and vault.get("accessModel") == "rbac":
        permissions = vault.get("secretPermissions")
        if _readable(permissions):
            allowed = "nothing with accessModel rbac: the role Key Vault Secrets User decides"
            yield ("keyVault", "secretPermissions"), permissions, allowed
