"""What the models of the stack configuration are made of: their base and the kinds of fields.

Patterns are kept free of long bounded repeats (lengths are checked apart): each of them costs
milliseconds to compile, on every preview.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from . import durations


class Model(BaseModel):
    """Immutable, strict about types and keys; keys are in camel case in the stack file."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        strict=True,
        # A ValidationError must not carry a private key into a traceback.
        hide_input_in_errors=True,
        # One validator is built, that of the whole configuration, instead of one for each model.
        defer_build=True,
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """What a key means and what it may be: a mistake quotes it, editors show it (JSON Schema).

    `choices` are the texts to suggest from when a value is misspelt. A field with a Setting may
    be absent when it has a default, but not null: YAML turns `generated:` with nothing behind it
    into null, and whoever wrote that meant something.
    """

    meaning: str
    allowed: str
    choices: tuple[str, ...] = ()

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        schema = handler(source)
        return schema["schema"] if schema["type"] == "nullable" else schema

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(core), "description": f"{self.meaning}. Allowed: {self.allowed}."}


def one_of(names: Iterable[str]) -> str:
    """`a, b or c`."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def keys_of(model: type[BaseModel]) -> str:
    """What a value that has to be an object of this model is allowed to be."""
    known = [field.alias or name for name, field in model.model_fields.items()]
    return f"an object with the keys {', '.join(known)}"


def _duration(value: object) -> timedelta:
    if isinstance(value, str):
        return durations.parse(value)
    if isinstance(value, timedelta):
        return value
    raise ValueError("a duration is text")


def _whole_hours(value: timedelta) -> timedelta:
    if value % timedelta(hours=1):
        raise ValueError("not whole hours")
    return value


_DURATION_SCHEMA = WithJsonSchema({"type": "string", "pattern": durations.PATTERN})

NAME = r"[a-z][a-z0-9-]{0,19}"
NAME_ALLOWED = "a name of 1 to 20 lower-case letters, digits and hyphens that starts with a letter"
Name = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
"""The name of a root or an issuer: part of resource names, of tags and of the ledger."""

Duration = Annotated[timedelta, BeforeValidator(_duration), _DURATION_SCHEMA]

Validity = Annotated[
    timedelta,
    Field(ge=timedelta(hours=1), le=timedelta(days=36500)),
    BeforeValidator(_duration),
    AfterValidator(_whole_hours),
    _DURATION_SCHEMA,
]
"""Lifetime of a certificate. pulumi-tls counts it in whole hours (validityPeriodHours)."""
VALIDITY_ALLOWED = "a duration in whole hours such as 730d, 1h to 36500d"

MOMENT_ALLOWED = 'a moment in quotes such as "2027-03-01T12:00:00Z"'

SubjectText = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", min_length=1, max_length=64)
]
"""A common name or an organization: at most 64 characters (RFC 5280, appendix A.1)."""
SUBJECT_ALLOWED = "1 to 64 printable characters"

FilePath = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", min_length=1, max_length=4096)
]
PEM_PATH_ALLOWED = "the path of a PEM file, relative to Pulumi.yaml"

ResourceGroup = Annotated[
    str, StringConstraints(pattern=r"^[-\w.()]*[-\w()]$", min_length=1, max_length=90)
]
"""Azure, "Naming rules and restrictions for Azure resources", Microsoft.Resources."""
RESOURCE_GROUP_ALLOWED = (
    "1 to 90 letters, digits, underscores, hyphens, periods and parentheses, no period at the end"
)

SWITCH_ALLOWED = "true or false"
