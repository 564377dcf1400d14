"""What has to hold for secrets in Key Vault, and for private keys anywhere."""

import base64
import re
from collections.abc import Iterator

from policy.seen import UNKNOWN, Resource, texts

SECRET = "azure-native:keyvault:Secret"
CA_KEY = "ca-key"
VALUE = ("properties", "value")

_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{64,}")
_DEEPEST = 2
"""How often a key is encoded at most: a kubeconfig with keys in base64 may be in base64 itself."""

_TAKES_KEYS = "tls:"
"""Resources of the tls provider take private keys as their input; that is what they are for."""
_KUBECONFIG = ("pulumi:providers:kubernetes", ("kubeconfig",))
"""May hold the key of whoever talks to the cluster, and has to."""


def _in_base64(text: str) -> Iterator[str]:
    """What base64 makes of a text within another one: three ways, by how many bytes precede it."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + text.encode()).decode()
        # The first and the last characters hold bits of what is beside it, too.
        whole = len(text) - (3 - before) % 3
        start = 4 if before else 0
        yield encoded[start : start + whole // 3 * 4]


_END_IN_BASE64 = tuple(_in_base64("PRIVATE KEY-----"))


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
        if (resource.type, path) == _KUBECONFIG or _is_ca_key(resource, path):
            continue
        if _holds_private_key(text):
            yield f"{'.'.join(path)} holds a private key, which belongs into the secret {CA_KEY}"


def _is_ca_key(resource: Resource, path: tuple[str, ...]) -> bool:
    named = resource.at("secretName")
    return resource.type == SECRET and path == VALUE and named in (CA_KEY, UNKNOWN)


def _holds_private_key(text: str, deepest: int = _DEEPEST) -> bool:
    if _PRIVATE_KEY.search(text):
        return True
    # Base64 may be wrapped into lines, and stand in the middle of anything else.
    bare = "".join(text.split())
    if any(end in bare for end in _END_IN_BASE64):
        return True
    return deepest > 1 and any(
        _holds_private_key(
            base64.b64decode(found[0][: len(found[0]) // 4 * 4]).decode("latin-1"), deepest - 1
        )
        for found in _BASE64.finditer(bare)
    )
