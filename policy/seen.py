"""Resources as a policy sees them: plain data, in which unknown and secret values can be told."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pulumi_policy import Secret
from pulumi_policy.proxy import (
    UNKNOWN_ARRAY_VALUE,
    UNKNOWN_BOOLEAN_VALUE,
    UNKNOWN_NUMBER_VALUE,
    UNKNOWN_OBJECT_VALUE,
    UNKNOWN_STRING_VALUE,
)

Path = tuple[str, ...]

_VERSION = re.compile(r"^(azure-native:\w+)/v\d{8}\w*:")

_SENTINELS = frozenset(
    {
        UNKNOWN_ARRAY_VALUE,
        UNKNOWN_BOOLEAN_VALUE,
        UNKNOWN_NUMBER_VALUE,
        UNKNOWN_OBJECT_VALUE,
        UNKNOWN_STRING_VALUE,
    }
)


class Unknown:
    """A value that only an `up` will know. It counts as present, and as whatever it has to be."""

    def __repr__(self) -> str:
        return "unknown"


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Resource:
    """One resource: its properties as mappings, lists, scalars and `UNKNOWN`."""

    type: str
    name: str
    properties: Mapping[str, Any]
    protected: bool = False
    stack: str = ""
    urn: str = ""

    def at(self, *path: str) -> Any:
        """The value at a path; None where there is none, UNKNOWN where it cannot be known yet."""
        found: Any = self.properties
        for step in path:
            if found is UNKNOWN:
                return UNKNOWN
            found = found.get(step) if isinstance(found, Mapping) else None
        return found


def resource(
    *, type_: str, name: str, urn: str, properties: Any, protected: bool = False
) -> Resource:
    """A resource out of what pulumi-policy hands over; its type without a version of the API."""
    stack = urn.split(":")[2] if urn.count(":") > 2 else ""
    return Resource(unversioned(type_), name, plain(properties), protected, stack, urn)


def unversioned(type_: str) -> str:
    """The type without a version of Azure's API: `keyvault/v20230701:Secret` is a Secret, too."""
    return _VERSION.sub(r"\1:", type_)


def plain(value: Any) -> Any:
    """The value without proxies and secret markers, unknown parts as UNKNOWN."""
    value = _target(value)
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, str):
        return UNKNOWN if value in _SENTINELS else value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return value


def is_secret(value: Any, path: Path) -> bool:
    """Whether the value at a path, or anything above it, is marked as secret."""
    value = _target(value)
    if isinstance(value, Secret):
        return True
    if not path:
        return False
    below = value.get(path[0]) if isinstance(value, Mapping) else None
    return is_secret(below, path[1:])


def texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text in plain data, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts(item, (*path, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts(item, (*path, f"[{index}]"))


def _target(value: Any) -> Any:
    """What a proxy of pulumi-policy stands for: reading through one raises on unknown values."""
    if type(value).__module__ in ("pulumi_policy.proxy", "pulumi_policy.secret") and not isinstance(
        value, Secret
    ):
        return value["__target"]
    return value


@dataclass
class Marks:
    """Which resources had an unmarked value when they were last seen, by URN."""

    plain_values: set[str] = field(default_factory=set)

    def note(self, urn: str, *, is_plain: bool) -> None:
        """Remembers or forgets one resource."""
        (self.plain_values.add if is_plain else self.plain_values.discard)(urn)
