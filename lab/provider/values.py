"""Property values as they travel between the engine and a provider.

The wire form is protobuf's Struct with three markers in it, which this module takes away and puts
back: the unknown string (a value not known until `up`), the secret object, and the output object.
Facts: pulumi.md 2.1; the constants are those of the Pulumi SDKs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from google.protobuf import struct_pb2

_UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"
_OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"

Properties = dict[str, Any]
"""Names to values: str, int, float, bool, list, dict, or UNKNOWN. Never None."""


class Unknown:
    """The type of UNKNOWN, a value that only `up` can tell."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


def decode(struct: struct_pb2.Struct) -> Properties:
    """Return the properties of a message, without nulls and without secret or output wrappers.

    Whole numbers come back as int. Raises ValueError for assets, archives and resource
    references, which no resource of the lab takes.
    """
    return {
        name: _decode(value)
        for name, value in struct.fields.items()
        if value.WhichOneof("kind") != "null_value"
    }


def _decode(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            return UNKNOWN if value.string_value == _UNKNOWN else value.string_value
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "bool_value":
            return value.bool_value
        case "list_value":
            return [_decode(item) for item in value.list_value.values]
        case "struct_value":
            return _decode_object(value.struct_value)
        case _:
            return None


def _decode_object(struct: struct_pb2.Struct) -> Any:
    signature = struct.fields[_SIGNATURE].string_value if _SIGNATURE in struct.fields else None
    if signature is None:
        return decode(struct)
    if signature not in (_SECRET, _OUTPUT):
        raise ValueError("the lab takes no assets, archives or resource references")
    return _decode(struct.fields["value"]) if "value" in struct.fields else UNKNOWN


def secret_names(struct: struct_pb2.Struct) -> set[str]:
    """Return the names of the top-level properties that are wrapped as secrets."""
    return {
        name
        for name, value in struct.fields.items()
        if value.struct_value.fields[_SIGNATURE].string_value == _SECRET
    }


def encode(properties: Mapping[str, Any], secrets: Collection[str] = ()) -> struct_pb2.Struct:
    """Return the message of some properties; those named in `secrets` are wrapped as secrets."""
    struct = struct_pb2.Struct()
    for name, value in properties.items():
        if value is None:
            continue
        target = struct.fields[name]
        if name in secrets:
            wrapper = target.struct_value.fields
            wrapper[_SIGNATURE].string_value = _SECRET
            target = wrapper["value"]
        _encode(value, target)
    return struct


def _encode(value: Any, target: struct_pb2.Value) -> None:
    match value:
        case Unknown():
            target.string_value = _UNKNOWN
        case None:
            target.null_value = struct_pb2.NULL_VALUE
        case bool():
            target.bool_value = value
        case int() | float():
            target.number_value = value
        case str():
            target.string_value = value
        case Mapping():
            target.struct_value.CopyFrom(encode(value))
        case _:
            target.list_value.SetInParent()
            for item in value:
                _encode(item, target.list_value.values.add())


def has_unknown(value: Any) -> bool:
    """Tell whether UNKNOWN is the value or anywhere inside it."""
    match value:
        case Unknown():
            return True
        case Mapping():
            return any(has_unknown(item) for item in value.values())
        case list():
            return any(has_unknown(item) for item in value)
        case _:
            return False
