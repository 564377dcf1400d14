"""The certificates and keys that the configuration brings along, read and parsed once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from cryptography import x509

from meshca import certificates
from meshca.refusals import Refusal, Refused
from meshca.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Material:
    """Certificates of offline roots and of signed issuers, and the keys of issuers; by name."""

    roots: Mapping[str, x509.Certificate]
    issuers: Mapping[str, x509.Certificate]
    keys: Mapping[str, certificates.Key] = field(repr=False)


def read(settings: Settings, base: Path) -> Material:
    """Reads every file that the settings name, relative to `base`.

    Raises Refused with one refusal for each file or key that cannot be used.
    """
    refusals: list[Refusal] = []

    def attempt(parse: Callable[[], T]) -> T | None:
        try:
            return parse()
        except Refused as refused:
            refusals.extend(refused.refusals)
            return None

    def collect(paths: Mapping[str, str | None]) -> dict[str, x509.Certificate]:
        read_ones = {
            name: attempt(partial(certificates.read_certificate, base / path))
            for name, path in paths.items()
            if path is not None
        }
        return {name: found for name, found in read_ones.items() if found is not None}

    roots = collect({name: root.certificate for name, root in settings.roots.items()})
    issuers = collect({name: issuer.certificate for name, issuer in settings.issuers.items()})
    keys = {
        name: attempt(
            partial(certificates.parse_key, text.get_secret_value(), where=f"issuerKeys.{name}")
        )
        for name, text in settings.issuer_keys.items()
    }
    if refusals:
        raise Refused(refusals)
    return Material(roots, issuers, {name: key for name, key in keys.items() if key is not None})
