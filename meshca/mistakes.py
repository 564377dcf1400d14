"""Mistakes in a stack file: how one is worded, and how pydantic's errors become them.

A mistake is one line for the person who wrote the file: the key as the file spells it, the value,
and what is allowed there. Values that may be private keys are never in it.
"""

import json
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails

Path = tuple[str, ...]
"""Where a setting is: its keys from the top of the namespace down, none for a list's items."""

NAME_ALLOWED = "a name of 1 to 20 lower-case letters, digits and hyphens that starts with a letter"

_LONGEST_VALUE = 120
_SECRET = "[secret]"


class Unreadable:
    """Stands where a refused value stood, so that rules about combinations leave it alone."""


UNREADABLE = Unreadable()


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


@dataclass(frozen=True, slots=True)
class Setting:
    """What a key means and what it may be: a mistake quotes it, editors show it (JSON Schema).

    `choices` are the texts to suggest from when a value is misspelt.
    """

    meaning: str
    allowed: str
    choices: tuple[str, ...] = ()

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = handler(core)
        return {**schema, "description": f"{self.meaning}. Allowed: {self.allowed}."}


def one_of(names: Iterable[str]) -> str:
    """`a, b or c`."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def suggest(written: object, choices: Iterable[str]) -> str:
    """` (did you mean "switch"?)` when `written` is close to a choice, else nothing."""
    from difflib import get_close_matches  # needed on mistakes only; a good preview never loads it

    if not isinstance(written, str):
        return ""
    by_lower = {choice.lower(): choice for choice in choices}
    near = get_close_matches(written[:80].lower(), by_lower, n=1)
    return f' (did you mean "{by_lower[near[0]]}"?)' if near else ""


def spell(namespace: str, path: Path) -> str:
    """The key as `pulumi config set --path` takes it: `aks-istio-ca:issuers.a1.root`."""
    first, *rest = path
    return f"{namespace}:{_plain(first)}" + "".join(
        f".{key}" if re.fullmatch(r"[\w-]{1,64}", key, re.ASCII) else f"[{_plain(key)}]"
        for key in rest
    )


def show(path: Path, value: object) -> str:
    """`value` on one line, in JSON, cut when long; `[secret]` for what may be a private key."""
    if path[0] == "issuerKeys":
        return _SECRET
    try:
        shown = json.dumps(value, default=lambda other: f"a {type(other).__name__}")
    except (TypeError, ValueError, RecursionError):
        shown = f"a {type(value).__name__}"
    if "PRIVATE KEY" in shown:
        return _SECRET
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[:_LONGEST_VALUE]}..."


def _plain(key: str) -> str:
    if re.fullmatch(r"[\w-]{1,64}", key, re.ASCII):
        return key
    return show(("",), key)


def from_validation(
    error: ValidationError, model: type[BaseModel], raw: Mapping[str, Any], namespace: str
) -> tuple[list[Mistake], dict[str, Any]]:
    """Every mistake that `model` found in `raw`, and `raw` with those values UNREADABLE.

    Each setting yields one mistake, however many constraints it breaks.
    """
    mistakes: dict[Path, Mistake] = {}
    for detail in error.errors(include_url=False):
        if detail["type"] == "default_factory_not_called":
            continue  # follows from another mistake: a default is derived from a refused value
        path, allowed = _locate(model, detail)
        value = None if detail["type"] == "missing" else _value_at(raw, path)
        shown = None if detail["type"] == "missing" else show(path, value)
        if detail["type"] == "extra_forbidden":
            shown = "unknown key"
        mistakes.setdefault(path, Mistake(spell(namespace, path), shown, allowed))
    return list(mistakes.values()), _without(raw, mistakes)


def _locate(model: type[BaseModel], detail: ErrorDetails) -> tuple[Path, str]:
    """The path of the setting that an error is about, and what is allowed there."""
    here: Any = model
    path: Path = ()
    setting = Setting("", "")
    for step in detail["loc"]:
        if step == "[key]":
            return path, NAME_ALLOWED
        if not isinstance(step, str):
            break  # an item of a list: the setting is the list
        if _is_model(here):
            fields = {field.alias: field for field in here.model_fields.values()}
            if step not in fields:
                known = [alias for alias in fields if alias is not None]
                return (*path, step), f"{', '.join(known)}{suggest(step, known)}"
            field = fields[step]
            here = _unwrap(field.annotation)
            setting = next(item for item in field.metadata if isinstance(item, Setting))
        elif get_origin(here) is dict:
            here = _unwrap(get_args(here)[1])
            if _is_model(here):
                setting = Setting("", keys_of(here))
        else:
            break
        path = (*path, step)
    return path, setting.allowed + suggest(detail["input"], setting.choices)


def keys_of(model: type[BaseModel]) -> str:
    """What a value that should be an object of this model is allowed to be."""
    known = [field.alias or name for name, field in model.model_fields.items()]
    return f"an object with the keys {', '.join(known)}"


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _unwrap(annotation: Any) -> Any:
    """The type inside `Annotated[...]` and `... | None`."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            annotation = next(part for part in get_args(annotation) if part is not type(None))
        else:
            return annotation


def _value_at(raw: Any, path: Sequence[str]) -> Any:
    for step in path:
        raw = raw[step]
    return raw


def _without(raw: Mapping[str, Any], paths: Iterable[Path]) -> dict[str, Any]:
    """A copy of `raw` in which every value that is there at one of `paths` is UNREADABLE."""
    copy: dict[str, Any] = {
        key: {name: dict(item) if isinstance(item, dict) else item for name, item in value.items()}
        if isinstance(value, dict)
        else value
        for key, value in raw.items()
    }
    for path in paths:
        *parents, last = path[:3]
        holder: Any = copy
        for step in parents:
            holder = holder.get(step) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and last in holder:
            holder[last] = UNREADABLE
    return copy
