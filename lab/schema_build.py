"""Write each plug-in's `schema.json`: what the SDK says about the properties that the lab models.

`python -m lab.schema_build` after a change of a plug-in's `modelled.py` or of an SDK's version. The
files are kept so that a plug-in starts without importing the SDK, which takes half a second; a test
holds them together.
"""

from __future__ import annotations

import collections.abc
import enum
import importlib
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pulumi
from pulumi import _types

from lab.azure import modelled as azure
from lab.tls import modelled as tls

ALL: Final = True

_SCALARS: Final[dict[Any, str]] = {
    str: "string", bool: "boolean", int: "integer", float: "number", Any: "any",
}  # fmt: skip


Trees = Mapping[str, Mapping[str, Any]]


def files() -> dict[Path, str]:
    """Return the text of every schema file, by its path."""
    return {module.SCHEMA: text(module.RESOURCES) for module in (azure, tls)}


def text(trees: Trees) -> str:
    """Return the schema of the modelled resource types, by token, as the file holds it."""
    schemas = {token: _resource(token, tree) for token, tree in trees.items()}
    return json.dumps(schemas, indent=1, sort_keys=True) + "\n"


def _resource(token: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    package, module_name, name = token.split(":")
    path = f"pulumi_{package.replace('-', '_')}"
    module = importlib.import_module(path if "index" in module_name else f"{path}.{module_name}")
    resource, arguments = getattr(module, name), getattr(module, f"{name}Args")
    source = inspect.getsource(resource)  # the docstring sits on an overload, out of reach
    version = re.search(r"Uses Azure REST API version ([\d-]+(?:preview)?)\.", source)
    node = _object(arguments, _types.resource_types(resource), tree, token)
    return {"apiVersion": version[1] if version else None, "inputs": node}


def _object(inputs: type, outputs: dict[str, Any] | None, tree: Any, where: str) -> dict[str, Any]:
    typed = _types.input_type_types(inputs)
    python_names = {v: k for k, v in _types.input_type_py_to_pulumi_names(inputs).items()}
    parameters = inspect.signature(inputs).parameters
    wanted = list(typed) if tree is ALL else list(tree)
    if unknown := set(wanted) - set(typed):
        raise KeyError(f"{where}: the SDK has no {sorted(unknown)}")
    return {
        "type": "object",
        "properties": {
            name: _node(
                typed[name],
                (outputs or {}).get(name),
                ALL if tree is ALL else tree[name],
                f"{where}.{name}",
            )
            for name in wanted
        },
        "required": [
            name
            for name in wanted
            if parameters[python_names[name]].default is inspect.Parameter.empty
        ],
        "unmodelled": sorted(set(typed) - set(wanted)),
        "outputs": sorted(outputs or ()),
    }


def _node(annotation: Any, output: Any, tree: Any, where: str) -> dict[str, Any]:
    members = _members(annotation)
    enums = [member for member in members if _is_enum(member)]
    if enums:
        return {"type": "string", "enum": [str(member.value) for member in enums[0]]}
    kinds = [member for member in members if member is not type(None)]
    if sum(_types.is_input_type(kind) for kind in kinds) > 1:
        return {"type": "any"}  # one of several shapes: the resource itself tells which
    kind = next((k for k in kinds if _types.is_input_type(k)), kinds[0])
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    output = next((o for o in _members(output) if o is not type(None)), None)
    if _types.is_input_type(kind):
        fields = _types.output_type_types(output) if isinstance(output, type) else None
        return _object(kind, fields, tree, where)
    below = typing.get_args(output)[-1] if typing.get_args(output) else None
    if origin is collections.abc.Mapping:
        return {"type": "map", "items": _node(arguments[1], below, tree, where)}
    if origin is collections.abc.Sequence:
        return {"type": "array", "items": _node(arguments[0], below, tree, where)}
    return {"type": _SCALARS[kind]}


def _members(annotation: Any) -> list[Any]:
    """Return the types an annotation allows, without the wrappers of pulumi.Input."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [inner for each in typing.get_args(annotation) for inner in _members(each)]
    if typing.get_origin(annotation) in (collections.abc.Awaitable, pulumi.Output):
        return []
    return [annotation]


def _is_enum(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, enum.Enum)


if __name__ == "__main__":
    for file, content in files().items():
        file.write_text(content, encoding="ascii")
        print(f"wrote {file}", file=sys.stderr)
