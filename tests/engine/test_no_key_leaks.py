"""Private keys are nowhere in plain text but in the vault: not in state, output, events or logs.

From `-v=9` on the engine logs its own wire traffic, secrets and all, whatever the program does;
below that nothing of a key is in its logs.
"""

from __future__ import annotations

import base64
import binascii
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_ssh_private_key,
)

from lab.azure.store import FILE
from tests import material
from tests.engine import stacks
from tests.engine.workspace import UP, Workspace
from tests.material import Authority

PIECE = 8
"""So many bytes of a private key in a row are no coincidence."""

ISSUERS = {"a1": {"root": "a"}, "b1": {"root": "b", "certificate": "b1.pem", "key": "secret"}}
CONFIG = stacks.offline(roots={"a": {"generated": {}}, "b": {"certificate": "b.pem"}},
                        issuers=ISSUERS)  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """Every text that the stack left behind, by where it was left, and what to look for in it."""

    texts: Mapping[str, str]
    with_secrets: str
    """The state as `pulumi stack export --show-secrets` prints it."""
    private: frozenset[str]
    """Lines of PEM, each with a piece of a private key in it."""

    def found_in(self, text: str) -> list[str]:
        """The lines with pieces of private keys that a text holds."""
        return sorted(line for line in self.private if line in text)


@pytest.fixture(scope="module")
def evidence(
    authorities: dict[str, Authority], tmp_path_factory: pytest.TempPathFactory
) -> Evidence:
    """A root and an issuer are generated, another issuer's key comes from secure config."""
    stack = Workspace(tmp_path_factory.mktemp("leaks") / "stack")
    stack.environment["PULUMI_DEBUG_COMMANDS"] = "true"  # for --event-log
    stacks.write_certificates(authorities, stack.directory)
    stack.configure(CONFIG)
    stack.set_secret("issuerKeys.b1", material.key_text(authorities["b1"].key))
    events = stack.directory / "events.json"
    texts = {
        "preview --diff": stack.run("preview", "--diff"),
        "preview --json": stack.run("preview", "--json"),
        "up -v=8": stack.run(
            *UP, "--diff", "-v=8", "--logtostderr", "--logflow", "--event-log", str(events)
        ),
        "up --json": stack.run(*UP, "--json"),
        "stack output": stack.run("stack", "output"),
        "stack output --show-secrets": stack.run("stack", "output", "--json", "--show-secrets"),
        "stack export": stack.run("stack", "export"),
        "stack history": stack.run("stack", "history", "--json"),
        "config": stack.run("config", "--json"),
    }
    override = {"move": "steady a1 -> steady b1", "reason": "shows a refused move in a preview"}
    stack.want("steady b1", override=override)
    texts["preview of an override"] = stack.run("preview", "--diff")
    stack.want("switch a1 b1", override=None)
    refused = stack.preview()
    assert refused.code != 0
    texts["refused preview"] = refused.output
    texts |= dict(_files(stack.directory))
    shown = stack.run("stack", "export", "--show-secrets")
    return Evidence(texts, shown, frozenset(_private_lines(json.loads(shown))))


def _files(directory: Path) -> Iterator[tuple[str, str]]:
    """Every file of the stack and of the cloud; of the cloud all but the vault's values."""
    for path in directory.rglob("*"):
        if path.name == FILE:
            with closing(sqlite3.connect(path)) as database:
                rows = [row for row in database.iterdump() if "secret_values" not in row]
            yield f"{FILE} but for secret_values", "\n".join(rows)
        elif path.is_file() and not path.is_symlink():
            yield str(path.relative_to(directory)), path.read_bytes().decode("latin-1")


def _private_lines(value: Any) -> Iterator[str]:
    """Those lines of every private key in a JSON value that hold a piece of its secret number."""
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _private_lines(one)
    elif isinstance(value, list):
        for one in value:
            yield from _private_lines(one)
    elif isinstance(value, str) and value.startswith('"'):
        yield from _private_lines(json.loads(value))  # a secret is JSON inside JSON
    elif isinstance(value, str) and value.startswith("{"):
        yield from _private_lines(json.loads(value))
    elif isinstance(value, str) and "PRIVATE KEY-----" in value:
        secret = _secret_number(value)
        pieces = [secret[start : start + PIECE] for start in range(len(secret) - PIECE + 1)]
        for line in value.splitlines():
            if any(piece in _decoded(line) for piece in pieces):
                yield line


def _secret_number(pem: str) -> bytes:
    load = load_ssh_private_key if "OPENSSH" in pem else load_pem_private_key
    key = load(pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")


def _decoded(line: str) -> bytes:
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        return b""


def test_the_search_finds_what_it_looks_for(evidence: Evidence) -> None:
    """The state with its secrets shown holds the keys of root a, of a1 and of b1, in each form."""
    assert evidence.found_in(evidence.with_secrets) == sorted(evidence.private)
    # PKCS#8, SEC1 and OpenSSH of two generated keys, and one that was given.
    assert len(evidence.private) >= 7


def test_no_private_key_is_in_plain_text_anywhere(evidence: Evidence) -> None:
    """Previews, JSON, diffs, logs, events, outputs, state, history, backups, the cloud's store."""
    assert {"events.json", "stack export", "up -v=8", "refused preview"} <= evidence.texts.keys()
    assert any(name.startswith("backend/.pulumi/history/") for name in evidence.texts)
    leaks = {name: evidence.found_in(text) for name, text in evidence.texts.items()}
    assert {name: found for name, found in leaks.items() if found} == {}


def test_no_text_says_private_key(evidence: Evidence) -> None:
    """Not even the frame of a key is shown, which would be there in whatever encoding it was."""
    assert [name for name, text in evidence.texts.items() if "PRIVATE KEY--" in text] == []
