"""Full lists: immutable SQLite files made and signed by the centre, checked here and swapped in by one commit."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path

from admission.entitlements import CreditLine, CreditOrder, Membership, SubjectRights
from admission.facts import ListInfo
from admission.terms import read_terms
from admission.tickets import Product, Ticket, read_status
from offline_cache.database import Database
from offline_cache.journal import get_state, set_state
from offline_cache.overlay import withdraw

FORMAT = 1
_STATE = "list"
_STEP_BYTES = 256 * 1024
_PAUSE_S = 0.0005
"""A big file is read and given back in steps: a thread that ran on for long would keep decisions off their core."""


@lru_cache(maxsize=256)
def product_of(row: tuple[str, str, str, str, str]) -> Product:
    """Return the product that a row of a list or of a change describes; few products, asked for at every scan."""
    code, name_zh, name_en, site_ids, terms = row
    return Product(code, name_zh, name_en, frozenset(json.loads(site_ids)), read_terms(terms))


class ListRejectedError(ValueError):
    """A list file is not what was promised; the list in use stays."""


class ListFile:
    """An open list; belongs to the thread that runs the database's closures."""

    def __init__(self, path: Path) -> None:
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        self._sql = sqlite3.connect(uri, uri=True, check_same_thread=False)
        try:
            self._read_head()
        except BaseException:
            self._sql.close()
            raise

    def _read_head(self) -> None:
        version = self._sql.execute("PRAGMA user_version").fetchone()[0]
        if version != FORMAT:
            raise ValueError(f"its format is {version}, not {FORMAT}")
        meta = dict(self._sql.execute("SELECT name, value FROM meta"))
        self.site_id = str(meta["site_id"])
        self.info = ListInfo(version=int(meta["version"]), as_of_s=int(meta["as_of_s"]))
        self.revision = int(meta.get("revision", 0))
        self._has_documents = self._has("documents")
        self._has_clearances = self._has("clearances")
        self._has_credit_orders = self._has("credit_orders")
        self.policy_document = self._policy() if self._has("policy") else ""
        self.watermarks: dict[str, int] = dict(self._sql.execute("SELECT box_id, seq_no FROM watermarks"))
        rows = self._sql.execute("SELECT code, name_zh, name_en, site_ids, terms FROM products")
        self._products = {row[0]: row for row in rows}  # read into terms when one is asked for: that may fail

    def ticket(self, key: bytes) -> Ticket | None:
        """Return the ticket under `key`, or None."""
        row = self._sql.execute(
            "SELECT status, product, quantity, refunded, used, valid_from_s, valid_until_s"
            " FROM tickets WHERE key = ?",
            (key,),
        ).fetchone()
        if row is None:
            return None
        status, product, quantity, refunded, used, from_s, until_s = row
        counters = self._counters(key) if self._counts(product) else {}
        return Ticket(read_status(status), product, quantity, refunded, used, from_s, until_s, counters)

    def _counters(self, key: bytes) -> dict[str, int]:
        return dict(self._sql.execute("SELECT counter, used FROM ticket_counters WHERE key = ?", (key,)))

    def _counts(self, code: str) -> bool:
        """Return whether entries of the product are counted beside the total; of an unknown one they may be."""
        product = self.product(code)
        return product is None or product.terms.counters

    def product(self, code: str) -> Product | None:
        """Return the product, or None."""
        row = self._products.get(code)
        return product_of(row) if row else None

    def subject(self, key: bytes) -> SubjectRights:
        """Return everything the list says of the subject; empty when it does not know it."""
        members = self._sql.execute(
            "SELECT group_id, from_s, until_s FROM memberships WHERE key = ?", (key,)
        ).fetchall()
        used = self._sql.execute("SELECT scope, used FROM free_visits WHERE key = ?", (key,)).fetchall()
        line = self._sql.execute(
            "SELECT limit_fen, per_visit_fen, outstanding_fen, until_s FROM credit_lines WHERE key = ?",
            (key,),
        ).fetchone()
        return SubjectRights(
            memberships=tuple(Membership(*row) for row in members),
            free_visits_used=dict(used),
            credit_line=CreditLine(*line) if line else None,
            credit_orders=self._credit_orders(key),
        )

    def _credit_orders(self, key: bytes) -> tuple[CreditOrder, ...]:
        if not self._has_credit_orders:
            return ()
        rows = self._sql.execute(
            "SELECT order_id, site_id, fare_fen, quantity, used, from_s, until_s"
            " FROM credit_orders WHERE key = ?",
            (key,),
        )
        return tuple(CreditOrder(*row) for row in rows)

    def holders(self, document: bytes) -> dict[bytes, bool]:
        """Return whose the document is and what was bought on it: keys, with True for those of tickets."""
        if not self._has_documents:
            return {}
        found = self._sql.execute("SELECT holder, is_ticket FROM documents WHERE key = ?", (document,))
        return {holder: bool(is_ticket) for holder, is_ticket in found}

    def clearances(self, key: bytes) -> dict[str, tuple[str, int]]:
        """Return what was found about the holder of `key`: by provider, a colour and its end."""
        if not self._has_clearances:
            return {}
        found = self._sql.execute("SELECT provider, colour, until_s FROM clearances WHERE key = ?", (key,))
        return {provider: (colour, until_s) for provider, colour, until_s in found}

    def withdrawn_keys(self) -> list[tuple[bytes, int]]:
        """Return the issuer keys that were withdrawn, each with its revision; none in a list that has no such table."""
        known = self._has("withdrawn_keys")
        return self._sql.execute("SELECT key_id, revision FROM withdrawn_keys").fetchall() if known else []

    def _policy(self) -> str:
        """Return the policy document that came with the list, empty for none."""
        row = self._sql.execute("SELECT document FROM policy").fetchone()
        return str(row[0]) if row else ""

    def _has(self, table: str) -> bool:
        """Return whether the list has the table: one that an earlier centre built may not."""
        return bool(self._sql.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone())

    def close(self) -> None:
        """Close the file."""
        self._sql.close()


