"""The example stack files, and the JSON Schema that editors hold them against."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema.validators import Draft7Validator  # type: ignore[import-untyped]

from meshca import schema
from meshca.settings import KeySource, Settings, SettingsError, load

PROJECT = Path(__file__).resolve().parents[2]
STACK_FILES = sorted(PROJECT.glob("Pulumi.*.yaml"))
each_stack_file = pytest.mark.parametrize("file", STACK_FILES, ids=lambda file: file.name)

CLUSTER = {"name": "mesh", "resourceGroup": "mesh", "revisions": ["asm-1-30"]}
KEY = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ\n-----END PRIVATE KEY-----\n"


def read(file: Path) -> dict[str, Any]:
    """A stack file as YAML reads it."""
    document: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return document


def as_pulumi(document: dict[str, Any]) -> dict[str, object]:
    """The configuration in a stack file as Pulumi hands it to the program."""
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in document["config"].items()
    }


def stack(name: str) -> Settings:
    """The settings of an example, with the key that its comment says to set."""
    config = as_pulumi(read(PROJECT / f"Pulumi.{name}.yaml"))
    if name == "offline":
        config["aks-istio-ca:issuerKeys"] = json.dumps({"a1": KEY})
    return load(config)


validator = Draft7Validator(schema.stack_schema())


def complaints(document: object) -> list[str]:
    """What the schema finds wrong with a stack file."""
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def test_there_is_an_example_of_each_input_form() -> None:
    """Generated, offline with a key of one's own, by signing request, and external."""
    assert {"dev", "offline", "csr", "external"} <= {
        file.name.split(".")[1] for file in STACK_FILES
    }


@each_stack_file
def test_every_stack_file_validates(file: Path) -> None:
    """The schema finds nothing to complain about in a stack file of this project."""
    assert complaints(read(file)) == []


@each_stack_file
def test_every_stack_file_names_the_schema(file: Path) -> None:
    """The first line points editors to the schema, by a path from the stack file."""
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema={schema.SCHEMA_FILE.relative_to(PROJECT)}"


@each_stack_file
def test_no_private_key_is_committed(file: Path) -> None:
    """Neither in plain text nor encrypted; the salt of the local cloud's passphrase is no key."""
    content = file.read_text(encoding="utf-8")
    assert not any(word in content for word in ("BEGIN", "secure:"))


@pytest.mark.parametrize("name", ["dev", "external"])
def test_an_example_is_complete(name: str) -> None:
    """It loads as committed; its issuer is active and not pending."""
    known = stack(name)
    assert known.stance == "steady a1"
    assert not known.pending("a1")


def test_the_offline_example_lacks_its_key_and_says_how_to_set_it() -> None:
    """As committed it is refused for that alone, with the command that its comment shows."""
    file = PROJECT / "Pulumi.offline.yaml"
    with pytest.raises(SettingsError) as caught:
        load(as_pulumi(read(file)))
    (mistake,) = caught.value.mistakes
    assert mistake.path == "aks-istio-ca:issuerKeys.a1"
    command = "pulumi config set --secret --path 'aks-istio-ca:issuerKeys.a1'"
    assert command in mistake.allowed
    assert command in file.read_text(encoding="utf-8")


def test_the_offline_example_loads_with_its_key() -> None:
    """Nothing else is missing."""
    known = stack("offline")
    assert (known.stance, known.issuers["a1"].key) == ("steady a1", KeySource.SECRET)


def test_the_csr_example_bootstraps() -> None:
    """Its issuer is pending and none is active: the first `up` makes key and request."""
    known = stack("csr")
    assert (known.stance, known.pending("a1")) == ("bootstrap", True)


def test_the_schema_file_is_current() -> None:
    """The committed schema is what the settings yield; else run `python -m meshca.schema`."""
    assert schema.SCHEMA_FILE.read_text(encoding="utf-8") == schema.text()


def test_the_schema_is_a_schema() -> None:
    """It follows its own draft."""
    Draft7Validator.check_schema(schema.stack_schema())


def test_the_command_writes_a_current_file(tmp_path: Path) -> None:
    """`python -m meshca.schema` makes the file that `--check` then accepts."""
    file = tmp_path / "new" / "schema.json"
    command = [sys.executable, "-m", "meshca.schema", "--file", str(file)]
    subprocess.run(command, cwd=PROJECT, check=True)
    assert schema.main(["--check", "--file", str(file)]) == 0


