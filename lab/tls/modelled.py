"""Which resources of the `tls` provider the lab models; the rest is refused by name.

Names, types and requiredness come from the installed SDK (lab.schema_build). Not modelled: the
write-only keys (`privateKeyPemWo` and its like), and the data sources.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

ALL: Final = True

SCHEMA: Final = Path(__file__).with_name("schema.json")

_VALIDITY: Final[dict[str, Any]] = {
    "allowedUses": ALL,
    "earlyRenewalHours": ALL,
    "isCaCertificate": ALL,
    "maxPathLength": ALL,
    "setSubjectKeyId": ALL,
    "validityPeriodHours": ALL,
}

_REQUEST: Final[dict[str, Any]] = {
    "dnsNames": ALL,
    "ipAddresses": ALL,
    "privateKeyPem": ALL,
    "subject": ALL,
    "uris": ALL,
}

RESOURCES: Final[dict[str, dict[str, Any]]] = {
    "tls:index/privateKey:PrivateKey": {"algorithm": ALL, "ecdsaCurve": ALL, "rsaBits": ALL},
    "tls:index/certRequest:CertRequest": _REQUEST,
    "tls:index/selfSignedCert:SelfSignedCert": {
        **_REQUEST,
        **_VALIDITY,
        "setAuthorityKeyId": ALL,
    },
    "tls:index/locallySignedCert:LocallySignedCert": {
        **_VALIDITY,
        "caCertPem": ALL,
        "caPrivateKeyPem": ALL,
        "certRequestPem": ALL,
    },
}
"""Resource type tokens, as the SDK spells them, and the inputs that the lab models."""
