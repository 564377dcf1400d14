"""What has to hold for secrets in Key Vault, and for private keys anywhere."""

import base64
import binascii
import re
from collections.abc import Iterator

from policy.seen import UNKNOWN, Resource, texts

SECRET = "azure-native:keyvault:Secret"
CA_KEY = "ca-key"
VALUE = ("properties", "value")

_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_BASE64_OF_BEGIN = "LS0tLS1CRUdJTi"
"""What base64 makes of `-----BEGIN`, as in a Kubernetes Secret."""

_TAKES_KEYS = "tls:"
"""Resources of the tls provider take private keys as their input; that is what they are for."""


def described(secret: Resource) -> Iterator[str]:
    """A secret says what it is and when it ends, so that somebody can be told in time.

    Key Vault's event `SecretNearExpiry` needs `exp` (learn.microsoft.com/azure/event-grid
    /event-schema-key-vault).
    """
    if not secret.at("properties", "contentType"):
        yield "it does not say what it holds: set properties.contentType"
    if secret.at("properties", "attributes", "expires") is None:
        yield "it does not say when it ends: set properties.attributes.expires"


def value_is_secret(secret: Resource, *, is_plain: bool) -> Iterator[str]:
    """The value is marked as secret, else it stands in the state as plain text."""
    if is_plain:
        yield "its value would stand in the state as plain text: wrap it in `Output.secret`"


def no_stray_private_key(resource: Resource) -> Iterator[str]:
    """A private key is in `ca-key` and nowhere else; the message never shows it."""
    if resource.type.startswith(_TAKES_KEYS):
        return
    for path, text in texts(resource.properties):
        if _holds_private_key(text) and not _is_ca_key(resource, path):
            yield f"{'.'.join(path)} holds a private key, which belongs into the secret {CA_KEY}"


def _is_ca_key(resource: Resource, path: tuple[str, ...]) -> bool:
    named = resource.at("secretName")
    return resource.type == SECRET and path == VALUE and named in (CA_KEY, UNKNOWN)


def _holds_private_key(text: str) -> bool:
    if _PRIVATE_KEY.search(text):
        return True
    if not text.lstrip().startswith(_BASE64_OF_BEGIN):
        return False
    try:
        decoded = base64.b64decode(text).decode("ascii", "replace")
    except (binascii.Error, ValueError):
        return False
    return _PRIVATE_KEY.search(decoded) is not None
