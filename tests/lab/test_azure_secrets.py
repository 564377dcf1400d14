"""Vault secrets: what ARM keeps, what it never says, and the data plane's part."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import grpc
import pytest

from lab.azure import data_plane, ids, seed
from lab.azure.cloud import Cloud
from lab.provider.values import UNKNOWN
from tests.lab import azure_inputs as inputs
from tests.lab.driver import Driver, refused

VALUE = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"


def _version(outputs: dict[str, object]) -> object:
    properties = outputs["properties"]
    assert isinstance(properties, dict)
    return properties["secretUriWithVersion"]


def test_a_secret_is_written_and_read(vault: Driver, state: Path) -> None:
    """Content type, attributes and tags come back; the data plane hands out the value."""
    news = inputs.secret(
        value=VALUE,
        contentType="application/x-pem-file",
        attributes={"enabled": True, "notBefore": 1, "expires": 2},
    )
    written = vault.create(inputs.SECRET, {**news, "tags": {"issuer": "a1"}})
    properties = written.outputs["properties"]
    assert written.id == ids.secret("rg", "kv-1", "ca-key")
    assert properties["contentType"] == "application/x-pem-file"
    assert {"enabled": True, "notBefore": 1, "expires": 2}.items() <= properties[
        "attributes"
    ].items()
    assert written.outputs["tags"] == {"issuer": "a1"}
    assert properties["secretUri"] == "https://kv-1.vault.azure.net/secrets/ca-key"
    read = data_plane.read_secret(state, vault="kv-1", name="ca-key", principal=inputs.CALLER)
    assert read == VALUE


def test_no_answer_ever_holds_the_value(vault: Driver, state: Path) -> None:
    """Preview, create, read, import, update and getSecret leave the value out."""
    vault.create(inputs.SECRET, inputs.secret(name="other", value=VALUE))
    written = vault.create(inputs.SECRET, inputs.secret(value=VALUE))
    live = vault.read(written)
    imported = vault.import_(inputs.SECRET, written.id)
    assert live is not None
    assert imported is not None
    answers = [
        vault.preview_create(inputs.SECRET, inputs.secret(name="third", value=VALUE)),
        written.outputs,
        live.outputs,
        imported.outputs,
        imported.inputs,
        vault.update(written, inputs.secret(value=VALUE + "x"), preview=True).outputs,
        vault.update(written, inputs.secret(value=VALUE + "x")).outputs,
        vault.invoke(
            "azure-native:keyvault:getSecret",
            resourceGroupName="rg",
            vaultName="kv-1",
            secretName="ca-key",
        ),
    ]
    assert "PRIVATE KEY" not in json.dumps(answers, default=repr)


def test_the_store_is_private_and_holds_a_value_once(vault: Driver, state: Path) -> None:
    """Mode 0600, and the value is in no table but its own."""
    vault.create(inputs.SECRET, inputs.secret(value=VALUE))
    file = state / "cloud.sqlite"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with Cloud(state).glance() as transaction:
        dump = "\n".join(transaction.dump())
    assert [line.split('"')[1] for line in dump.split(";\n") if "PRIVATE" in line] == [
        "secret_values"
    ]


def test_an_unchanged_value_makes_no_new_version(vault: Driver) -> None:
    """ARM makes a version only for a value that is new (bicep issue 6448)."""
    first = vault.create(inputs.SECRET, inputs.secret())
    same = vault.update(first, {**inputs.secret(), "tags": {"posture": "2"}})
    new = vault.update(first, inputs.secret(value="new"))
    assert _version(same.outputs) == _version(first.outputs) != _version(new.outputs)
    assert same.outputs["tags"] == {"posture": "2"}


@pytest.mark.parametrize(
    ("news", "code", "text"),
    [
        (inputs.secret(value="x" * 25_001), "BadParameter", "is 25001 bytes long; at most 25000"),
        (inputs.secret(contentType="x" * 256), "BadParameter", "longer than 255 characters"),
        (
            {**inputs.secret(), "tags": {str(n): "" for n in range(16)}},
            "InvalidTagsCount",
            "16 tags given; the maximum is 15",
        ),
        (inputs.secret() | {"vaultName": "nowhere"}, "ResourceNotFound", "was not found"),
        (
            {**inputs.secret(), "properties": {"contentType": "x"}},
            "BadRequest",
            "A secret needs the property 'value'",
        ),
    ],
)
def test_limits_are_refused_at_the_write(
    news: dict[str, object], code: str, text: str, vault: Driver
) -> None:
    """25 kB, 255 characters, 15 tags, an existing vault, a value."""
    with refused() as refusals:
        vault.create(inputs.SECRET, news)
    assert f'Code="{code}"' in refusals[0].message
    assert text in refusals[0].message


def test_what_exists_is_not_created_again(vault: Driver) -> None:
    """azure-native looks first; in its words."""
    vault.create(inputs.SECRET, inputs.secret())
    with refused() as refusals:
        vault.create(inputs.SECRET, inputs.secret())
    existing = ids.secret("rg", "kv-1", "ca-key")
    assert refusals[0].message == f"cannot create already existing resource '{existing}'"
    assert refusals[0].code is grpc.StatusCode.ALREADY_EXISTS


def test_deleting_needs_permission_for_the_caller(azure: Driver, state: Path) -> None:
    """azure-native deletes on the data plane, where being the vault's creator is not enough."""
    azure.create(inputs.GROUP, inputs.group())
    azure.create(inputs.VAULT, inputs.vault())
    secret = azure.create(inputs.SECRET, inputs.secret())
    with refused() as refusals:
        azure.delete(secret)
    assert refusals[0].code is grpc.StatusCode.PERMISSION_DENIED
    assert "does not have secrets delete permission on key vault 'kv-1'" in refusals[0].message
    seed.access_policy(state, "rg", "kv-1", secrets=["delete"])
    azure.delete(secret)
    assert azure.read(secret) is None


