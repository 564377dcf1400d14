"""The shape of a resource's inputs: validation, and projections between inputs and outputs.

The nodes come from a `schema.json` (lab.schema_build). An object node knows its properties, the
required ones, the names that the SDK has but the lab does not model, and its outputs' names.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.provider.values import UNKNOWN, Properties, Unknown

Node = dict[str, Any]

_PYTHON: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "map": (dict,),
    "object": (dict,),
}


@dataclass(frozen=True, slots=True)
class Schema:
    """The inputs of one resource type, and the version of the cloud's API, if it has one."""

    token: str
    api_version: str | None
    inputs: Node


@functools.cache
def _read(file: Path) -> dict[str, Any]:
    schemas: dict[str, Any] = json.loads(file.read_text(encoding="ascii"))
    return schemas


def load(file: Path, token: str) -> Schema:
    """Return the schema of a resource type out of a file; KeyError when it is not there."""
    entry = _read(file)[token]
    return Schema(token, entry["apiVersion"], entry["inputs"])


def failures(schema: Schema, inputs: Properties, olds: Properties) -> list[str]:
    """Return what Check has against the inputs, one line each, paths included.

    A property that the lab does not model passes when the old inputs hold the same value: that is
    how an adopted resource carries along what the program does not know.
    """
    return list(_object(schema.inputs, inputs, olds, ""))


def _object(node: Node, value: Mapping[str, Any], old: Any, path: str) -> Iterator[str]:
    olds: Mapping[str, Any] = old if isinstance(old, Mapping) else {}
    for name in node["required"]:
        if name not in value:
            yield f"missing required property '{_join(path, name)}'"
    for name, item in value.items():
        at = _join(path, name)
        if name in node["properties"]:
            yield from _value(node["properties"][name], item, olds.get(name), at)
        elif name in node["unmodelled"]:
            if name not in olds or olds[name] != item:
                yield f"the lab does not model the property '{at}'"
        else:
            yield f"there is no property '{at}'"


def _value(node: Node, value: Any, old: Any, path: str) -> Iterator[str]:
    kind = node["type"]
    if isinstance(value, Unknown) or kind == "any":
        return
    is_boolean = isinstance(value, bool)
    if not isinstance(value, _PYTHON[kind]) or is_boolean != (kind == "boolean"):
        yield f"'{path}' should be of type '{kind}' but got {_called(value)}"
        return
    match value:
        case dict() if kind == "object":
            yield from _object(node, value, old, path)
        case dict():
            for name, item in value.items():
                before = old.get(name) if isinstance(old, Mapping) else None
                yield from _value(node["items"], item, before, _join(path, name))
        case list():
            for index, item in enumerate(value):
                before = old[index] if isinstance(old, list) and index < len(old) else None
                yield from _value(node["items"], item, before, f"{path}[{index}]")


def _called(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    return names.get(type(value), "an array" if isinstance(value, list) else "an object")


def outside_enums(schema: Schema, inputs: Properties) -> list[tuple[str, str, list[str]]]:
    """Return (path, value, allowed) for each value outside its enum; letter case is ignored."""
    return [
        (path, value, allowed)
        for path, value, allowed in _enums(schema.inputs, inputs, "")
        if value.lower() not in [name.lower() for name in allowed]
    ]


def _enums(node: Node, value: Any, path: str) -> Iterator[tuple[str, str, list[str]]]:
    if "enum" in node and isinstance(value, str):
        yield path, value, node["enum"]
    for name, child in node.get("properties", {}).items():
        if isinstance(value, Mapping) and name in value:
            yield from _enums(child, value[name], _join(path, name))
    if "items" in node and isinstance(value, Mapping | list):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in pairs:
            yield from _enums(node["items"], item, f"{path}[{key}]")


def preview(schema: Schema, inputs: Properties) -> Properties:
    """Return the outputs as a preview knows them: the inputs, and UNKNOWN for all others."""
    outputs: Properties = _preview(schema.inputs, inputs)
    return outputs


def _preview(node: Node, value: Any) -> Any:
    match value:
        case Mapping() if node["type"] == "object":
            known = {
                name: _preview(node["properties"][name], value[name])
                if name in node["properties"]
                else value[name]
                for name in node["outputs"]
                if name in value
            }
            return {name: known.get(name, UNKNOWN) for name in node["outputs"]}
        case Mapping() if node["type"] == "map":
            return {name: _preview(node["items"], item) for name, item in value.items()}
        case list() if node["type"] == "array":
            return [_preview(node["items"], item) for item in value]
        case _:
            return value


def project(schema: Schema, outputs: Mapping[str, Any]) -> Properties:
    """Return the part of some outputs that has the shape of inputs: read-only ones drop out."""
    projected: Properties = _project(schema.inputs, outputs)
    return projected


def _project(node: Node, value: Any) -> Any:
    match value:
        case Mapping() if node["type"] == "object":
            return {
                name: _project(node["properties"][name], item)
                if name in node["properties"]
                else item
                for name, item in value.items()
                if name in node["properties"] or name in node["unmodelled"]
            }
        case Mapping() if node["type"] == "map":
            return {name: _project(node["items"], item) for name, item in value.items()}
        case list() if node["type"] == "array":
            return [_project(node["items"], item) for item in value]
        case _:
            return value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
