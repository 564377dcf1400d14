"""The lab's Azure as it is remembered: one SQLite file that many short-lived processes share.

Resources are JSON documents in the shape of azure-native's outputs, keyed by ARM id. The value of
a vault secret lives in a table of its own, so that no document, no request log and no output can
carry it. The file has mode 0600. Nothing but lab.azure.cloud should open it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.azure import ids
from lab.azure.errors import not_found

FILE: Final = "cloud.sqlite"

_LOCK_SECONDS: Final = 30.0
_VERSION: Final = 1
"""Of the tables below; kept in the file."""

_TABLES: Final = """
CREATE TABLE resources (
    key TEXT PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, document TEXT NOT NULL);
CREATE TABLE deleted (
    key TEXT PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, document TEXT NOT NULL);
CREATE TABLE secret_values (
    key TEXT PRIMARY KEY, version TEXT NOT NULL, value TEXT NOT NULL);
CREATE TABLE late_grants (key TEXT PRIMARY KEY, until REAL);
CREATE TABLE requests (
    number INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, operation TEXT NOT NULL,
    id TEXT NOT NULL, outcome TEXT NOT NULL, process INTEGER NOT NULL);
CREATE TABLE faults (
    number INTEGER PRIMARY KEY AUTOINCREMENT, operation TEXT NOT NULL, resource TEXT NOT NULL,
    first INTEGER NOT NULL, times INTEGER, effect TEXT NOT NULL,
    calls INTEGER NOT NULL DEFAULT 0, released INTEGER NOT NULL DEFAULT 0);
