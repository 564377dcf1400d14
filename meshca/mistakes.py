"""Mistakes in a stack file: how one is worded, and how pydantic's errors become them.

A mistake is one line for the person who wrote the file: the key as the file spells it, the value,
and what is allowed there. A value that may be a private key is never in it.
"""

import json
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .fields import NAME_ALLOWED, Setting, keys_of

Path = tuple[str, ...]
"""Where a setting is: the keys from the top of the namespace down to it; `[0]` in a list."""

_LONGEST_VALUE = 120
_SECRET = "[secret]"
_SECRET_WORDS = ("PRIVATE KEY", "client-key-data")
"""What only a private key or a kubeconfig has in it."""
_INDEX = re.compile(r"\[[0-9]+\]")


_UNREADABLE = object()
"""Stands where a refused value stood: what follows from that value cannot be judged."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One setting that cannot be used. `value` is text to show, None when the key is missing."""

    path: str
    value: str | None
    allowed: str

    def __str__(self) -> str:
        problem = "is missing" if self.value is None else f"{self.value} is not allowed"
        return f"{self.path}: {problem}; allowed: {self.allowed}"


class SettingsError(ValueError):
    """A stack file that cannot be used. Carries every mistake; its text has one line for each."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


def suggest(written: object, choices: Iterable[str]) -> str:
    """` (did you mean "switch"?)` when `written` is close to a choice, else nothing."""
    from difflib import get_close_matches  # a stack file without mistakes need not pay for it

    if not isinstance(written, str):
        return ""
    by_lower = {choice.lower(): choice for choice in choices}
    near = get_close_matches(written[:80].lower(), by_lower, n=1)
    return f' (did you mean "{by_lower[near[0]]}"?)' if near else ""


def spell(namespace: str, path: Path) -> str:
    """The key as `pulumi config set --path` takes it: `aks-istio-ca:issuers.a1.root`."""
    first, *rest = path
    steps = (_step(key) for key in rest)
    return f"{namespace}:{first if _is_plain(first) else _show(first)}{''.join(steps)}"


def _step(key: str) -> str:
    if _INDEX.fullmatch(key):
        return key
    return f".{key}" if _is_plain(key) else f"[{_show(key)}]"


def show(path: Path, value: object) -> str:
    """`value` on one line, as JSON, cut when long; `[secret]` for what may be a private key."""
    secret = path[0] == "issuerKeys" or path[:2] == ("cluster", "kubeconfig")
    return _SECRET if secret else _show(value)


def _is_plain(key: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key) is not None


def _show(value: object) -> str:
    try:
        shown = json.dumps(value, default=lambda other: f"a {type(other).__name__}")
    except (TypeError, ValueError, RecursionError):
        shown = f"a {type(value).__name__}"
    if any(word in shown for word in _SECRET_WORDS):
        return _SECRET
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[:_LONGEST_VALUE]}..."


def from_validation(
    error: ValidationError, model: type[BaseModel], raw: Mapping[str, Any], namespace: str
) -> tuple[dict[Path, Mistake], dict[str, Any]]:
    """The mistakes that `model` found in `raw`, and `raw` with those values unreadable.

    Each setting yields one mistake, however many of its constraints it breaks.
    """
    mistakes: dict[Path, Mistake] = {}
    for detail in error.errors(include_url=False):
        if detail["type"] == "default_factory_not_called":
            continue  # the default would follow from a value that is a mistake itself
        path, allowed = _locate(model, detail)
        shown: str | None
        if detail["type"] == "missing":
            shown = None
        elif detail["type"] == "extra_forbidden":
            shown = "unknown key"
        else:
            shown = show(path, _value_at(raw, path))
        mistakes.setdefault(path, Mistake(spell(namespace, path), shown, allowed))
    return mistakes, _without(raw, mistakes)


def _locate(model: type[BaseModel], detail: ErrorDetails) -> tuple[Path, str]:
    """The path of the setting that an error is about, and what is allowed there."""
    here: Any = model
    path: Path = ()
    setting = Setting("", keys_of(model))
    for step in detail["loc"]:
        if step == "[key]":
            return path, NAME_ALLOWED
        if not isinstance(step, str):
            item: Any = _bare(get_args(here)[0]) if get_origin(here) is list else None
            if not _is_model(item):
                break  # an item of a list: the setting is the list
            here, setting = item, Setting("", keys_of(item))
            path = (*path, f"[{step}]")
            continue
        if _is_model(here):
            fields = {field.alias or "": field for field in here.model_fields.values()}
            if step not in fields:
                return (*path, step), f"{', '.join(fields)}{suggest(step, fields)}"
            here = _bare(fields[step].annotation)
            setting = next(item for item in fields[step].metadata if isinstance(item, Setting))
        elif get_origin(here) is dict:
            here = _bare(get_args(here)[1])
            if _is_model(here):
                setting = Setting("", keys_of(here))
        path = (*path, step)
    return path, f"{setting.allowed}{suggest(detail['input'], setting.choices)}"


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _bare(annotation: Any) -> Any:
    """The type inside `Annotated[...]` and `... | None`."""
    while get_origin(annotation) in (Annotated, Union, types.UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return annotation


def _value_at(raw: Any, path: Path) -> Any:
    for step in path:
        raw = raw[_key(raw, step)]
    return raw


def _key(holder: object, step: str) -> Any:
    """What a step of a path is called in the value that it leads into."""
    return int(step[1:-1]) if isinstance(holder, list) else step


def _without(raw: Mapping[str, Any], paths: Iterable[Path]) -> dict[str, Any]:
    """A copy of `raw` in which every value at one of `paths` is unreadable."""
    copy = {key: _copied(value, depth=3) for key, value in raw.items()}
    for *parents, last in paths:
        holder: Any = copy
        for step in parents:
            holder = _child(holder, step)
        if isinstance(holder, list) or (isinstance(holder, dict) and last in holder):
            holder[_key(holder, last)] = _UNREADABLE
    return copy


def _child(holder: object, step: str) -> Any:
    if isinstance(holder, list):
        return holder[_key(holder, step)]
    return holder.get(step) if isinstance(holder, dict) else None


def _copied(value: Any, depth: int) -> Any:
    """A copy of nested objects, as deep as the settings go."""
    if depth and isinstance(value, dict):
        return {key: _copied(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list):
        return [_copied(item, depth - 1) for item in value]
    return value
