"""Roots and issuers: generated with pulumi-tls, or read from files and secure config."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_tls as tls

from components.refusing import refusing
from meshca import certificates
from meshca.material import Material
from meshca.settings import Algorithm, GeneratedRoot, Issuer, KeySource, Settings

CA_USES = ["cert_signing", "crl_signing"]
ISTIOD_SAN = "istiod.istio-system.svc"
"""The SAN that Istio's own tools/certs gives every intermediate."""


class Authority(pulumi.ComponentResource):
    """Every certificate, key and signing request of the configuration, by the name it has there.

    `roots` and `issuers` are PEM certificates; `keys` are PKCS#8, secret, and hold no entry for an
    external key; `requests` are the CSRs of pending issuers.
    """

    roots: dict[str, pulumi.Output[str]]
    issuers: dict[str, pulumi.Output[str]]
    keys: dict[str, pulumi.Output[str]]
    requests: dict[str, pulumi.Output[str]]

    def __init__(
        self,
        name: str,
        settings: Settings,
        material: Material,
        trusted: frozenset[str] | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`trusted` names the roots to protect: those that the posture trusts; None means all."""
        super().__init__("aks-istio-ca:index:Authority", name, None, opts)
        self.roots, self.issuers, self.keys, self.requests = {}, {}, {}, {}
        self._root_keys: dict[str, pulumi.Output[str]] = {}
        for root_name, root in settings.roots.items():
            if root.generated is not None:
                self._generate_root(
                    root_name, root.generated, protect=trusted is None or root_name in trusted
                )
            else:
                self.roots[root_name] = pulumi.Output.from_input(
                    certificates.encode(material.roots[root_name])
                )
        for issuer_name, issuer in settings.issuers.items():
            self._add_issuer(issuer_name, issuer, material)
        self.register_outputs({})

    def facts(self) -> pulumi.Output[dict[str, Any]]:
        """Fingerprint and end of every certificate, by name: what there is to watch."""

        @refusing()
        def read(pems: dict[str, str]) -> dict[str, Any]:
            return {
                name: certificates.reference(
                    name, certificates.parse_certificate(pem, where=name)
                ).as_json()
                for name, pem in pems.items()
            }

        return pulumi.Output.all(**self.roots, **self.issuers).apply(read)

    def _generate_root(self, name: str, recipe: GeneratedRoot, *, protect: bool) -> None:
        options = pulumi.ResourceOptions(parent=self, protect=protect)
        key = _private_key(f"root-{name}-key", recipe.algorithm, options)
        self._root_keys[name] = key.private_key_pem_pkcs8
        root = tls.SelfSignedCert(
            f"root-{name}",
            private_key_pem=key.private_key_pem_pkcs8,
            subject={
                "common_name": recipe.common_name_of(name),
                "organization": recipe.organization,
            },
            is_ca_certificate=True,
            # pulumi-tls drops a path length of 0. One level below the root forbids the same
            # chains: issuer and leaf, and no CA under the issuer.
            max_path_length=1,
            set_subject_key_id=True,
            set_authority_key_id=True,
            allowed_uses=CA_USES,
            validity_period_hours=_hours(recipe.validity.total_seconds()),
            opts=options,
        )
        self.roots[name] = root.cert_pem

    def _add_issuer(self, name: str, issuer: Issuer, material: Material) -> None:
        options = pulumi.ResourceOptions(parent=self)
        if issuer.key is KeySource.GENERATED:
            self.keys[name] = _private_key(
                f"issuer-{name}-key", issuer.key_algorithm, options
            ).private_key_pem_pkcs8
        elif issuer.key is KeySource.SECRET:
            self.keys[name] = pulumi.Output.secret(certificates.encode_key(material.keys[name]))
        if name in material.issuers:
            self.issuers[name] = pulumi.Output.from_input(
                certificates.encode(material.issuers[name])
            )
            return
        request = tls.CertRequest(
            f"issuer-{name}-request",
            private_key_pem=self.keys[name],
            subject={
                "common_name": issuer.common_name_of(name),
                "organization": issuer.organization,
            },
            dns_names=[ISTIOD_SAN],
            opts=options,
        )
        if issuer.root not in self._root_keys:
            self.requests[name] = request.cert_request_pem
            return
        signed = tls.LocallySignedCert(
            f"issuer-{name}",
            cert_request_pem=request.cert_request_pem,
            ca_cert_pem=self.roots[issuer.root],
            ca_private_key_pem=self._root_keys[issuer.root],
            is_ca_certificate=True,
            set_subject_key_id=True,
            allowed_uses=CA_USES,
            validity_period_hours=_hours(issuer.validity.total_seconds()),
            opts=options,
        )
        self.issuers[name] = signed.cert_pem


_KEYS: Mapping[Algorithm, tls.PrivateKeyArgs] = {
    Algorithm.RSA_2048: tls.PrivateKeyArgs(algorithm="RSA", rsa_bits=2048),
    Algorithm.RSA_3072: tls.PrivateKeyArgs(algorithm="RSA", rsa_bits=3072),
    Algorithm.RSA_4096: tls.PrivateKeyArgs(algorithm="RSA", rsa_bits=4096),
    Algorithm.ECDSA_P256: tls.PrivateKeyArgs(algorithm="ECDSA", ecdsa_curve="P256"),
    Algorithm.ECDSA_P384: tls.PrivateKeyArgs(algorithm="ECDSA", ecdsa_curve="P384"),
}


def _private_key(
    name: str, algorithm: Algorithm, options: pulumi.ResourceOptions
) -> tls.PrivateKey:
    return tls.PrivateKey(name, _KEYS[algorithm], options)


def _hours(seconds: float) -> int:
    return int(seconds // 3600)
