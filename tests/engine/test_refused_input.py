"""Mistakes in a stack file or in its material: each its own line, and nothing registered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from meshca.refusals import iso
from tests import material
from tests.engine import stacks
from tests.engine.workspace import Workspace
from tests.material import Authority

NOW = datetime.now(UTC).replace(microsecond=0)
CONFIG = stacks.offline(
    roots={"a": {"certificate": "a.pem"}},
    issuers={"a1": {"root": "a", "certificate": "a1.pem", "key": "secret"}},
)


@pytest.fixture(scope="module")
def empty(authorities: dict[str, Authority], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A stack with sound certificates and a key beside it, that no `up` has been run on."""
    stack = Workspace(tmp_path_factory.mktemp("refused") / "stack")
    stacks.write_certificates(authorities, stack.directory)
    stack.configure(CONFIG)
    stack.set_secret("issuerKeys.a1", material.key_text(authorities["a1"].key))
    return stack


@pytest.fixture
def stack(empty: Workspace) -> Iterator[Workspace]:
    """That stack, and after the test the proof that the test left it empty."""
    file = empty.stack_file.read_text()
    yield empty
    empty.stack_file.write_text(file)
    assert empty.resources() == {}
    assert empty.cloud.requests(outcome=None) == []


def refused(stack: Workspace, **changes: Any) -> list[str]:
    """The lines that `pulumi up` refuses a changed configuration with."""
    stack.change(**stacks.changed(CONFIG, **changes))
    ended = stack.up()
    assert ended.code != 0
    return ended.errors


def write(stack: Workspace, authority: Authority) -> str:
    """A certificate in a file beside the stack; returns how to name both in a refusal."""
    (stack.directory / "wrong.pem").write_text(authority.pem)
    return stacks.reference("a1", authority)


