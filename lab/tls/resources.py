"""The resource types of the `tls` provider. Their whole state is their outputs.

Every change of an input makes a new object, except of `earlyRenewalHours`, which by itself renews
nothing (facts: lab.md 3). A replacement is created before the old one goes, as with the real one.
"""

from __future__ import annotations

import ipaddress
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final

import grpc

from lab.provider import differences, schema
from lab.provider.errors import ProviderError
from lab.provider.plugin import Checked, Difference, Live, Naming, Written
from lab.provider.values import UNKNOWN, Properties, Unknown
from lab.tls import modelled
from lab.tls.names import ALGORITHMS, CURVES, EXTENDED_USES, KEY_USAGES, MaterialError

_IN_PLACE: Final = ("earlyRenewalHours",)
_MIN_RSA_BITS: Final = 1024
"""Go's crypto/rsa refuses less."""


class TlsResource(ABC):
    """What the resource types share."""

    token: ClassVar[str]
    secret_outputs: tuple[str, ...] = ()
    defaults: ClassVar[Properties] = {}

    def __init__(self) -> None:
        self.schema = schema.load(modelled.SCHEMA, self.token)

    @abstractmethod
    def make(self, inputs: Properties) -> tuple[str, Properties]:
        """Return the id and the computed outputs of a new object.

        Each imports what makes it only then: most runs of the plug-in make nothing.
        """

    def wrong(self, inputs: Properties) -> list[str]:
        """Return what is wrong with known values, one line each."""
        return []

    def check(self, naming: Naming, olds: Properties, news: Properties) -> Checked:
        """Validate; the inputs stay as they are."""
        found = schema.failures(self.schema, news, {})
        return Checked(news, found or self.wrong(news))

    def diff(
        self, resource_id: str, old_inputs: Properties, old_state: Properties, news: Properties
    ) -> Difference:
        """Compare inputs: all replace but `earlyRenewalHours`."""
        names = [name for name in {**old_inputs, **news} if name not in _IN_PLACE]
        return Difference(differences.changes(old_inputs, news, replaces=names))

    def create(self, inputs: Properties, preview: bool) -> Written:
        """Make the object; a preview knows the inputs only."""
        if preview:
            node = self.schema.inputs
            names = [name for name in node["outputs"] if name not in node["unmodelled"]]
            outputs: Properties = dict.fromkeys(names, UNKNOWN)
            return Written("", {**outputs, **self.defaults, **inputs})
        given = {**self.defaults, **inputs}
        try:
            resource_id, computed = self.make(given)
        except MaterialError as error:
            raise ProviderError(grpc.StatusCode.INVALID_ARGUMENT, f"tls: {error}") from None
        return Written(resource_id, {**given, **computed})

    def read(self, resource_id: str, inputs: Properties, state: Properties) -> Live | None:
        """Return the state: there is nothing else to look at, and so nothing to import."""
        if not state:
            raise ProviderError(
                grpc.StatusCode.INVALID_ARGUMENT, f"tls: {self.token} cannot be imported"
            )
        return Live(resource_id, inputs, state)

    def update(
        self, resource_id: str, state: Properties, news: Properties, preview: bool
    ) -> Properties:
        """Take over what may change in place."""
        return {**state, **{name: news.get(name, 0) for name in _IN_PLACE}}

    def delete(  # noqa: B027 - nothing is kept anywhere
        self, resource_id: str, inputs: Properties, state: Properties
    ) -> None:
        """Delete nothing."""


class PrivateKey(TlsResource):
    """tls:index/privateKey:PrivateKey; its id is the SHA-1 of the public key."""

    token = "tls:index/privateKey:PrivateKey"
    secret_outputs = ("privateKeyOpenssh", "privateKeyPem", "privateKeyPemPkcs8")
    defaults: ClassVar[Properties] = {"ecdsaCurve": "P224", "rsaBits": 2048}

    def wrong(self, inputs: Properties) -> list[str]:
        """Check algorithm, curve and size."""
        found = _one_of(inputs, "algorithm", ALGORITHMS)
        found += _one_of(inputs, "ecdsaCurve", CURVES)
        bits = inputs.get("rsaBits", 2048)
        if not isinstance(bits, Unknown) and bits < _MIN_RSA_BITS:
            found.append(f"rsaBits is {bits}; at least {_MIN_RSA_BITS}")
        return found

    def make(self, inputs: Properties) -> tuple[str, Properties]:
        """Generate the key."""
        from lab.tls import making

        return making.private_key(inputs)


