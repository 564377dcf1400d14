"""The JSON Schema of the stack files: `python -m meshca.schema` writes it, `--check` compares.

It describes what a `Pulumi.<stack>.yaml` holds as text, so it differs from the models where there
are secrets: a private key or a kubeconfig is never a plain value there, only what
`pulumi config set --secret` leaves. Rules that combine settings are mostly left to the program; an
editor sees those on phases, roots, workloads and plain names.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from . import durations
from .settings import NAMESPACE, Settings

SCHEMA_FILE = Path(__file__).resolve().parent.parent / "schema" / "stack.schema.json"

_ENCRYPTED = {
    "type": "object",
    "properties": {"secure": {"type": "string"}},
    "required": ["secure"],
    "additionalProperties": False,
}


class _Generator(GenerateJsonSchema):
    """pydantic's own, but durations are written as stack files write them."""

    def encode_default(self, dft: Any) -> Any:
        return durations.spell(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def stack_schema() -> dict[str, Any]:
    """The schema of a whole stack file, in JSON Schema draft 7, which every editor knows."""
    model = _tidy(Settings.model_json_schema(schema_generator=_Generator))
    settings: dict[str, Any] = model["properties"]
    keys = settings["issuerKeys"]
    settings["issuerKeys"] = {
        "description": keys["description"],
        "anyOf": [
            _ENCRYPTED,
            {
                "type": "object",
                "patternProperties": dict.fromkeys(keys["patternProperties"], _ENCRYPTED),
                "additionalProperties": False,
            },
        ],
    }
    definitions: dict[str, Any] = model["$defs"]
    kubeconfig = definitions["Cluster"]["properties"]["kubeconfig"]
    definitions["Cluster"]["properties"]["kubeconfig"] = {
        "description": kubeconfig["description"],
        **_ENCRYPTED,
    }
    definitions["Workload"]["oneOf"] = [
        {"required": ["name", "kind"], "not": {"required": ["selector"]}},
        {"required": ["selector"], "not": {"required": ["name"]}},
    ]
    definitions["Root"]["oneOf"] = [{"required": ["generated"]}, {"required": ["certificate"]}]
    phase, following = f"{NAMESPACE}:rotationPhase", f"{NAMESPACE}:nextIssuer"
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"Configuration of an {NAMESPACE} stack",
        "type": "object",
        "required": ["config"],
        "properties": {
            "config": {
                "type": "object",
                "required": [f"{NAMESPACE}:{key}" for key in model["required"]],
                "properties": {f"{NAMESPACE}:{key}": value for key, value in settings.items()},
                # Keys of other namespaces are none of this project's business.
                "patternProperties": {f"^(?!{NAMESPACE}:)": {}},
                "additionalProperties": False,
                "if": {"properties": {phase: {"const": "steady"}}},
                "then": {"properties": {following: False}},
                "else": {"required": [following]},
            },
        },
        "$defs": definitions,
    }


def _tidy(schema: Any) -> Any:
    """pydantic's schema without titles and defaults that mean absence, and with no other names
    than the allowed ones in tables by name."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {
        key: _tidy(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
        and not (key == "default" and value in (None, ""))
    }
    return {**tidy, "additionalProperties": False} if "patternProperties" in tidy else tidy


def text() -> str:
    """The schema as its file holds it."""
    return json.dumps(stack_schema(), indent=2) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks the schema file; 0 when it is current afterwards, 1 when it is not."""
    parser = argparse.ArgumentParser(prog="python -m meshca.schema", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--file", type=Path, default=SCHEMA_FILE, help="where the schema is")
    options = parser.parse_args(arguments)
    file: Path = options.file
    if not options.check:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text(), encoding="utf-8")
        return 0
    if file.is_file() and file.read_text(encoding="utf-8") == text():
        return 0
    print(
        f"{file} does not match the settings; run `python -m meshca.schema` and commit the file",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