def with_certificate(path: str) -> dict[str, Any]:
    """The issuers with another certificate for a1."""
    return {"a1": {"root": "a", "certificate": path, "key": "secret"}}


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "phase": (
        {"rotationPhase": "swich"},
        'aks-istio-ca:rotationPhase: "swich" is not allowed; allowed: steady, distribute, switch '
        'or retire (did you mean "switch"?)',
    ),
    "vault": (
        {"keyVault": {"name": "mesh_vault"}},
        'aks-istio-ca:keyVault.name: "mesh_vault" is not allowed; allowed: 3 to 24 letters, digits '
        "and single hyphens, a letter first, no hyphen at the end",
    ),
    "revisions": (
        {"cluster": {"revisions": ["asm-1-28", "asm-1-29", "asm-1-30"]}},
        'aks-istio-ca:cluster.revisions: ["asm-1-28", "asm-1-29", "asm-1-30"] is not allowed; '
        "allowed: one revision, or two consecutive ones such as "
        '["asm-1-28", "asm-1-29"]',
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_wrong_setting_is_one_line(stack: Workspace, case: str) -> None:
    """It names the key, the value and what is allowed."""
    changes, line = SETTINGS[case]
    assert refused(stack, **changes) == [line]


def test_wrong_settings_are_told_all_at_once(stack: Workspace) -> None:
    """Three mistakes, three lines, whatever part of the file they are in."""
    together = {key: value for changes, _ in SETTINGS.values() for key, value in changes.items()}
    assert sorted(refused(stack, **together)) == sorted(line for _, line in SETTINGS.values())


def test_a_preview_refuses_with_the_same_line(stack: Workspace) -> None:
    """`pulumi preview`, in a pull request, exits non-zero and says what `pulumi up` says."""
    changes, line = SETTINGS["phase"]
    stack.change(**changes)
    shown = stack.preview()
    assert shown.code != 0
    assert shown.errors == [line]


def test_a_missing_file_is_named(stack: Workspace) -> None:
    """The path is whole, so that it can be found wherever the program ran."""
    assert refused(stack, issuers=with_certificate("certificates/a1.pem")) == [
        f"no-such-file: {stack.directory}/certificates/a1.pem does not exist. "
        "Correct the path, or make the file."
    ]


def test_a_directory_is_no_file(stack: Workspace) -> None:
    """A directory in the place of a certificate is refused as such."""
    (stack.directory / "certificates").mkdir(exist_ok=True)
    assert refused(stack, roots={"a": {"certificate": "certificates"}}) == [
        f"not-a-file: {stack.directory}/certificates is a directory. Name the PEM file in it."
    ]


def test_an_encrypted_key_is_refused(stack: Workspace, authorities: dict[str, Authority]) -> None:
    """istiod cannot ask for a passphrase; the line tells how to decrypt it in private."""
    key = authorities["a1"].key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    stack.set_secret("issuerKeys.a1", key.decode())
    ended = stack.up()
    assert ended.code != 0
    assert ended.errors == [
        "encrypted-key: issuerKeys.a1 holds an encrypted private key; istiod cannot ask for a "
        "passphrase. Decrypt it where nobody else can read: `(umask 077; openssl pkey -in KEY "
        "-out PLAIN-KEY)`."
    ]


def test_a_key_of_another_certificate_is_refused(
    stack: Workspace, authorities: dict[str, Authority]
) -> None:
    """The private key of a2 does not sign for a1."""
    stack.set_secret("issuerKeys.a1", material.key_text(authorities["a2"].key))
    ended = stack.up()
    assert ended.code != 0
    assert ended.errors == [
        "key-mismatch: the private key does not belong to the certificate a1 "
        f"[{stacks.reference('a1', authorities['a1'])}]. Take the key that the certificate was "
        "requested with. The two belong together when `openssl pkey -in KEY -pubout` and "
        "`openssl x509 -in CERTIFICATE -noout -pubkey` print the same."
    ]


def test_an_expired_certificate_is_refused(
    stack: Workspace, authorities: dict[str, Authority]
) -> None:
    """The line says when it ended."""
    expired = material.authority(
        "O=Istio,CN=Expired",
        under=authorities["a"],
        private=authorities["a1"].key,
        start=authorities["a"].certificate.not_valid_before_utc,
        end=NOW - timedelta(minutes=1),
    )
    named = write(stack, expired)
    assert refused(stack, issuers=with_certificate("wrong.pem")) == [
        f"expired: a1 ended at {iso(NOW - timedelta(minutes=1))} [{named}]. "
        "Replace a1 by a certificate that is still valid."
    ]


def test_an_issuer_of_another_root_is_refused(
    stack: Workspace, authorities: dict[str, Authority]
) -> None:
    """An issuer is paired with the root that signed it, by signature and not by name."""
    assert refused(stack, roots={"a": {"certificate": "b.pem"}}) == [
        "not-signed-by: a1 is issued by O=Istio,CN=Root a, not by O=Istio,CN=Root b "
        f"[{stacks.reference('a1', authorities['a1'])}; "
        f"{stacks.reference('a', authorities['b'])}]. "
        "Pair a1 with the root that signed it, or have a sign it."
    ]


def test_a_certificate_of_a_workload_is_no_issuer(
    stack: Workspace, authorities: dict[str, Authority]
) -> None:
    """A certificate that may not sign others is refused as an issuer."""
    leaf = material.authority(
        "O=Istio,CN=Workload",
        under=authorities["a"],
        private=authorities["a1"].key,
        start=NOW - timedelta(minutes=1),
        end=NOW + timedelta(days=300),
        basic=x509.BasicConstraints(ca=False, path_length=None),
    )
    named = write(stack, leaf)
    assert refused(stack, issuers=with_certificate("wrong.pem")) == [
        f"not-a-ca: a1 (O=Istio,CN=Workload) is not a CA certificate [{named}]. "
        "Issue a1 again with basicConstraints CA:TRUE."
    ]


def test_a_secret_too_large_for_key_vault_is_refused(
    stack: Workspace, authorities: dict[str, Authority]
) -> None:
    """A chain of more than 25,000 bytes never reaches Azure: nothing is built for it."""
    uris = [x509.UniformResourceIdentifier(f"https://ca.example/{n:0200}") for n in range(90)]
    large = material.authority(
        "O=Istio,CN=Large",
        under=authorities["a"],
        private=authorities["a1"].key,
        start=NOW - timedelta(minutes=1),
        end=NOW + timedelta(days=300),
        extra=[(x509.SubjectAlternativeName(uris), False)],
    )
    write(stack, large)
    size = len(large.pem)
    assert 25_500 < size < 28_000
    assert refused(stack, issuers=with_certificate("wrong.pem")) == [
        f"too-large: {secret} has {size} bytes; a Key Vault secret holds 25000. "
        "Leave out what does not belong there: text, old roots, whole bundles."
        for secret in ("ca-cert", "cert-chain")
    ]


def test_unusable_files_are_told_all_at_once(stack: Workspace) -> None:
    """Two certificates that cannot be read are two lines."""
    found = refused(
        stack,
        roots={"a": {"certificate": "a.key"}},
        issuers=with_certificate("certificates/a1.pem"),
    )
    assert [line.partition(":")[0] for line in found] == ["no-such-file", "no-such-file"]


def test_nothing_said_holds_a_private_key(
    stack: Workspace, authorities: dict[str, Authority]
) -> None:
    """A private key in the place of a certificate is refused without showing any of it."""
    key = material.key_text(authorities["a1"].key)
    (stack.directory / "wrong.pem").write_text(key)
    stack.change(issuers=with_certificate("wrong.pem"))
    ended = stack.up()
    assert ended.errors[0].startswith("private-key-in-certificate: ")
    assert not any(line in ended.output for line in key.splitlines()[1:-1])
