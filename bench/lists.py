"""Lists of a million entitled subjects and 400,000 tickets: built, installed on a box that works, changed, looked up.

`make bench-lists`, or with less: `python -m bench.lists --subjects 100000 --tickets 40000`. One JSON object; each ratio
compares with the same bytes in the same run: the install with hashing, SQLite's quick_check and an fsync of the file,
lookups with the same statements in plain sqlite3, changes with the full list. The stall is the longest wait of a
decision beside the install, less the longest of an idle stretch as long.

A list arrives packed. Unpacking is held back on purpose, as fetching is, so that decisions do not queue behind its
flushes: `unpack_s` says how long it takes and `unpacking_ms` what decisions wait meanwhile, `plain_unpack_s` how long
zlib alone takes; the ratio counts neither.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import shutil
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, bindparam, insert, update

from admission.codes import TicketCode, Validity
from admission.keys import new_signing_key
from bench._lists import sha256
from bench._times import summed_up
from bench.list_changes import POLICY, Scans
from central.changes import for_site, messages_since
from central.lists import build_list
from central.publishing import packed_path
from central.schema import credit_lines, memberships, products, store_facts, tickets
from central.sql import insert_new
from central.store import Store as CentreStore
from central.store import open_store
from demo.world import SITE_ID
from gate_agent.app import spare_collector
from offline_cache.database import Database
from offline_cache.lists import ListFile, ListShelf
from offline_cache.store import Store
from sync.fetch import unpack
from sync.protocol import encode_changes

SUBJECTS, TICKETS = 1_000_000, 400_000
CHANGED_SHARE = 0.01
LOOKUPS = 20_000
CREDIT_EVERY = 5
"""One subject in so many has a credit line."""
_AT_ONCE = 50_000
_BARS = {"install_ratio": 2.0, "stall_ms": 10.0, "changed_share": 0.015, "lookup_ratio": 0.6}


def fill(connection: Connection, keys: Sequence[bytes], ids: Sequence[bytes]) -> None:
    """Give every subject a place in a group, some a credit line, and sell the tickets; all as revision 1."""
    row = {"name_zh": "票", "name_en": "Ticket", "site_ids": f'["{SITE_ID}"]', "terms": "", "revision": 1}
    connection.execute(insert(products), {"code": "DAY1", **row})
    for some in _parts(keys):
        placed = {"group_id": "五星级志愿者", "from_s": 0, "until_s": 1 << 40, "revision": 1}
        connection.execute(insert(memberships), [{"key": key, **placed} for key in some])
        line = {"limit_fen": 20_000, "per_visit_fen": 10_000, "until_s": 1 << 40, "revision": 1}
        connection.execute(insert(credit_lines), [{"key": key, **line} for key in some[::CREDIT_EVERY]])
    sold = {"issuer": "", "product": "DAY1", "quantity": 1000, "valid_from_s": 0, "valid_until_s": 1 << 40}
    for some in _parts(ids):
        connection.execute(insert(tickets), [{"key": key, **sold, "revision": 1} for key in some])
    insert_new(connection, store_facts, [{"name": "revision", "value": "1"}])


def change(connection: Connection, keys: Sequence[bytes], ids: Sequence[bytes]) -> int:
    """Change one row in a hundred, each as a revision of its own; return the last of them."""
    revision = 1
    for table, some in ((memberships, keys), (tickets, ids)):
        changed = some[: int(len(some) * CHANGED_SHARE)]
        numbered = [{"is_key": key, "revision": revision + n} for n, key in enumerate(changed, 1)]
        revision += len(changed)
        connection.execute(update(table).where(table.c.key == bindparam("is_key")), numbered)
    connection.execute(
        update(store_facts).where(store_facts.c.name == "revision").values(value=str(revision))
    )
    return revision


def _parts(items: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE)]


def took(work: Callable[[], object]) -> float:
    """Return how long something takes, seconds."""
    began_s = time.monotonic()
    work()
    return time.monotonic() - began_s


def flush(path: Path) -> None:
    """Have a file on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def quick_check(path: Path) -> None:
    """Let SQLite look through a file."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as sql:
        assert sql.execute("PRAGMA quick_check").fetchone() == ("ok",)


async def installed(folder: Path, built: Path, ids: Sequence[bytes]) -> dict[str, Any]:
    """Install the list on a box that decides meanwhile; return how long it takes and what decisions wait."""
    database = await Database.open(folder / "box")
    shelf = ListShelf(folder / "box" / "lists", SITE_ID, database)
    store = Store(database, shelf, box_id="B1", site_id=SITE_ID, new_id=lambda: secrets.token_bytes(16))
    digest = await asyncio.to_thread(sha256, built)
    before = shelf.new_part("8")
    await asyncio.to_thread(shutil.copyfile, built, before)
    await asyncio.to_thread(_renumber, before, 8)
    await shelf.install(before, 8, await asyncio.to_thread(sha256, before))
    spare_collector()
    scans = Scans(store, [TicketCode(name, "DAY1", Validity(0, 1 << 40, 1)) for name in ids[:1000]])
    running = asyncio.create_task(scans.run())
    try:
        part = shelf.new_part("9")
        scans.take()
        began_s = time.monotonic()
        await unpack(packed_path(built), part, await asyncio.to_thread(os.path.getsize, built))
        unpack_s = time.monotonic() - began_s
        unpacking_ms = scans.take()
        await asyncio.sleep(1)
        scans.take()
        began_s = time.monotonic()
        await shelf.install(part, 9, digest)
        install_s = time.monotonic() - began_s
        beside_ms = scans.take()
        await asyncio.sleep(max(1.0, install_s))
        idle_ms = scans.take()
    finally:
        running.cancel()
        await asyncio.wait((running,))
        await shelf.close()
        await database.close()
    return {
        "unpack_s": unpack_s,
        "unpacking_ms": unpacking_ms,
        "install_s": install_s,
        "beside_ms": beside_ms,
        "idle_ms": idle_ms,
    }


def _renumber(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as sql, sql:
        sql.execute("UPDATE meta SET value = ? WHERE name = 'version'", (version,))


def looked_up(path: Path, ids: Sequence[bytes]) -> dict[str, float]:
    """Return how many tickets a second are found by the list file, and by the same statements alone."""
    some = random.Random(7).sample(ids, LOOKUPS)
    opened = ListFile(path)
    ours_s = took(lambda: [opened.ticket(key) for key in some])
    opened.close()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as sql:

        def plain() -> None:
            for key in some:
                sql.execute(
                    "SELECT status, product, quantity, refunded, used, valid_from_s, valid_until_s"
                    " FROM tickets WHERE key = ?",
                    (key,),
                ).fetchone()

        plain_s = took(plain)
    return {"ours_per_s": LOOKUPS / ours_s, "plain_per_s": LOOKUPS / plain_s, "ratio": plain_s / ours_s}


def changes_bytes(centre: CentreStore, revision: int) -> int:
    """Return how many bytes the changes since revision 1 have on the wire, as the centre sends them."""
    key = new_signing_key(Ed25519PrivateKey.generate(), demo=True)

    def read(connection: Connection) -> int:
        told = messages_since(connection, 1)
        assert sum(len(message.memberships) + len(message.tickets) for message in told) >= revision - 1
        return sum(len(encode_changes(for_site(message, SITE_ID), key)) for message in told)

    return asyncio.run(centre.read(read))


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=SUBJECTS)
    parser.add_argument("--tickets", type=int, default=TICKETS)
    options = parser.parse_args()
    keys = [secrets.token_bytes(16) for _ in range(options.subjects)]
    ids = [secrets.token_bytes(16) for _ in range(options.tickets)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        centre = open_store(folder / "centre.db")
        asyncio.run(centre.run(lambda connection: fill(connection, keys, ids)))
        built = folder / "built.sqlite"
        build_s = took(
            lambda: asyncio.run(
                centre.read(
                    lambda sql: build_list(sql, built, POLICY, site_id=SITE_ID, version=9, as_of_s=1 << 31)
                )
            )
        )
        size_bytes = built.stat().st_size
        revision = asyncio.run(centre.run(lambda connection: change(connection, keys, ids)))
        changed = changes_bytes(centre, revision)
        centre.close()
        found = asyncio.run(installed(folder, built, ids))
        copy = folder / "copy"
        shutil.copyfile(built, copy)
        base_s = took(lambda: sha256(copy)) + took(lambda: quick_check(copy)) + took(lambda: flush(copy))
        plain_unpack_s = took(lambda: zlib.decompress(packed_path(built).read_bytes()))
        packed_bytes = packed_path(built).stat().st_size
        lookups = looked_up(built, ids)
    stall_ms = max(found["beside_ms"]) - max(found["idle_ms"])
    print(
        json.dumps(
            {
                "subjects": options.subjects,
                "tickets": options.tickets,
                "size_mb": round(size_bytes / 1e6, 1),
                "packed_mb": round(packed_bytes / 1e6, 1),
                "build_s": round(build_s, 2),
                "unpack_s": round(found["unpack_s"], 2),
                "plain_unpack_s": round(plain_unpack_s, 2),
                "unpacking_ms": summed_up(found["unpacking_ms"]),
                "install_s": round(found["install_s"], 2),
                "hash_check_fsync_s": round(base_s, 2),
                "install_ratio": round(found["install_s"] / base_s, 2),
                "beside_ms": summed_up(found["beside_ms"]),
                "idle_ms": summed_up(found["idle_ms"]),
                "stall_ms": round(stall_ms, 2),
                "changed_bytes": changed,
                "changed_share": round(changed / size_bytes, 4),
                "lookups_per_s": {key: round(value) for key, value in lookups.items() if key != "ratio"},
                "lookup_ratio": round(lookups["ratio"], 2),
                "bars": _BARS,
            }
        )
    )


if __name__ == "__main__":
    main()
