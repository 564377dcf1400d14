"""What the `tls` provider calls curves and uses. Plain text: a preview makes no certificate.

Checking and comparing needs no cryptography, whose import is a large part of a plug-in's start.
"""

from __future__ import annotations

from typing import Final

ALGORITHMS: Final = ("RSA", "ECDSA", "ED25519")

CURVES: Final = ("P224", "P256", "P384", "P521")

KEY_USAGES: Final[dict[str, str]] = {
    "digital_signature": "digital_signature",
    "content_commitment": "content_commitment",
    "key_encipherment": "key_encipherment",
    "data_encipherment": "data_encipherment",
    "key_agreement": "key_agreement",
    "cert_signing": "key_cert_sign",
    "crl_signing": "crl_sign",
    "encipher_only": "encipher_only",
    "decipher_only": "decipher_only",
}
"""`allowed_uses` that are bits of KeyUsage, and `cryptography`'s names for them."""

EXTENDED_USES: Final[dict[str, str]] = {
    "any_extended": "2.5.29.37.0",
    "server_auth": "1.3.6.1.5.5.7.3.1",
    "client_auth": "1.3.6.1.5.5.7.3.2",
    "code_signing": "1.3.6.1.5.5.7.3.3",
    "email_protection": "1.3.6.1.5.5.7.3.4",
    "ipsec_end_system": "1.3.6.1.5.5.7.3.5",
    "ipsec_tunnel": "1.3.6.1.5.5.7.3.6",
    "ipsec_user": "1.3.6.1.5.5.7.3.7",
    "timestamping": "1.3.6.1.5.5.7.3.8",
    "ocsp_signing": "1.3.6.1.5.5.7.3.9",
    "microsoft_server_gated_crypto": "1.3.6.1.4.1.311.10.3.3",
    "netscape_server_gated_crypto": "2.16.840.1.113730.4.1",
}
"""`allowed_uses` that are purposes of ExtendedKeyUsage, and their object identifiers."""


class MaterialError(ValueError):
    """Some input is no key, request or certificate. Says which input; never shows its text."""