def test_deleting_what_is_gone_is_fine(vault: Driver) -> None:
    """404 at a delete is ignored."""
    secret = vault.create(inputs.SECRET, inputs.secret())
    vault.delete(secret)
    vault.delete(secret)


def test_a_deleted_secret_is_recovered_by_a_create(vault: Driver, cloud: Cloud) -> None:
    """The name of a deleted secret is taken; azure-native recovers it and writes (PR 4759)."""
    first = vault.create(inputs.SECRET, inputs.secret())
    vault.delete(first)
    again = vault.create(inputs.SECRET, inputs.secret())
    assert _version(again.outputs) == _version(first.outputs)
    assert [row.operation for row in cloud.requests()][-3:] == [
        "secrets/read",
        "secrets/recover",
        "secrets/write",
    ]


def test_recovering_needs_permission_for_the_caller(vault: Driver, state: Path) -> None:
    """Without secrets/recover the name of a deleted secret stays taken."""
    vault.delete(vault.create(inputs.SECRET, inputs.secret()))
    seed.access_policy(state, "rg", "kv-1", secrets=["delete"])
    with refused() as refusals:
        vault.create(inputs.SECRET, inputs.secret())
    assert "does not have secrets recover permission" in refusals[0].message


def test_a_purged_secret_frees_its_name(vault: Driver, state: Path) -> None:
    """After a purge nothing is left to recover, and the value is new."""
    first = vault.create(inputs.SECRET, inputs.secret())
    vault.delete(first)
    seed.purge_secret(state, first.id)
    again = vault.create(inputs.SECRET, inputs.secret())
    assert _version(again.outputs) != _version(first.outputs)


def test_refresh_cannot_see_another_value_but_sees_other_tags(vault: Driver, state: Path) -> None:
    """The value is never read back, so drift of it is invisible; drift of tags is not."""
    secret = vault.create(inputs.SECRET, {**inputs.secret(), "tags": {"a": "1"}})
    seed.secret(state, "rg", "kv-1", "ca-key", "changed outside")
    live = vault.read(secret)
    assert live is not None
    assert live.inputs["properties"] == secret.inputs["properties"]
    assert "tags" not in live.inputs


def test_a_preview_knows_inputs_only(vault: Driver) -> None:
    """Every output that is no input is unknown."""
    outputs = vault.preview_create(inputs.SECRET, inputs.secret(contentType="x"))
    assert outputs["properties"]["contentType"] == "x"
    assert outputs["properties"]["secretUri"] is UNKNOWN
    assert outputs["name"] is UNKNOWN
