"""What azure-native does for every resource type alike; the types add what ARM does with them.

Names and locations by default, Check against the schema, Diff of inputs, preview outputs, GET
before PUT, refresh by comparing outputs, import: facts/pulumi.md 2.2 and azure-native's source at
006a62af (provider.go). The calls are made one by one, each a request to the cloud.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import grpc

from lab.azure import ids, modelled
from lab.azure.cloud import Cloud
from lab.azure.errors import AzureError
from lab.azure.store import Document, Transaction
from lab.provider import differences, schema
from lab.provider.errors import PartialFailureError, ProviderError
from lab.provider.plugin import Checked, Difference, Live, Naming, Written
from lab.provider.values import UNKNOWN, Properties, has_unknown

_CREATE_BEFORE_DELETE: Final = "__createBeforeDelete"
_API_VERSION: Final = "azureApiVersion"
_OURS: Final = (_CREATE_BEFORE_DELETE, _API_VERSION)
"""Inputs that Check adds and that Azure never sees."""


class Account:
    """What the provider's configuration decides for all resources, and the cloud they are in."""

    def __init__(self, state: Path) -> None:
        self.cloud = Cloud(state)
        self.location: str | None = None


class AzureResource(ABC):
    """One resource type of azure-native; the subclasses say what ARM makes of a PUT."""

    token: ClassVar[str]
    operations: ClassVar[str]
    """Prefix of its operations in the request log: `vaults` gives `vaults/write`."""
    name_input: ClassVar[str]
    naming: ClassVar[Literal["random", "copy", "uuid", "none"]] = "random"
    patterns: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Inputs and the regular expressions of the ARM specification that Check holds them to."""
    replaces: ClassVar[tuple[str, ...]] = ()
    """Paths whose change replaces the resource (azure-native's forceNew)."""
    has_location: ClassVar[bool] = True

    secret_outputs: tuple[str, ...] = ()

    def __init__(self, account: Account) -> None:
        self.account = account
        self.schema = schema.load(modelled.SCHEMA, self.token)

    # -- what the subclasses say ---------------------------------------------------------------

    @abstractmethod
    def id_of(self, inputs: Properties) -> str:
        """Return the ARM id that the inputs name."""

    @abstractmethod
    def names_in(self, resource_id: str) -> Properties:
        """Return the inputs that an id gives away, for import."""

    @abstractmethod
    def put(self, transaction: Transaction, resource_id: str, inputs: Properties) -> Document:
        """Do what ARM does at a PUT, and return the resource as a GET would then show it."""

    @abstractmethod
    def drop(self, transaction: Transaction, resource_id: str) -> None:
        """Do what ARM does at a DELETE; AzureError 404 when there is nothing."""

    def find(self, transaction: Transaction, resource_id: str) -> Document | None:
        """Return the resource as a GET shows it, or None."""
        stored = transaction.find(resource_id)
        return None if stored is None else stored.document

    def before_create(self, resource_id: str) -> None:  # noqa: B027 - most types need nothing
        """Make what requests a create needs first."""

    def refuse_existing(self, resource_id: str, inputs: Properties) -> ProviderError:
        """Return azure-native's refusal to create what exists."""
        return ProviderError(
            grpc.StatusCode.ALREADY_EXISTS,
            f"cannot create already existing resource '{resource_id}'",
        )

    def inline_children(self, inputs: Properties, outputs: Properties) -> Properties:
        """Return the outputs without children that the inputs leave to resources of their own."""
        return outputs

    def grant_of(self, resource_id: str) -> str | None:
        """Return the id of the access grant that a PUT makes, if it makes one."""
        return None

    def check_enums(self, inputs: Properties) -> None:
        """Refuse a value outside its enum as ARM does, at the PUT: azure-native lets it by."""
        for path, value, allowed in schema.outside_enums(self.schema, inputs):
            raise AzureError(
                400,
                "InvalidParameter",
                f"The value of parameter '{path}' is invalid: '{value}'."
                f" Allowed: {', '.join(allowed)}.",
            )

    # -- lab.provider.plugin.Resource ----------------------------------------------------------

    def check(self, naming: Naming, olds: Properties, news: Properties) -> Checked:
        """Add name, location and API version, and validate against schema and patterns."""
        inputs = dict(news)
        self._default_name(naming, olds, inputs)
        if self.has_location and "location" not in inputs:
            location = self._default_location(olds, inputs)
            if location is not None:
                inputs["location"] = location
        if self.schema.api_version is not None:
            inputs.setdefault(_API_VERSION, self.schema.api_version)
        return Checked(inputs, self._failures(_without_ours(inputs), olds))

    def diff(
        self, resource_id: str, old_inputs: Properties, old_state: Properties, news: Properties
    ) -> Difference:
        """Compare inputs with inputs; after an import the state fills in for missing ones."""
        olds = dict(old_inputs)
        if _API_VERSION not in olds and _API_VERSION in old_state:
            olds[_API_VERSION] = old_state[_API_VERSION]
        changes = differences.changes(olds, news, replaces=self.replaces, same=_same)
        return Difference(
            [_unless_in_place(change, old_state, news) for change in changes],
            delete_first=not old_inputs.get(_CREATE_BEFORE_DELETE, False),
        )

    def create(self, inputs: Properties, preview: bool) -> Written:
        """GET, refuse what exists, PUT."""
        if preview:
            return Written("", schema.preview(self.schema, _without_ours(inputs)))
        resource_id = self.id_of(inputs)
        if self.get(resource_id) is not None:
            raise self.refuse_existing(resource_id, inputs)
        self.before_create(resource_id)
        return Written(resource_id, self._write(resource_id, inputs))

    def read(self, resource_id: str, inputs: Properties, state: Properties) -> Live | None:
        """GET; on refresh carry into the inputs what changed in Azure, on import all of it."""
        outputs = self.get(resource_id)
        if outputs is None:
            return None
        if not inputs:
            projected = schema.project(self.schema, outputs)
            return Live(resource_id, {**projected, **self.names_in(resource_id)}, outputs)
        outputs = self.inline_children(inputs, outputs)
        before = schema.project(self.schema, state)
        after = schema.project(self.schema, outputs)
        return Live(resource_id, _carry(inputs, before, after), outputs)

    def update(
        self, resource_id: str, state: Properties, news: Properties, preview: bool
    ) -> Properties:
        """PUT; in a preview every output that is no input may change, except name and place."""
        if preview:
            outputs = schema.preview(self.schema, _without_ours(news))
            for name in ("name", "location"):
                if name in state:
                    outputs[name] = state[name]
            return outputs
        return self._write(resource_id, news)

    def delete(self, resource_id: str, inputs: Properties, state: Properties) -> None:
        """DELETE; gone already is fine."""
        try:
            with self.account.cloud.request(f"{self.operations}/delete", resource_id) as found:
                self.drop(found, resource_id)
        except AzureError as error:
            if error.status != 404:
                raise

    def get(self, resource_id: str) -> Properties | None:
        """GET: the outputs of the resource, or None."""
        with self.account.cloud.request(f"{self.operations}/read", resource_id) as transaction:
            found = self.find(transaction, resource_id)
        return None if found is None else self._outputs(found)

    # -- parts ---------------------------------------------------------------------------------

    def _write(self, resource_id: str, inputs: Properties) -> Properties:
        written: Properties | None = None
        body = _without_ours(inputs)
        try:
            with self.account.cloud.request(
                f"{self.operations}/write", resource_id, grants=self.grant_of(resource_id)
            ) as transaction:
                self.check_enums(body)
                written = self._outputs(self.put(transaction, resource_id, body))
        except AzureError as error:
            if written is None or not error.after_effect:
                raise
            # The PUT was accepted and its long-running operation failed: azure-native keeps what
            # it can read of the resource and reports the error (HandleErrorWithCheckpoint).
            raise PartialFailureError(resource_id, written, [str(error)]) from error
        return written

    def _outputs(self, document: Document) -> Properties:
        version = self.schema.api_version
        return {**document, **({_API_VERSION: version} if version else {})}

    def _failures(self, inputs: Properties, olds: Properties) -> list[str]:
        found = schema.failures(self.schema, inputs, olds)
        if self.has_location and "location" not in inputs:
            found.append(
                "missing required property 'location'. Either set it explicitly or configure it"
                " with 'pulumi config set azure-native:location <value>'."
            )
        for name, pattern in self.patterns:
            value = inputs.get(name)
            if isinstance(value, str) and not re.search(pattern, value):
                found.append(f"'{name}' does not match expression '{pattern}'")
        return found

    def _default_name(self, naming: Naming, olds: Properties, inputs: Properties) -> None:
        if self.name_input in inputs or self.naming == "none" or naming.mode == "disable":
            return
        if self.name_input in olds:
            name, random = olds[self.name_input], bool(olds.get(_CREATE_BEFORE_DELETE))
        elif naming.mode == "enforce" or (naming.mode == "propose" and self.naming != "uuid"):
            name, random = naming.proposed, True
        elif self.naming == "copy":
            name, random = naming.name, False
        else:
            digest = hashlib.sha256(naming.seed + naming.name.encode()).hexdigest()
            suffixed = f"{naming.name}{digest[:8]}"
            name = suffixed if self.naming == "random" else str(uuid.UUID(digest[:32]))
            random = True
        inputs[self.name_input] = name
        if random:
            inputs[_CREATE_BEFORE_DELETE] = True

    def _default_location(self, olds: Properties, inputs: Properties) -> Any:
        if "location" in olds:
            return olds["location"]
        if self.account.location is not None:
            return self.account.location
        group = inputs.get("resourceGroupName")
        if group is None:
            return None
        if has_unknown(group):
            return UNKNOWN
        with self.account.cloud.glance() as transaction:
            found = transaction.find(ids.resource_group(str(group)))
        return None if found is None else found.document["location"]


def _unless_in_place(
    change: differences.Change, old_state: Properties, news: Properties
) -> differences.Change:
    """Return the change without replacement when the state already holds the new value."""
    name = change.path
    if change.kind is differences.Kind.ADD and name in news and name in old_state:
        return replace(change, replaces=change.replaces and old_state[name] != news[name])
    return change


def _without_ours(inputs: Properties) -> Properties:
    return {name: value for name, value in inputs.items() if name not in _OURS}


def _same(path: str, old: Any, new: Any) -> bool:
    return path == "location" and normal_location(str(old)) == normal_location(str(new))


def normal_location(location: str) -> str:
    """Return a location as ARM writes it: `West Europe` becomes `westeurope`."""
    return location.replace(" ", "").lower()


def _carry(inputs: Properties, before: Mapping[str, Any], after: Mapping[str, Any]) -> Properties:
    """Return the inputs with the changes that took place between two states of the outputs.

    What did not change stays as the program wrote it, whatever Azure added by itself.
    """
    carried = dict(inputs)
    for name in {**before, **after}:
        if before.get(name) == after.get(name):
            continue
        if name not in after:
            carried.pop(name, None)
        elif all(isinstance(side.get(name), Mapping) for side in (before, after, carried)):
            carried[name] = _carry(carried[name], before[name], after[name])
        else:
            carried[name] = after[name]
    return carried
