"""A declared mock of a payment provider: no public one can be had for tests. It keeps its own books, in its own file.

An account that nobody has set up has as much as is asked for. `offline` and `account` are how a test, or somebody who
tries the centre out, makes it fail.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from central.payments.provider import Declined, Done, ProviderUnreachableError, Request

_SCHEMA = """
CREATE TABLE IF NOT EXISTS moved (request_id TEXT PRIMARY KEY, account TEXT NOT NULL, amount_fen INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (account TEXT PRIMARY KEY, balance_fen INTEGER NOT NULL);
"""


class MockProvider:
    """Moves money that does not exist; what it has moved outlives it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.offline = ""
        """`before`: it does nothing and gives no answer; `after`: it does what it is asked, and gives no answer."""
        with closing(self._open()) as sql:
            sql.executescript(_SCHEMA)

    async def charge(self, request: Request) -> Done | Declined:
        """Take the amount, once; declined when the account has less."""
        return await asyncio.to_thread(self._move, request, -request.amount_fen)

    async def refund(self, request: Request) -> Done | Declined:
        """Give the amount, once."""
        return await asyncio.to_thread(self._move, request, request.amount_fen)

    def account(self, account: str, balance_fen: int) -> None:
        """Give an account so much, and no more."""
        with closing(self._open()) as sql, sql:
            sql.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?)", (account, balance_fen))

    def moved_fen(self, account: str) -> list[int]:
        """Return what was moved on an account, oldest first: negative what was taken."""
        with closing(self._open()) as sql:
            rows = sql.execute("SELECT amount_fen FROM moved WHERE account = ? ORDER BY rowid", (account,))
            return [amount_fen for (amount_fen,) in rows]

    def _move(self, request: Request, amount_fen: int) -> Done | Declined:
        if self.offline == "before":
            raise ProviderUnreachableError("the mock is offline")
        with closing(self._open()) as sql, sql:
            answer = self._booked(sql, request, amount_fen)
        if self.offline:
            raise ProviderUnreachableError("the mock went offline")
        return answer

    def _booked(self, sql: sqlite3.Connection, request: Request, amount_fen: int) -> Done | Declined:
        done = Done(f"mock-{request.request_id}")
        if sql.execute("SELECT 1 FROM moved WHERE request_id = ?", (request.request_id,)).fetchone():
            return done
        row = sql.execute("SELECT balance_fen FROM accounts WHERE account = ?", (request.account,)).fetchone()
        if row is not None and row[0] + amount_fen < 0:
            return Declined("not enough on the account")
        sql.execute("INSERT INTO moved VALUES (?, ?, ?)", (request.request_id, request.account, amount_fen))
        sql.execute(
            "UPDATE accounts SET balance_fen = balance_fen + ? WHERE account = ?",
            (amount_fen, request.account),
        )
        return done

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=10)