@dataclass(frozen=True, slots=True)
class _Kept:
    """The box's note of the list it uses."""

    site_id: str
    version: int
    name: str
    sha256: str
    revision: int = 0


class ListShelf:
    """Holds the list in use and takes in newer ones.

    Which list is in use is a row of the box's database, so a kill at any point leaves the old one or the new one.
    `on_use` is called with each list that is put in use.
    """

    def __init__(
        self,
        folder: Path,
        site_id: str,
        database: Database,
        on_use: Callable[[ListFile], None] = lambda _: None,
    ) -> None:
        self._on_use = on_use
        self._folder = folder
        self._site_id = site_id
        self._database = database
        self._in_use: ListFile | None = None
        self._floor = _Kept(site_id, 0, "", "")
        self.problem = ""

    @property
    def floor(self) -> int:
        """The highest version that this box has had; it outlives the file and keeps older lists out."""
        return self._floor.version

    @property
    def revision(self) -> int:
        """The revision up to which this box has had all rights in a list; it outlives the file too."""
        return self._floor.revision

    @property
    def info(self) -> ListInfo | None:
        """What is in use, or None when the box has no list."""
        return self._in_use.info if self._in_use else None

    @property
    def version(self) -> int:
        """Version of the list in use, 0 for none."""
        return self._in_use.info.version if self._in_use else 0

    @property
    def in_use(self) -> ListFile | None:
        """The open list, for closures on the database's thread."""
        return self._in_use

    def new_part(self, name: str = "incoming") -> Path:
        """Return where to put a file that is to be installed; what is there of another name is thrown away."""
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f"{name}.part"
        for other in self._folder.glob("*.part*"):  # packed ones have one more ending
            if not other.name.startswith(part.name):
                other.unlink()
        return part

    async def load(self) -> None:
        """Open the list that was in use; a damaged one is left out, and `problem` says so until a new one comes."""
        self._folder.mkdir(parents=True, exist_ok=True)
        kept = await self._database.read(self._kept)
        if kept is None:
            return
        self._floor = kept
        path = self._folder / kept.name
        try:
            await asyncio.to_thread(_verify, path, bytes.fromhex(kept.sha256))
            self._in_use = await self._database.read(lambda _: _open(path, self._site_id))
        except ListRejectedError as error:
            self.problem = f"the kept list cannot be used: {error}"
            return
        self._on_use(self._in_use)

    async def install(self, part: Path, version: int, sha256: bytes) -> None:
        """Check `part` and put it in use; ListRejectedError, and nothing changed, when it is not as promised.

        A part that is rejected is removed: nothing is to be built on it.
        """
        try:
            await self._install(part, version, sha256)
        except ListRejectedError:
            await asyncio.to_thread(part.unlink, missing_ok=True)
            raise

    async def _install(self, part: Path, version: int, sha256: bytes) -> None:
        if version <= self.version or version < self.floor:
            raise ListRejectedError(f"version {version} is not newer than what this box has had")
        await asyncio.to_thread(_verify, part, sha256)
        fresh = await self._database.read(lambda _: _open_checked(part, self._site_id, version))
        path = self._folder / f"{version}-{sha256.hex()[:12]}.list"
        await asyncio.to_thread(_move, part, path)
        kept = _Kept(self._site_id, version, path.name, sha256.hex(), fresh.revision)
        await self._database.write(lambda sql: _keep(sql, kept, fresh))
        await self._database.read(lambda _: self._swap(fresh))
        self._floor = kept
        self.problem = ""
        self._on_use(fresh)
        await asyncio.to_thread(self._sweep, path)

    async def close(self) -> None:
        """Close the list in use."""
        if self._in_use is not None:
            await self._database.read(lambda _: self._swap(None))

    def _kept(self, sql: sqlite3.Connection) -> _Kept | None:
        """Return what was last put in use for this site; also a list that is damaged since keeps older ones out."""
        row = get_state(sql, _STATE)
        kept = _Kept(*json.loads(str(row))) if row is not None else None
        return kept if kept is not None and kept.site_id == self._site_id else None

    def _swap(self, fresh: ListFile | None) -> None:
        old, self._in_use = self._in_use, fresh
        if old is not None:
            old.close()

    def _sweep(self, keep: Path) -> None:
        for path in self._folder.glob("*.list"):
            if path != keep:
                _remove(path)


