"""The difference between two sets of inputs, in the words of Pulumi's detailed diff."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from lab.provider.values import Unknown

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_$][\w$]*\Z")

Same = Callable[[str, Any, Any], bool]
"""Tells whether two values at a path mean the same, beyond being equal."""


class Kind(Enum):
    """What happened to a property."""

    ADD = "add"
    DELETE = "delete"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Change:
    """One changed property: its path (`a.b[0]["c.d"]`), what happened, and whether it replaces."""

    path: str
    kind: Kind
    replaces: bool = False


def _never(path: str, old: Any, new: Any) -> bool:
    return False


def changes(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    replaces: Iterable[str] = (),
    same: Same = _never,
) -> list[Change]:
    """Return what differs between two sets of inputs, in the order of the paths.

    A change replaces the resource when its path is one of `replaces`, or lies below one. An
    unknown new value counts as a change: the engine tells the user that it may be one.
    """
    found: list[Change] = []
    _objects("", old, new, found, same)
    stems = tuple(replaces)
    return [
        Change(change.path, change.kind, any(_below(change.path, stem) for stem in stems))
        for change in sorted(found, key=lambda change: change.path)
    ]


def _below(path: str, stem: str) -> bool:
    return path == stem or path.startswith((f"{stem}.", f"{stem}["))


def _objects(
    prefix: str, old: Mapping[str, Any], new: Mapping[str, Any], found: list[Change], same: Same
) -> None:
    for name in {**old, **new}:
        path = _join(prefix, name)
        if name not in new:
            found.append(Change(path, Kind.DELETE))
        elif name not in old:
            found.append(Change(path, Kind.ADD))
        else:
            _values(path, old[name], new[name], found, same)


def _values(path: str, old: Any, new: Any, found: list[Change], same: Same) -> None:
    match old, new:
        case _, Unknown():
            found.append(Change(path, Kind.UPDATE))
        case Mapping(), Mapping():
            _objects(path, old, new, found, same)
        case list(), list():
            _lists(path, old, new, found, same)
        case _ if type(old) is not type(new) or (old != new and not same(path, old, new)):
            found.append(Change(path, Kind.UPDATE))


def _lists(path: str, old: list[Any], new: list[Any], found: list[Change], same: Same) -> None:
    for index in range(max(len(old), len(new))):
        at = f"{path}[{index}]"
        if index >= len(new):
            found.append(Change(at, Kind.DELETE))
        elif index >= len(old):
            found.append(Change(at, Kind.ADD))
        else:
            _values(at, old[index], new[index], found, same)


def _join(prefix: str, name: str) -> str:
    if not _PLAIN_NAME.match(name):
        return f'{prefix}["{name}"]'
    return f"{prefix}.{name}" if prefix else name
