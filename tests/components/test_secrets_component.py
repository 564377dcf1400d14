"""BundleSecrets: what the four secrets hold, the order of their writing, and what is secret."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.attempt import AttemptRecord
from components.authority import Authority
from components.vault import BundleSecrets, Vault
from meshca import certificates
from meshca.plan import plan
from tests.components.cloud import SECRET, SELF_SIGNED, SIGNED, VAULT, Cloud
from tests.components.recorder import STASH, Request, Run, Secret
from tests.components.stacks import (
    GENERATED,
    OFFLINE,
    Clock,
    Stack,
    changed,
    component,
    offline,
)

IN_ORDER = ["secret-root-cert", "secret-ca-key", "secret-cert-chain", "secret-ca-cert"]


def values(run: Run) -> dict[str, str]:
    """What each secret is to hold."""
    return {
        request.inputs["secretName"]: request.inputs["properties"]["value"].value
        for request in run.of(SECRET).values()
    }


def read(text: str) -> list[str]:
    """The fingerprints of the certificates in a PEM text."""
    found = certificates.parse_certificates(text, where="the test")
    return [certificates.fingerprint(one) for one in found]


def facts(run: Run, *names: str) -> list[str]:
    """The fingerprints of roots and issuers, by name."""
    return [run.outputs["certificates"][name]["sha256"] for name in names]


def waits_for(run: Run) -> dict[str, list[str]]:
    """By secret, the secrets that it waits for."""
    found = run.of(SECRET)
    return {
        name: [other for other in found if request.depends_on(found[other])]
        for name, request in found.items()
    }


def test_the_secrets_are_written_in_order(first_up: Run) -> None:
    """root-cert, ca-key, cert-chain, ca-cert: each is asked for after the one before is there."""
    assert [*first_up.of(SECRET)] == IN_ORDER
    assert [*waits_for(first_up).values()] == [[], IN_ORDER[:1], IN_ORDER[1:2], IN_ORDER[2:3]]


def test_every_secret_waits_for_the_attempt(first_up: Run) -> None:
    """No secret is written before the state knows what is attempted."""
    stash = first_up.one(STASH, "rotation-attempt")
    assert all(request.depends_on(stash) for request in first_up.of(SECRET).values())


def test_nothing_after_a_failed_secret_is_written(stack: Stack) -> None:
    """A write that fails ends the order: what comes after it is not even asked for."""
    stack.cloud.fails["secret-cert-chain"] = "Code=Throttled"
    run = stack.attempt(GENERATED)
    assert [*run.of(SECRET)] == IN_ORDER[:3]


def test_values_are_secret_and_descriptions_are_not(first_up: Run) -> None:
    """The value is secret in every one of the four; what describes it shows in a preview."""
    for request in first_up.of(SECRET).values():
        properties = request.inputs["properties"]
        assert isinstance(properties["value"], Secret)
        shown = {**request.inputs, "properties": {**properties, "value": None}}
        assert "Secret" not in repr(shown)


def test_a_secret_is_asked_for_in_full(first_up: Run) -> None:
    """Content type, ends and tags are those of the certificates: here of the root."""
    root = first_up.one(SELF_SIGNED, "root-a")
    inputs = dict(first_up.one(SECRET, "secret-root-cert").inputs)
    assert root.inputs["validityPeriodHours"] == 3650 * 24
    [sha256] = facts(first_up, "a")
    attributes = inputs["properties"].pop("attributes")
    inputs["properties"].pop("value")
    written = inputs["tags"].pop("written")
    assert attributes.pop("expires") - attributes.pop("notBefore") == 3650 * 24 * 3600
    assert attributes == {"enabled": True}
    assert written == first_up.outputs["rotation"]["written"]["root-cert"]
    assert inputs == {
        "secretName": "root-cert",
        "vaultName": "mesh-vault",
        "resourceGroupName": "mesh-group",
        "tags": {"authority": "a", "sha256": sha256},
        "properties": {"contentType": "application/x-pem-file"},
    }


def test_ends_are_those_of_what_ends_first(rotation: Mapping[str, Run]) -> None:
    """A secret with several certificates begins with the last of them and ends with the first."""
    run = rotation["distribute a1 b1"]
    found = certificates.parse_certificates(values(run)["cert-chain"], where="the test")
    attributes = run.one(SECRET, "secret-cert-chain").inputs["properties"]["attributes"]
    assert attributes["notBefore"] == max(one.not_valid_before_utc.timestamp() for one in found)
    assert attributes["expires"] == min(one.not_valid_after_utc.timestamp() for one in found)


POSTURES = {
    "steady a1": (["a"], "a1", ["a1"]),
    "distribute a1 b1": (["a", "b"], "a1", ["b1", "a1"]),
    "switch a1 b1": (["a", "b"], "b1", ["b1", "a1"]),
    "retire a1 b1": (["b"], "b1", ["b1"]),
    "steady b1": (["b"], "b1", ["b1"]),
}
"""DESIGN section 4: roots, signer, chain."""


@pytest.mark.parametrize("stance", POSTURES)
def test_the_secrets_hold_the_posture(rotation: Mapping[str, Run], stance: str) -> None:
    """In each phase the four values are those of the table of phases, and the key is the
    signer's."""
    roots, signer, chain = POSTURES[stance]
    run = rotation[stance]
    held = values(run)
    assert read(held["root-cert"]) == facts(run, *roots)
    assert read(held["ca-cert"]) == facts(run, signer)
    assert read(held["cert-chain"]) == facts(run, *chain)
    key = certificates.parse_key(held["ca-key"], where="the test")
    certificate = certificates.parse_certificate(held["ca-cert"], where="the test")
    assert certificates.same_key(certificate, key)


