"""Every way to bring a CA along: generated, from openssl, by signing request, key elsewhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from lab import layout
from meshca import certificates
from tests.engine import stacks
from tests.engine.conftest import Converged
from tests.engine.workspace import Workspace

FILES = ("root-cert", "ca-cert", "ca-key", "cert-chain")


def meshca(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs `python -m meshca`, whatever comes of it."""
    return subprocess.run(
        [layout.PYTHON, "-m", "meshca", *arguments],
        cwd=layout.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def mounted(stack: Workspace, directory: Path) -> Path:
    """The four secrets as the files that istiod finds mounted."""
    for name in FILES:
        (directory / f"{name}.pem").write_text(stack.secret(name)["value"])
    return directory


@pytest.mark.parametrize("form", ["dev", "istio", "ecdsa"])
def test_the_vault_holds_a_sound_bundle(
    form: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Generated, RSA 4096 of openssl, ECDSA of openssl: `check` finds nothing wrong with any."""
    converged: Converged = request.getfixturevalue(form)
    checked = meshca("check", mounted(converged.stack, tmp_path))
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("form", ["istio", "ecdsa"])
def test_what_openssl_made_reaches_the_vault_unchanged(
    form: str, request: pytest.FixtureRequest
) -> None:
    """Certificates and key are the very ones; the chain holds the intermediate and no root."""
    converged: Converged = request.getfixturevalue(form)
    stack, files = converged.stack, converged.stack.directory
    for secret, file in (("root-cert", "root-cert"), ("ca-cert", "ca-cert"),
                         ("cert-chain", "ca-cert")):  # fmt: skip
        held = certificates.parse_certificate(stack.secret(secret)["value"], where=secret)
        assert held == certificates.read_certificate(files / f"{file}.pem")
    key = certificates.read_key(files / "ca-key.pem")
    assert stack.secret("ca-key")["value"] == certificates.encode_key(key)


def test_an_issuer_is_signed_offline_by_request(tmp_path: Path) -> None:
    """Bootstrap without an active issuer, sign the request in `csrs`, name it, converge."""
    offline_machine, stack = tmp_path / "offline", Workspace(tmp_path / "stack")
    made = meshca("root", "new", "--common-name", "Mesh Root", "--out", offline_machine)
    assert made.returncode == 0, made.stderr
    (stack.directory / "root.pem").write_text((offline_machine / "root-cert.pem").read_text())
    pending = stacks.offline(
        roots={"a": {"certificate": "root.pem"}}, issuers={"a1": {"root": "a"}}, activeIssuer=None
    )

    stack.configure(pending)
    bootstrap = stack.done()
    outputs = stack.outputs()
    assert outputs["mesh"] == "pending: no issuer is active yet"
    assert bootstrap.said[0].endswith("sign the requests in the output `csrs`.")
    assert stack.secrets() == set()

    (offline_machine / "a1.csr").write_text(outputs["csrs"]["a1"])
    signed = meshca(
        "sign", offline_machine / "a1.csr", "--root", offline_machine / "root-cert.pem",
        "--key", offline_machine / "root-key.pem", "--out", stack.directory / "a1.pem",
    )  # fmt: skip
    assert signed.returncode == 0, signed.stderr
    stack.converge(
        stacks.changed(
            pending, issuers={"a1": {"root": "a", "certificate": "a1.pem"}}, activeIssuer="a1"
        )
    )
    held = x509.load_pem_x509_certificate(stack.secret("ca-cert")["value"].encode())
    assert held == certificates.read_certificate(stack.directory / "a1.pem")
    assert meshca("check", mounted(stack, offline_machine)).returncode == 0


def test_an_issuer_may_wait_for_its_signature_beside_an_active_one(rotating: Workspace) -> None:
    """A pending issuer adds its request to `csrs`; the mesh and its secrets stay untouched."""
    before = rotating.ledger()
    rotating.change(issuers={**stacks.offline()["issuers"], "b2": {"root": "b"}})
    with rotating.writes() as writes:
        rotating.done()
    outputs = rotating.outputs()
    assert x509.load_pem_x509_csr(outputs["csrs"]["b2"].encode()).is_signature_valid
    assert writes == []
    assert outputs["rotation"] == before

    rotating.want("distribute a1 b2")
    refused = rotating.preview()
    assert refused.code != 0
    assert refused.errors == [
        "not-ready: issuer b2 has no certificate yet [b2 (not generated yet)]. Leave b2 out of "
        "activeIssuer and nextIssuer, run `pulumi up`, sign the request in the output `csrs` on "
        "the machine that holds root b (`python -m meshca sign`), and set "
        "`issuers.b2.certificate` to the file."
    ]


def test_an_external_key_is_never_written(external: Converged) -> None:
    """Three secrets come from here; the mesh is told to read `ca-key`, which somebody else has."""
    assert external.stack.secrets() == {"root-cert", "ca-cert", "cert-chain"}
    assert not any("ca-key" in write for write in external.writes)
    assert "azure-native:keyvault:Secret::secret-ca-key" not in external.stack.resources()
    cluster = external.stack.only("Microsoft.ContainerService/managedClusters")
    plugin = cluster["serviceMeshProfile"]["istio"]["certificateAuthority"]["plugin"]
    assert plugin["keyObjectName"] == "ca-key"