def _keep(sql: sqlite3.Connection, kept: _Kept, fresh: ListFile) -> None:
    """Note the list in use; the keys that it withdraws are remembered beyond it."""
    withdraw(sql, fresh.withdrawn_keys())
    set_state(sql, _STATE, json.dumps(astuple(kept)))


def _verify(path: Path, sha256: bytes) -> None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while data := file.read(_STEP_BYTES):
                digest.update(data)
                time.sleep(_PAUSE_S)
    except OSError as error:
        raise ListRejectedError(f"{path.name} cannot be read: {error}") from error
    if digest.digest() != sha256:
        raise ListRejectedError(f"{path.name} has another content than the signed manifest names")


def _remove(path: Path) -> None:
    """Remove the file, its name at once and its content little by little."""
    with path.open("r+b") as file:
        path.unlink()
        for size_bytes in range(os.fstat(file.fileno()).st_size - 1, -1, -_STEP_BYTES):
            file.truncate(size_bytes // _STEP_BYTES * _STEP_BYTES)
            time.sleep(_PAUSE_S)


def _move(part: Path, path: Path) -> None:
    """Rename, and make both the content and the new name survive a power cut."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _open(path: Path, site_id: str) -> ListFile:
    try:
        opened = ListFile(path)
    except (sqlite3.DatabaseError, KeyError, ValueError) as error:
        raise ListRejectedError(f"{path.name} is not a list: {error}") from error
    if opened.site_id != site_id:
        opened.close()
        raise ListRejectedError(f"{path.name} is for site {opened.site_id}, not {site_id}")
    return opened


def _open_checked(path: Path, site_id: str, version: int) -> ListFile:
    opened = _open(path, site_id)
    if opened.info.version != version:
        opened.close()
        raise ListRejectedError(f"{path.name} says it is version {opened.info.version}, not {version}")
    return opened
