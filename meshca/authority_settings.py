"""The settings of roots and issuers."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from .fields import (
    MOMENT_ALLOWED,
    PEM_PATH_ALLOWED,
    SUBJECT_ALLOWED,
    VALIDITY_ALLOWED,
    FilePath,
    Model,
    Name,
    Setting,
    SubjectText,
    Validity,
    keys_of,
    one_of,
)

ROOT_VALIDITY = timedelta(days=3650)
ISSUER_VALIDITY = timedelta(days=730)


class Algorithm(StrEnum):
    """Key algorithms of a CA that istiod loads and pulumi-tls generates."""

    RSA_2048 = "RSA-2048"
    RSA_3072 = "RSA-3072"
    RSA_4096 = "RSA-4096"
    ECDSA_P256 = "ECDSA-P256"
    ECDSA_P384 = "ECDSA-P384"


class KeySource(StrEnum):
    """Where an issuer's private key comes from."""

    GENERATED = "generated"
    SECRET = "secret"
    EXTERNAL = "external"


_Algorithm = Annotated[Algorithm, Field(strict=False)]
_ALGORITHMS = one_of(Algorithm)


class GeneratedRoot(Model):
    """A root whose key the program makes and keeps in the encrypted state: for development."""

    algorithm: Annotated[
        _Algorithm, Setting("Key algorithm of the root", _ALGORITHMS, tuple(Algorithm))
    ] = Algorithm.ECDSA_P384
    common_name: Annotated[
        SubjectText | None,
        Setting("Common name of the root; by default derived from its name", SUBJECT_ALLOWED),
    ] = None
    organization: Annotated[SubjectText, Setting("Organization of the root", SUBJECT_ALLOWED)] = (
        "Istio"
    )
    validity: Annotated[Validity, Setting("Lifetime of the root", VALIDITY_ALLOWED)] = ROOT_VALIDITY

    def common_name_of(self, name: str) -> str:
        """The common name of the root that has this name in the configuration."""
        return self.common_name or f"{name} root CA"


class Root(Model):
    """A trust anchor: generated, or a certificate whose key stays on an offline machine."""

    generated: Annotated[
        GeneratedRoot | None,
        Setting("Make this root here; its key is in the encrypted state", keys_of(GeneratedRoot)),
    ] = None
    certificate: Annotated[
        FilePath | None, Setting("Certificate of an offline root", PEM_PATH_ALLOWED)
    ] = None


class Issuer(Model):
    """An intermediate CA under a root."""

    root: Annotated[Name, Setting("The root that signs this issuer", "the name of a root")]
    certificate: Annotated[
        FilePath | None,
        Setting(
            "Certificate that the offline root has signed; the issuer is pending without it",
            PEM_PATH_ALLOWED,
        ),
    ] = None
    key: Annotated[
        Annotated[KeySource, Field(strict=False)],
        Setting(
            "Private key: made here, taken from issuerKeys, or written to ca-key by someone else",
            one_of(KeySource),
            tuple(KeySource),
        ),
    ] = KeySource.GENERATED
    algorithm: Annotated[
        _Algorithm | None,
        Setting(
            "Algorithm of a generated key; by default ECDSA-P256", _ALGORITHMS, tuple(Algorithm)
        ),
    ] = None
    validity: Annotated[
        Validity, Setting("Lifetime of a certificate that the program signs", VALIDITY_ALLOWED)
    ] = ISSUER_VALIDITY
    organization: Annotated[SubjectText, Setting("Organization of the issuer", SUBJECT_ALLOWED)] = (
        "Istio"
    )
    common_name: Annotated[
        SubjectText | None,
        Setting("Common name of the issuer; by default derived from its name", SUBJECT_ALLOWED),
    ] = None

    key_written: Annotated[
        AwareDatetime | None,
        Field(strict=False),
        Setting(
            "With an external key: when it was written to ca-key, for a rotation to this issuer",
            MOMENT_ALLOWED,
        ),
    ] = None

    @property
    def key_algorithm(self) -> Algorithm:
        """The algorithm of a generated key."""
        return self.algorithm or Algorithm.ECDSA_P256

    def common_name_of(self, name: str) -> str:
        """The common name of the issuer that has this name in the configuration."""
        return self.common_name or f"{name} mesh CA"