@pytest.mark.parametrize("stance", POSTURES)
def test_tags_name_what_a_secret_holds(rotation: Mapping[str, Run], stance: str) -> None:
    """The tags carry names and fingerprints of the certificates, in their order; those of the key
    are its certificate's."""
    roots, signer, chain = POSTURES[stance]
    run = rotation[stance]
    expected = {"root-cert": roots, "ca-key": [signer], "cert-chain": chain, "ca-cert": [signer]}
    for name, names in expected.items():
        tags = run.one(SECRET, f"secret-{name}").inputs["tags"]
        assert tags["authority"] == " ".join(names)
        assert tags["sha256"] == " ".join(facts(run, *names))


CHANGES = {
    "distribute a1 b1": ["secret-root-cert", "secret-cert-chain"],
    "switch a1 b1": ["secret-ca-key", "secret-ca-cert"],
    "retire a1 b1": ["secret-root-cert", "secret-cert-chain"],
    "steady b1": [],
}
"""DESIGN section 4: what each write changes."""


@pytest.mark.parametrize("stance", CHANGES)
def test_a_phase_changes_its_secrets_only(rotation: Mapping[str, Run], stance: str) -> None:
    """Each phase asks for other inputs of the secrets that it is about; the others' inputs are the
    same, so that the engine leaves them alone. The finish changes none."""
    stances = [*POSTURES]
    before = rotation[stances[stances.index(stance) - 1]].of(SECRET)
    after = rotation[stance].of(SECRET)
    assert [name for name in after if after[name].inputs != before[name].inputs] == CHANGES[stance]


def test_root_cert_grows_at_its_end(rotation: Mapping[str, Run]) -> None:
    """istiod before 1.30 compares root-cert as text: the old text begins the new one."""
    before, after = (values(rotation[one]) for one in ("steady a1", "distribute a1 b1"))
    assert after["root-cert"].startswith(before["root-cert"])
    assert after["root-cert"] != before["root-cert"]


def test_an_external_key_is_not_written(directory: Path) -> None:
    """For `key: external` there is no ca-key, and the order closes over the gap."""
    offline(directory, "a1")
    run = Stack().up(OFFLINE)
    assert [*run.of(SECRET)] == ["secret-root-cert", "secret-cert-chain", "secret-ca-cert"]
    assert [*waits_for(run).values()] == [[], ["secret-root-cert"], ["secret-cert-chain"]]


def test_a_given_key_is_written_as_pkcs8(directory: Path) -> None:
    """A key in SEC1 reaches the vault as PKCS#8, whichever form it was given in."""
    made = offline(directory, "a1")
    config = changed(
        OFFLINE,
        issuers={"a1": {"root": "a", "certificate": "a1.pem", "key": "secret"}},
        issuerKeys={"a1": made.key("a1")},
    )
    held = values(Stack().up(config))
    assert held["ca-key"].startswith("-----BEGIN PRIVATE KEY-----\n")
    assert held["ca-cert"] == made.issuers["a1"].pem


def options(request: Request) -> dict[str, Any]:
    """The options of a secret, without its deletion with the vault."""
    return {name: value for name, value in request.options.items() if name != "deletedWith"}


def test_the_vault_takes_its_secrets_along(first_up: Run) -> None:
    """Secrets go with their vault: to delete one by one would take the data plane."""
    vault = first_up.one(VAULT, "vault")
    assert {request.options["deletedWith"] for request in first_up.of(SECRET).values()} == {
        vault.urn
    }


def test_only_ca_key_can_be_handed_over(first_up: Run) -> None:
    """ca-key stays in the vault when the program stops writing it (`key: external`); the other
    three are protected, and nothing else is out of the ordinary."""
    assert {name: options(request) for name, request in first_up.of(SECRET).items()} == {
        "secret-root-cert": {"protect": True},
        "secret-ca-key": {"retainOnDelete": True},
        "secret-cert-chain": {"protect": True},
        "secret-ca-cert": {"protect": True},
    }


def test_secrets_belong_to_the_vault_that_was_made(first_up: Run) -> None:
    """The vault's name comes from the vault resource: no secret is written before it is there."""
    vault = first_up.one(VAULT, "vault")
    for request in first_up.of(SECRET).values():
        assert "vault" in request.made_of("vaultName")
        assert request.depends_on(vault)


def test_values_follow_from_the_certificates(first_up: Run) -> None:
    """The engine knows that a secret changes with the certificates it is made of."""
    issuer = first_up.one(SIGNED, "issuer-a1")
    assert all(request.depends_on(issuer) for request in first_up.of(SECRET).values())


def test_a_certificate_that_cannot_be_read_ends_in_one_line() -> None:
    """What pulumi-tls answers is read before anything is made of it; what cannot be read is told
    without a traceback."""

    def build(settings: Any, files: Any) -> None:
        admitted = plan(settings, files, ledger=None, now=Clock()())
        assert admitted is not None
        vault = Vault("vault", settings.key_vault, resource_group="group", tenant="tenant")
        authority = Authority("authority", settings, files, admitted.trusted)
        attempt = AttemptRecord("attempt", admitted, None)
        BundleSecrets("secrets", settings, admitted, authority, vault, attempt, None)

    with pytest.raises(pulumi.RunError) as refused:
        component(build, cloud=Cloud(shows={"issuer-a1": {"certPem": "nonsense"}}))
    assert str(refused.value).startswith("no-certificate: a1 holds no certificate")
    assert "\n" not in str(refused.value)
