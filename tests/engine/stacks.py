"""Stack configurations for the real engine, and the material that they name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256

from tests import material
from tests.engine.workspace import Workspace
from tests.material import Authority

ISSUERS = ("a1", "a2", "b1")
"""Each under the root that its first letter names."""

LONG = {"leafTtl": "24h", "slack": "5m"}
"""A pace at which nothing passes by itself while a test runs."""

SHORT = {"leafTtl": "1s", "slack": "1s"}
"""A pace at which a window passes in 3 seconds: leaf, poll and slack."""

CLUSTER: Mapping[str, Any] = {
    "name": "mesh",
    "resourceGroup": "mesh-group",
    "revisions": ["asm-1-29", "asm-1-30"],
    "rotationPollInterval": "1s",
}
VAULT: Mapping[str, Any] = {"name": "mesh-vault", "accessModel": "accessPolicy"}


def make_authorities(issuers: Iterable[str] = ISSUERS) -> dict[str, Authority]:
    """Roots `a` and `b` and issuers under them, all of them ECDSA P-256 and valid now."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    made = {
        root: material.authority(
            f"O=Istio,CN=Root {root}", start=start, end=start + timedelta(days=3650)
        )
        for root in ("a", "b")
    }
    for issuer in issuers:
        made[issuer] = material.authority(
            f"O=Istio,CN=Issuer {issuer}",
            under=made[issuer[0]],
            start=start,
            end=start + timedelta(days=730),
        )
    return made


def write_certificates(authorities: Mapping[str, Authority], directory: Path) -> None:
    """Writes each certificate to NAME.pem; the keys stay in memory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, authority in authorities.items():
        (directory / f"{name}.pem").write_text(authority.pem)


def fingerprint(authority: Authority) -> str:
    """SHA-256 of a certificate, in hex."""
    return authority.certificate.fingerprint(SHA256()).hex()


def reference(name: str, authority: Authority) -> str:
    """A certificate as refusals and the console show it."""
    end = authority.certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{name} (sha256 {fingerprint(authority)[:16]}, not after {end})"


def issuer_settings(issuers: Iterable[str] = ISSUERS) -> dict[str, dict[str, str]]:
    """The setting `issuers`: a certificate file for each, and its key in `issuerKeys`."""
    return {
        name: {"root": name[0], "certificate": f"{name}.pem", "key": "secret"} for name in issuers
    }


def offline(**changes: Any) -> dict[str, Any]:
    """Offline roots and issuers whose keys are in `issuerKeys`; steady with a1, at a short pace.

    A change of `cluster` or `keyVault` names single settings of them; None takes a setting out.
    """
    config: dict[str, Any] = {
        "rotationPhase": "steady",
        "activeIssuer": "a1",
        **SHORT,
        "roots": {root: {"certificate": f"{root}.pem"} for root in ("a", "b")},
        "issuers": issuer_settings(),
        "cluster": CLUSTER,
        "keyVault": VAULT,
    }
    return changed(config, **changes)


def changed(config: Mapping[str, Any], /, **changes: Any) -> dict[str, Any]:
    """A configuration with changes, of `cluster` and `keyVault` setting by setting; None drops."""
    result = deepcopy(dict(config))
    for key, value in changes.items():
        if key in ("cluster", "keyVault"):
            value = {**result[key], **value}
            value = {name: one for name, one in value.items() if one is not None}
        result[key] = value
    return {key: value for key, value in result.items() if value is not None}


def set_keys(
    stack: Workspace, authorities: Mapping[str, Authority], issuers: Iterable[str] = ISSUERS
) -> None:
    """Sets the private key of every issuer, as a user does with `pulumi config set --secret`."""
    for name in issuers:
        stack.set_secret(f"issuerKeys.{name}", material.key_text(authorities[name].key))