"""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """A resource as the cloud holds it: its ARM id, its ARM type, its document."""

    id: str
    kind: str
    document: Document


class Transaction:
    """What one request may read and write. Made by `Cloud.request`, gone when that ends."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def find(self, resource_id: str) -> Stored | None:
        """Return the resource, or None."""
        return self._one("SELECT id, kind, document FROM resources WHERE key = ?", resource_id)

    def get(self, resource_id: str) -> Stored:
        """Return the resource; AzureError (404, ResourceNotFound) when there is none."""
        found = self.find(resource_id)
        if found is None:
            raise not_found(resource_id)
        return found

    def of_kind(self, kind: str) -> list[Stored]:
        """Return every resource of an ARM type, ordered by id."""
        return self._many("SELECT id, kind, document FROM resources WHERE kind = ?", kind)

    def within(self, resource_id: str) -> list[Stored]:
        """Return every resource below an id, such as all that a resource group contains."""
        return self._many(
            "SELECT id, kind, document FROM resources WHERE substr(key, 1, length(?1)) = ?1",
            ids.key(resource_id) + "/",
        )

    def put(self, resource_id: str, kind: str, document: Document) -> Stored:
        """Write the resource whole; its id keeps the case in which it was first written."""
        known = self.find(resource_id)
        stored = Stored(known.id if known else resource_id, kind, document)
        self._database.execute(
            "INSERT OR REPLACE INTO resources VALUES (?, ?, ?, ?)",
            (ids.key(stored.id), stored.id, kind, json.dumps(document)),
        )
        return stored

    def remove(self, resource_id: str) -> None:
        """Forget the resource and, for a secret, its value."""
        self._database.execute("DELETE FROM resources WHERE key = ?", (ids.key(resource_id),))
        self._database.execute("DELETE FROM secret_values WHERE key = ?", (ids.key(resource_id),))

    def soft_delete(self, resource_id: str) -> None:
        """Move the resource to where `soft_deleted` and `recover` find it."""
        self._move("resources", "deleted", resource_id)

    def soft_deleted(self, resource_id: str) -> Stored | None:
        """Return the soft-deleted resource of this id, or None."""
        return self._one("SELECT id, kind, document FROM deleted WHERE key = ?", resource_id)

    def soft_deleted_of_kind(self, kind: str) -> list[Stored]:
        """Return every soft-deleted resource of an ARM type, ordered by id."""
        return self._many("SELECT id, kind, document FROM deleted WHERE kind = ?", kind)

    def recover(self, resource_id: str) -> None:
        """Bring a soft-deleted resource back as it was."""
        self._move("deleted", "resources", resource_id)

    def purge(self, resource_id: str) -> None:
        """Forget a soft-deleted resource for good."""
        self._database.execute("DELETE FROM deleted WHERE key = ?", (ids.key(resource_id),))
        self._database.execute("DELETE FROM secret_values WHERE key = ?", (ids.key(resource_id),))

    def secret_value(self, secret_id: str) -> tuple[str, str] | None:
        """Return (version, value) of a secret, or None."""
        row = self._database.execute(
            "SELECT version, value FROM secret_values WHERE key = ?", (ids.key(secret_id),)
        ).fetchone()
        return None if row is None else (str(row[0]), str(row[1]))

    def set_secret_value(self, secret_id: str, value: str) -> str:
        """Store the value and return its version: a new one only when the value changed."""
        current = self.secret_value(secret_id)
        if current is not None and current[1] == value:
            return current[0]
        version = uuid.uuid4().hex
        self._database.execute(
            "INSERT OR REPLACE INTO secret_values VALUES (?, ?, ?)",
            (ids.key(secret_id), version, value),
        )
        return version

    def delay_grant(self, grant_id: str, until: float | None) -> None:
        """Let a grant count only from `until` (epoch seconds; None: until released)."""
        self._database.execute(
            "INSERT OR REPLACE INTO late_grants VALUES (?, ?)", (ids.key(grant_id), until)
        )

    def grant_is_late(self, grant_id: str) -> bool:
        """Tell whether a grant (role assignment, access policy) is still on its way."""
        row = self._database.execute(
            "SELECT until FROM late_grants WHERE key = ?", (ids.key(grant_id),)
        ).fetchone()
        return row is not None and (row[0] is None or time.time() < row[0])

    def dump(self) -> Iterator[str]:
        """Return all that is stored, as SQL: for tests that look for what must not be there."""
        return self._database.iterdump()

    def _one(self, query: str, resource_id: str) -> Stored | None:
        row = self._database.execute(query, (ids.key(resource_id),)).fetchone()
        return None if row is None else Stored(row[0], row[1], json.loads(row[2]))

    def _many(self, query: str, argument: str) -> list[Stored]:
        rows = self._database.execute(f"{query} ORDER BY key", (argument,))
        return [Stored(row[0], row[1], json.loads(row[2])) for row in rows]

    def _move(self, source: str, target: str, resource_id: str) -> None:
        key = (ids.key(resource_id),)
        self._database.execute(
            f"INSERT OR REPLACE INTO {target} SELECT * FROM {source} WHERE key = ?", key
        )
        self._database.execute(f"DELETE FROM {source} WHERE key = ?", key)


class Store:
    """The file, in `directory`; both are created when absent.

    Raises RuntimeError for a file that another version of the lab made.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = directory / FILE
        if not self._file.exists():
            self._create()
        with self.connect() as database:
            if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                raise RuntimeError(
                    f"{self._file}: made by another version of the lab; remove the directory"
                )

    @contextmanager
    def connect(self) -> Iterator[sqlite3.Connection]:
        """Open the file; each statement commits by itself."""
        with closing(_open(self._file)) as database:
            yield database

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Open the file as its one writer: all that is done is committed, or on error none."""
        with self.connect() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    def _create(self) -> None:
        """Make the file elsewhere and put it in place whole: others may be doing the same."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.directory) as folder:
            file = Path(folder) / FILE
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            with closing(_open(file)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(_TABLES)
                database.execute(f"PRAGMA user_version = {_VERSION}")
            with suppress(FileExistsError):
                os.link(file, self._file)


def _open(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=_LOCK_SECONDS, isolation_level=None)
    # The lab must survive killed processes, not power cuts: the system keeps what was written.
    database.execute("PRAGMA synchronous = OFF")
    return database
