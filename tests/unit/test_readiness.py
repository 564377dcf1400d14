"""The rules about one posture that no other test states."""

from meshca import settings
from meshca.material import Material
from meshca.plan import plan
from meshca.refusals import Refused
from tests.material import NOW, authority, key

ROOT = authority("O=Istio,CN=Root")


def refused(algorithm: str | None, made: str) -> list[str]:
    """What a steady start says with an issuer configured and signed for these keys."""
    issuer = authority("O=Istio,CN=Issuer", under=ROOT, private=key(made, "issuer"))
    wanted = settings.load(
        {
            "aks-istio-ca:rotationPhase": "steady",
            "aks-istio-ca:activeIssuer": "a1",
            "aks-istio-ca:roots": {"a": {"certificate": "a.pem"}},
            "aks-istio-ca:issuers": {
                "a1": {
                    "root": "a",
                    "certificate": "a1.pem",
                    **({"algorithm": algorithm} if algorithm else {}),
                }
            },
            "aks-istio-ca:cluster": {
                "name": "mesh",
                "resourceGroup": "group",
                "revisions": ["asm-1-30"],
            },
            "aks-istio-ca:keyVault": {"name": "vault", "accessModel": "rbac"},
        }
    )
    files = Material({"a": ROOT.certificate}, {"a1": issuer.certificate}, {})
    try:
        plan(wanted, files, ledger=None, now=NOW)
    except Refused as found:
        return [str(refusal) for refusal in found.refusals]
    return []


def test_a_generated_key_keeps_the_algorithm_it_was_signed_for() -> None:
    """Another algorithm would replace a key whose certificate is in use, and lose it."""
    [line] = refused("RSA-3072", "P-256")
    assert line.startswith(
        "another-algorithm: issuer a1 is configured with a key of RSA-3072, but its certificate "
        "was signed for one of secp256r1"
    )


def test_a_generated_key_of_the_configured_algorithm_is_taken() -> None:
    """By default, and when it is named."""
    assert refused(None, "P-256") == refused("ECDSA-P384", "P-384") == []
