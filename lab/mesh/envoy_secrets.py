"""What an Envoy holds right now: its leaf, the chain it presents, the roots it trusts.

Read from the admin interface, which never shows a private key.
"""

import base64
import json
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from lab.mesh import probes
from lab.mesh.proxy import ADMIN_PORT

_PATH = "/config_dump?resource=dynamic_active_secrets"


@dataclass(frozen=True, slots=True)
class Held:
    """The secrets of one proxy."""

    leaf: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    """What it presents above the leaf."""
    trust: tuple[x509.Certificate, ...]


def held(address: str) -> Held | None:
    """Return what the Envoy at a pod's address holds; None before it has both secrets."""
    answer = probes.get(address, ADMIN_PORT, _PATH)
    if answer is None or answer[0] != 200:
        return None
    secrets = {each["name"]: each["secret"] for each in json.loads(answer[1]).get("configs", [])}
    if not {"default", "ROOTCA"} <= secrets.keys():
        return None
    leaf, *chain = _certificates(secrets["default"]["tls_certificate"]["certificate_chain"])
    trust = _certificates(secrets["ROOTCA"]["validation_context"]["trusted_ca"])
    return Held(leaf, tuple(chain), tuple(trust))


def _certificates(source: dict[str, Any]) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(base64.b64decode(source["inline_bytes"]))