class CertRequest(TlsResource):
    """tls:index/certRequest:CertRequest; its id is the SHA-1 of the PEM."""

    token = "tls:index/certRequest:CertRequest"
    secret_outputs = ("privateKeyPem",)

    def wrong(self, inputs: Properties) -> list[str]:
        """Check that there is a key and that the names are names."""
        return [*_needs_key(inputs, "privateKeyPem"), *_wrong_names(inputs)]

    def make(self, inputs: Properties) -> tuple[str, Properties]:
        """Make the request and sign it with its key."""
        from lab.tls import making

        return making.cert_request(inputs)


class _Certificate(TlsResource):
    """What both kinds of certificate share; their id is the serial number in decimal."""

    defaults: ClassVar[Properties] = {
        "earlyRenewalHours": 0,
        "isCaCertificate": False,
        "setSubjectKeyId": False,
    }

    def wrong(self, inputs: Properties) -> list[str]:
        """Check the uses and the lengths of time."""
        known = (*KEY_USAGES, *EXTENDED_USES)
        found = []
        uses = inputs["allowedUses"]
        for index, use in enumerate([] if isinstance(uses, Unknown) else uses):
            if not isinstance(use, Unknown) and use not in known:
                found.append(
                    f"allowedUses[{index}] is '{use}'; allowed: {', '.join(sorted(known))}"
                )
        for name, least in (
            ("validityPeriodHours", 0), ("earlyRenewalHours", 0), ("maxPathLength", -1),
        ):  # fmt: skip
            value = inputs.get(name, 0)
            if not isinstance(value, Unknown) and value < least:
                found.append(f"{name} is {value}; at least {least}")
        return found


class SelfSignedCert(_Certificate):
    """tls:index/selfSignedCert:SelfSignedCert."""

    token = "tls:index/selfSignedCert:SelfSignedCert"
    secret_outputs = ("privateKeyPem",)
    defaults: ClassVar[Properties] = {**_Certificate.defaults, "setAuthorityKeyId": False}

    def wrong(self, inputs: Properties) -> list[str]:
        """Check what every certificate needs, and that there is a key."""
        found = _needs_key(inputs, "privateKeyPem")
        return [*found, *_wrong_names(inputs), *super().wrong(inputs)]

    def make(self, inputs: Properties) -> tuple[str, Properties]:
        """Make the certificate and sign it with its own key."""
        from lab.tls import making

        return making.self_signed_cert(inputs)


class LocallySignedCert(_Certificate):
    """tls:index/locallySignedCert:LocallySignedCert."""

    token = "tls:index/locallySignedCert:LocallySignedCert"
    secret_outputs = ("caPrivateKeyPem",)

    def wrong(self, inputs: Properties) -> list[str]:
        """Check what every certificate needs, and that there is a CA's key."""
        return [*_needs_key(inputs, "caPrivateKeyPem"), *super().wrong(inputs)]

    def make(self, inputs: Properties) -> tuple[str, Properties]:
        """Sign the request with the CA's key."""
        from lab.tls import making

        return making.locally_signed_cert(inputs)


RESOURCES: Final = (PrivateKey, CertRequest, SelfSignedCert, LocallySignedCert)


def _needs_key(inputs: Properties, name: str) -> list[str]:
    return [] if name in inputs else [f"missing required property '{name}'"]


def _one_of(inputs: Properties, name: str, allowed: tuple[str, ...]) -> list[str]:
    value = inputs.get(name, allowed[0])
    if isinstance(value, Unknown) or value in allowed:
        return []
    return [f"{name} is '{value}'; allowed: {', '.join(allowed)}"]


def _ascii(text: str) -> None:
    """Raise ValueError for what an IA5String cannot hold (RFC 5280, section 4.2.1.6)."""
    text.encode("ascii")


_NAMES: Final[tuple[tuple[str, str, Callable[[str], object]], ...]] = (
    ("dnsNames", "DNS name", _ascii),
    ("ipAddresses", "IP address", ipaddress.ip_address),
    ("uris", "URI", _ascii),
)


def _wrong_names(inputs: Properties) -> list[str]:
    found = []
    for name, noun, parse in _NAMES:
        values = inputs.get(name, [])
        for index, value in enumerate([] if isinstance(values, Unknown) else values):
            try:
                if not isinstance(value, Unknown):
                    parse(value)
            except ValueError:
                found.append(f"{name}[{index}] is '{value}', which is no {noun}")
    return found
