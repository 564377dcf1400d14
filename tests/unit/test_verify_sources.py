"""Where `verify` takes ledger and kubeconfig from, and what it says when they are not there."""

import json
import os
from pathlib import Path

import pytest

from meshca import __main__ as command
from meshca import pulumi_stack
from tests.golden.ledgers import walk


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A file with a ledger."""
    file = tmp_path / "ledger.json"
    file.write_text(json.dumps(walk().as_json()))
    return file


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `pulumi` on PATH that prints what stands in the files `stack` and `config`."""
    script = tmp_path / "pulumi"
    script.write_text(f'#!/bin/sh\nexec cat "{tmp_path}/$1"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_a_stack_that_was_never_up_is_brought_up_first(
    said: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without any outputs, `verify` says which stack and what to do, and not what to give it."""
    (said / "stack").write_text("{}")
    assert command.main(["verify", "--stack", "west"]) == 1
    assert capsys.readouterr().err == (
        "no-ledger: stack west has no outputs: it was never brought up. Run `pulumi up` first, or "
        "name another stack with --stack.\n"
    )


@pytest.mark.parametrize("printed", [b"what", b"\xff", b"null", b"[]", b"[" * 9999])
def test_what_pulumi_prints_may_be_anything(
    said: Path, printed: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anything but a JSON object is one line."""
    (said / "stack").write_bytes(printed)
    assert command.main(["verify"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("pulumi-failed: `pulumi stack output` failed: it printed no JSON")


def test_a_pulumi_that_hangs_is_given_up(
    said: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A `pulumi` that does not answer in time is one line."""
    monkeypatch.setattr(pulumi_stack, "TIMEOUT", 0.2)
    (said / "pulumi").write_text("#!/bin/sh\nexec sleep 60\n")
    assert command.main(["verify"]) == 1
    assert "`pulumi stack output` failed: no answer within 0.2 seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    "setting",
    ['{"value": "mesh"}', '{"value": "7"}', '{"objectValue": ["mesh"]}', '"mesh"', "{}"],
)
def test_a_cluster_that_is_no_object_is_named(
    said: Path, setting: str, ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stack whose setting `cluster` is something else is told which setting to correct."""
    (said / "config").write_text(f'{{"aks-istio-ca:cluster": {setting}}}')
    assert command.main(["verify", "--ledger", str(ledger)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("kubeconfig-unusable: the setting `aks-istio-ca:cluster` of the stack")


def test_a_kubeconfig_that_was_given_is_named(
    tmp_path: Path, ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is named, and nobody is sent to the stack's secrets."""
    file = tmp_path / "kubeconfig"
    file.write_text("hush")
    arguments = ["verify", "--ledger", str(ledger), "--kubeconfig", str(file)]
    assert command.main(arguments) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"kubeconfig-unusable: the kubeconfig {file} cannot be used: it is not")
    assert "pulumi" not in line


def test_the_exit_codes_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """`verify --help` says what 1, 3 and 4 mean."""
    with pytest.raises(SystemExit):
        command.main(["verify", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "1 the cluster or the stack cannot be read" in told
    assert "3 the worst finding is a warning, 4 it is an error" in told
