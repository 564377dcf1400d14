"""The lab's Azure as it is used: every request to it goes through `Cloud.request`.

A request, from a plug-in, from the CSI stand-in or from a test, meets the faults that are due
(lab.azure.faults), runs as one transaction, and leaves one row in the append-only request log, in
the order in which transactions committed.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.azure import faults
from lab.azure.errors import AzureError, UnmodelledError
from lab.azure.store import Store, Transaction


@dataclass(frozen=True, slots=True)
class Logged:
    """One row of the request log. `outcome`: `ok` or the error's code; `time`: epoch seconds."""

    number: int
    time: float
    operation: str
    id: str
    outcome: str
    process: int


class Cloud:
    """The lab's Azure, kept in `directory`; created there when absent."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._store = Store(directory)

    @contextmanager
    def request(
        self, operation: str, resource_id: str, *, grants: str | None = None
    ) -> Iterator[Transaction]:
        """Run one request as one transaction, with the faults that are due, and log it.

        `operation` is the short ARM or Key Vault action, such as `secrets/write`. An exception
        rolls the transaction back; a refusal is logged under its code. A fault that is due *after*
        the request strikes when its effects have been committed. `grants` is the id of the grant
        that the request makes, for the fault that lets it count late.
        """
        due = faults.due(self._store, operation, resource_id)
        refusal: AzureError | UnmodelledError | None = None
        try:
            faults.strike(self._store, due, after=False)
            with self._store.write() as database:
                transaction = Transaction(database)
                yield transaction
                if grants is not None:
                    _grant(transaction, grants, due)
                _log(database, operation, resource_id, "ok")
        except (AzureError, UnmodelledError) as error:
            refusal = error
        if refusal is not None:
            with self._store.write() as database:
                _log(database, operation, resource_id, refusal.code)
            raise refusal
        faults.strike(self._store, due, after=True)

    @contextmanager
    def glance(self) -> Iterator[Transaction]:
        """Read without being a request: no faults, no log. For the lab's own instruments."""
        with self._store.connect() as database:
            database.execute("BEGIN")
            yield Transaction(database)

    @contextmanager
    def instrument(self) -> Iterator[Transaction]:
        """Change the cloud without being a request, as `lab.azure.seed` does."""
        with self._store.write() as database:
            yield Transaction(database)

    def requests(self, operation: str = "", *, outcome: str | None = "ok") -> list[Logged]:
        """Return the log, oldest first; by default the successful requests only.

        `operation` limits it to one operation or, when it starts with `/`, to all that end so:
        `/write` gives every write. `outcome=None` gives failures too.
        """
        with self._store.connect() as database:
            rows = database.execute("SELECT * FROM requests ORDER BY number").fetchall()
        return [
            row
            for row in (Logged(*values) for values in rows)
            if row.operation.endswith(operation)
            and (operation.startswith("/") or operation in ("", row.operation))
            and outcome in (None, row.outcome)
        ]


def _grant(transaction: Transaction, grant_id: str, due: list[faults.Fault]) -> None:
    late = [fault.effect.access_seconds for fault in due if fault.effect.delays_access]
    seconds = late[0] if late else 0.0
    transaction.delay_grant(grant_id, None if seconds is None else time.time() + seconds)


def _log(database: sqlite3.Connection, operation: str, resource_id: str, outcome: str) -> None:
    database.execute(
        "INSERT INTO requests (time, operation, id, outcome, process) VALUES (?, ?, ?, ?, ?)",
        (time.time(), operation, resource_id, outcome, os.getpid()),
    )