@pytest.mark.parametrize("content", [None, "{}"])
def test_check_refuses_what_is_not_current(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing or outdated: exit 1, one line with the command, and nothing is written."""
    file = tmp_path / "schema.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    assert schema.main(["--check", "--file", str(file)]) == 1
    assert capsys.readouterr().err == (
        f"{file} does not match the settings; run `python -m meshca.schema` and commit the file\n"
    )
    assert (file.read_text(encoding="utf-8") if file.exists() else None) == content


def dev(key: str, value: object) -> dict[str, Any]:
    """The development stack's file with one key set."""
    document = read(PROJECT / "Pulumi.dev.yaml")
    document["config"][key] = value
    return document


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("aks-istio-ca:rotationPhase", "swich"),
        ("aks-istio-ca:rotationPhase", "distribute"),  # and no nextIssuer
        ("aks-istio-ca:nextIssuer", "b1"),  # in phase steady
        ("aks-istio-ca:leafTTL", "24h"),
        ("aks-istio-ca:leafTtl", 24),
        ("aks-istio-ca:roots", {"a": {"generated": {}, "certificate": "a.pem"}}),
        ("aks-istio-ca:roots", {"a": {"generated": None}}),
        ("aks-istio-ca:roots", {"Root A": {"generated": {}}}),
        ("aks-istio-ca:issuerKeys", {"a1": KEY}),
        ("aks-istio-ca:workloads", [{"name": "web"}]),
        ("aks-istio-ca:workloads", [{"namespace": "shop", "kind": "Deployment"}]),
        ("aks-istio-ca:workloads", [{"namespace": "shop", "name": "web"}]),
        ("aks-istio-ca:cluster", {**CLUSTER, "kubeconfig": "kind: Config"}),
    ],
)
def test_the_schema_refuses(key: str, value: object) -> None:
    """Mistakes that an editor should underline, a private key in plain text above all."""
    assert complaints(dev(key, value)) != []


@pytest.mark.parametrize("value", [{"a1": {"secure": "v1:x"}}, {"secure": "v1:x"}])
def test_the_schema_takes_what_the_secret_command_writes(value: object) -> None:
    """Keys encrypted one by one, or all of them as one."""
    assert complaints(dev("aks-istio-ca:issuerKeys", value)) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("aks-istio-ca:workloads", [{"namespace": "shop", "kind": "Deployment", "name": "web"}]),
        ("aks-istio-ca:workloads", [{"namespace": "shop", "selector": {"tier": "web"}}]),
        ("aks-istio-ca:cluster", {**CLUSTER, "kubeconfig": {"secure": "v1:x"}}),
    ],
)
def test_the_schema_takes(key: str, value: object) -> None:
    """Workloads by name and by labels, and a kubeconfig that is encrypted."""
    assert complaints(dev(key, value)) == []


def test_the_schema_leaves_other_namespaces_alone() -> None:
    """Providers have settings of their own."""
    assert complaints(dev("azure-native:anything", {"at": ["all"]})) == []


SETTINGS = st.sampled_from(
    [
        ("cluster", "name"),
        ("cluster", "resourceGroup"),
        ("cluster", "revisions"),
        ("cluster", "kubernetesVersion"),
        ("cluster", "dnsPrefix"),
        ("cluster", "rotationPollInterval"),
        ("cluster", "mesh"),
        ("cluster", "existing"),
        ("keyVault", "existing"),
        ("keyVault", "name"),
        ("keyVault", "accessModel"),
        ("keyVault", "secretPermissions"),
        ("keyVault", "softDeleteDays"),
    ]
)
VALUES = st.one_of(
    st.text(max_size=30),
    st.text("aA0-_.()", max_size=8),
    st.from_regex(r"1\.\d\d?(\.\d)?|[1-9]?\d[hms]", fullmatch=True),
    st.sampled_from(["get", "list", "rbac", "accessPolicy"]),
    st.lists(st.sampled_from(["get", "list", "asm-1-29", "asm-1-30"]), max_size=3),
    st.integers(-1, 100),
    st.booleans(),
    st.none(),
)


@given(SETTINGS, VALUES)
def test_the_schema_is_no_stricter_than_the_program(where: tuple[str, str], value: object) -> None:
    """An editor never underlines a value that the program would take."""
    document = read(PROJECT / "Pulumi.dev.yaml")
    group, key = where
    document["config"][f"aks-istio-ca:{group}"][key] = value
    try:
        load(as_pulumi(document))
    except SettingsError:
        return
    assert complaints(document) == []
