"""The signed lists: what they hold, and when they are built."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, update

from admission.policy import Policy
from admission.tickets import Basis, Outcome
from central.ingest import ingest
from central.lists import build_list
from central.pace import ListPace, Pending
from central.publishing import Publisher
from central.reconcile import fold
from central.schema import credit_lines, fold_positions, lists, memberships, tickets
from central.store import Store
from central.time_repairs import repair_time
from sync.protocol import LIST_FORMAT, PACKED, ListManifest, Stream, decode_manifest, manifest_topic
from tests.central.conftest import Client, World
from tests.central.world import KEYS, NOW_MS, POLICY, Box, add_ticket, admitted, closed, register

NOW_S = NOW_MS // 1000
USED, EXPIRED, LONG_EXPIRED, SUBJECT = (letter * 16 for letter in (b"u", b"e", b"l", b"s"))
DAY_S = 86400


def populate(connection: Connection) -> None:
    """Three tickets, one subject, and a box that used their rights."""
    box = Box()
    register(connection, box)
    for key, until_s in ((USED, NOW_S + 1), (EXPIRED, NOW_S - DAY_S), (LONG_EXPIRED, NOW_S - 3 * DAY_S)):
        add_ticket(connection, key, quantity=2)
        connection.execute(update(tickets).where(tickets.c.key == key).values(valid_until_s=until_s))
    member = {"key": SUBJECT, "group_id": "good", "from_s": 0, "until_s": NOW_S + 1, "revision": 1}
    connection.execute(insert(memberships), [member, {**member, "group_id": "gone", "until_s": NOW_S}])
    line = {"key": SUBJECT, "limit_fen": 20000, "per_visit_fen": 9000, "until_s": NOW_S + 1, "revision": 1}
    connection.execute(insert(credit_lines), line)
    box.append(admitted(1, USED))
    box.append(admitted(2, USED))
    box.append(closed(2, Outcome.ABANDONED))
    box.append(admitted(3, SUBJECT, Basis.FREE_VISIT, scope="first@fairy"))
    box.append(admitted(4, SUBJECT, Basis.CREDIT_LINE, fare_fen=5000))
    ingest(connection, box.topics.up(Stream.LEDGER), box.batch(), NOW_MS)
    fold(connection, POLICY)


def read(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All tables of a list."""
    with closing(sqlite3.connect(path)) as opened:
        names = [name for (name,) in opened.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: list(opened.execute(f"SELECT * FROM {name}")) for name in names}  # noqa: S608


async def build(store: Store, path: Path) -> Any:
    """Build a list of the first site."""
    return await store.read(
        lambda connection: build_list(connection, path, POLICY, site_id="fairy", version=7, as_of_s=NOW_S)
    )


async def test_list_holds_rights_and_counters(store: Store, tmp_path: Path) -> None:
    """Counters are of held uses, and the watermarks say up to where."""
    await store.run(populate)
    await build(store, tmp_path / "list.sqlite")
    assert read(tmp_path / "list.sqlite") == {
        "meta": [("as_of_s", NOW_S), ("revision", 0), ("site_id", "fairy"), ("version", 7)],
        "watermarks": [("fairy-1", 5)],
        "products": [("DAY", "日票", "Day", "[]", "")],
        "ticket_counters": [],
        "tickets": [
            (EXPIRED, "DAY", 2, 0, 0, 0, NOW_S - DAY_S, "valid", 1),
            (USED, "DAY", 2, 0, 1, 0, NOW_S + 1, "valid", 1),
        ],
        "memberships": [(SUBJECT, "good", 0, NOW_S + 1)],
        "free_visits": [(SUBJECT, "first@fairy", 1)],
        "credit_lines": [(SUBJECT, 20000, 9000, 5000, NOW_S + 1, 1)],
        "withdrawn_keys": [],
        "documents": [],
        "credit_orders": [],
        "clearances": [],
        "policy": [("",)],
    }


async def test_list_is_the_file_that_was_promised(store: Store, tmp_path: Path) -> None:
    """Format and page size are what boxes expect, and the hash is the file's."""
    await store.run(populate)
    path = tmp_path / "list.sqlite"
    built = await build(store, path)
    data = path.read_bytes()
    assert (built.sha256, built.size_bytes) == (hashlib.sha256(data).digest(), len(data))
    with closing(sqlite3.connect(path)) as opened:
        assert opened.execute("PRAGMA user_version").fetchone() == (LIST_FORMAT,)
        assert opened.execute("PRAGMA page_size").fetchone() == (4096,)
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_same_rights_give_the_same_bytes(store: Store, tmp_path: Path) -> None:
    """Two builds of one state have one hash."""
    await store.run(populate)
    first = await build(store, tmp_path / "a.sqlite")
    assert (await build(store, tmp_path / "b.sqlite")).sha256 == first.sha256


@pytest.mark.parametrize(
    ("notes", "due_ms"),
    [
        ([], None),
        ([("rights", 1000)], 1300),
        ([("rights", 1000), ("rights", 1200)], 1500),
        ([("rights", 1000 + 200 * step) for step in range(20)], 3000),
        ([("uses", 1000)], 30_000),
        ([("uses", 1000), ("rights", 2000)], 2300),
        ([("rights", 1000), ("begin", 1300)], None),
        ([("begin", 5000), ("uses", 6000)], 35_000),
        ([("begin", 1000), ("rights", 2000), ("end", 3000)], 43_000),
        ([("begin", 1000), ("end", 1010), ("rights", 2000)], 2300),
        ([("begin", 1000), ("end", 3000)], None),
    ],
)
def test_list_is_due(notes: list[tuple[str, int]], due_ms: int | None) -> None:
    """Soon after the rights are quiet, in time while they are not, seldom for uses, and later after a long one."""
    pending = Pending(ListPace(), begun_ms=0)
    for what, at_ms in notes:
        match what:
            case "rights":
                pending.rights_changed(at_ms)
            case "uses":
                pending.uses_folded()
            case "begin":
                pending.begin(at_ms)
            case _:
                pending.end(at_ms)
    assert pending.due_ms() == due_ms


@dataclass(slots=True)
class Desk:
    """A running publisher and what it published."""

    publisher: Publisher
    folder: Path
    published: list[ListManifest] = field(default_factory=list)

    async def until(self, condition: Callable[[Desk], bool]) -> None:
        """Wait until `condition` holds."""
        async with asyncio.timeout(10):
            while not condition(self):
                await asyncio.sleep(0.005)

    @property
    def files(self) -> list[str]:
        """The lists on the disk."""
        return sorted(path.name for path in self.folder.iterdir())


@asynccontextmanager
async def running(
    store: Store,
    folder: Path,
    pace: ListPace,
    policy: Policy = POLICY,
    now_ms: Callable[[], int] = lambda: NOW_MS,
) -> AsyncIterator[Desk]:
    """A publisher at work."""

    def publish(topic: str, payload: bytes, *, retain: bool = False) -> bool:
        manifest = decode_manifest(payload, lambda _: KEYS.lists.public.key)
        assert (topic, retain) == (manifest_topic(manifest.site_id), True)
        desk.published.append(manifest)
        return True

    publisher = Publisher(store, folder, KEYS.lists, policy, pace, now_ms, publish)
    desk = Desk(publisher, folder)
    task = asyncio.create_task(publisher.run())
    try:
        yield desk
    finally:
        task.cancel()
        await asyncio.wait((task,))


EAGER = ListPace(quiet_ms=1, at_most_ms=1, uses_every_ms=1, rest_times=0)


async def test_first_list_is_built_at_start(store: Store, tmp_path: Path) -> None:
    """A site with a box has a list as soon as the centre runs, and its manifest names the file."""
    await store.run(populate)
    async with running(store, tmp_path / "lists", ListPace()) as desk:
        await desk.until(lambda desk: bool(desk.published))
    manifest = desk.published[0]
    data = (desk.folder / f"fairy-{manifest.version}.sqlite").read_bytes()
    assert (manifest.site_id, manifest.as_of_s, manifest.format) == ("fairy", NOW_S, LIST_FORMAT)
    assert (manifest.sha256, manifest.size_bytes) == (hashlib.sha256(data).digest(), len(data))
    assert manifest.path == f"/v1/lists/fairy/{manifest.version}"


async def test_a_list_that_was_begun_by_a_wrong_clock_is_not_published(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is repaired while it is built: it has reached the repair's number, and boxes would believe its time."""
    await store.run(populate)
    loop, times_ms = asyncio.get_running_loop(), [NOW_MS, NOW_MS + 10 * 365 * DAY_S * 1000]

    def build_while_repaired(*arguments: Any, **options: Any) -> Any:
        if len(times_ms) > 1:
            times_ms.pop()
            repairing = store.run(lambda connection: repair_time(connection, NOW_MS))
            asyncio.run_coroutine_threadsafe(repairing, loop).result(10)
        return build_list(*arguments, **options)

    monkeypatch.setattr("central.publishing.build_list", build_while_repaired)
    async with running(store, tmp_path / "lists", ListPace(), now_ms=lambda: times_ms[-1]) as desk:
        await desk.until(lambda desk: bool(desk.published))
    assert [manifest.as_of_s for manifest in desk.published] == [NOW_S]
    assert desk.files == [f"fairy-{desk.published[0].version}.sqlite{ending}" for ending in ("", PACKED)]


async def test_restart_with_nothing_new_builds_nothing(store: Store, tmp_path: Path) -> None:
    """A list that holds everything is published again, not built again."""
    await store.run(populate)
    versions = []
    for _ in range(2):
        async with running(store, tmp_path / "lists", ListPace()) as desk:
            desk.publisher.link_is_up()
            await desk.until(lambda desk: bool(desk.published))
            versions.append(desk.published[-1].version)
    assert versions[0] == versions[1]


async def test_restart_with_another_policy_sends_it_with_a_new_list(store: Store, tmp_path: Path) -> None:
    """The list carries the document word for word; the same policy again builds nothing."""
    await store.run(populate)
    versions = []
    for document in ("one", "two", "two"):
        policy = replace(POLICY, document=document)
        async with running(store, tmp_path / "lists", ListPace(), policy) as desk:
            desk.publisher.link_is_up()
            await desk.until(lambda desk: bool(desk.published))
            versions.append(desk.published[-1].version)
        with closing(sqlite3.connect(tmp_path / "lists" / f"fairy-{versions[-1]}.sqlite")) as sql:
            assert sql.execute("SELECT document FROM policy").fetchall() == [(document,)]
    assert versions[0] < versions[1] == versions[2]


async def test_missing_file_is_built_again(store: Store, tmp_path: Path) -> None:
    """A list whose file is gone is no list."""
    await store.run(populate)
    versions = []
    for _ in range(2):
        async with running(store, tmp_path / "lists", ListPace()) as desk:
            await desk.until(lambda desk: bool(desk.published))
            versions.append(desk.published[-1].version)
        (desk.folder / f"fairy-{versions[-1]}.sqlite").unlink()
    assert versions[0] < versions[1]


async def test_changes_lead_to_higher_versions_and_old_files_go(store: Store, tmp_path: Path) -> None:
    """Every change leads to a list; the last three files stay."""
    await store.run(populate)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "fairy-1.part").touch()
    (tmp_path / "lists" / "notes.txt").touch()
    async with running(store, tmp_path / "lists", EAGER) as desk:
        for count in range(1, 6):
            await desk.until(lambda desk, count=count: len(desk.published) == count)  # type: ignore[misc]
            await store.run(lambda c: c.execute(update(lists).values(revision=lists.c.revision - 1)))
            desk.publisher.rights_changed()
        await desk.until(lambda desk: len(desk.published) == 6 and len(desk.files) == 7)
    versions = [manifest.version for manifest in desk.published]
    assert versions == sorted(set(versions))
    names = [f"fairy-{version}.sqlite{ending}" for version in versions[-3:] for ending in ("", PACKED)]
    assert desk.files == [*names, "notes.txt"]


async def test_folded_uses_lead_to_a_list(store: Store, tmp_path: Path) -> None:
    """Counters come into a list too, when they alone have changed."""
    await store.run(populate)
    async with running(store, tmp_path / "lists", EAGER) as desk:
        await desk.until(lambda desk: len(desk.published) == 1)
        await store.run(lambda c: c.execute(update(fold_positions).values(seq_no=9)))
        desk.publisher.uses_folded()
        await desk.until(lambda desk: len(desk.published) == 2)
    watermarks = read(desk.folder / f"fairy-{desk.published[1].version}.sqlite")["watermarks"]
    assert watermarks == [("fairy-1", 9)]


async def test_manifest_is_published_when_the_link_comes_up(store: Store, tmp_path: Path) -> None:
    """A broker that forgot what it retained is told again."""
    await store.run(populate)
    async with running(store, tmp_path / "lists", ListPace()) as desk:
        await desk.until(lambda desk: len(desk.published) == 1)
        desk.publisher.link_is_up()
        await desk.until(lambda desk: len(desk.published) == 2)
    assert desk.published[0] == desk.published[1]


async def test_list_is_served_in_ranges(client: Client, world: World) -> None:
    """A box goes on with a download where it broke off."""
    store, folder = world.centre.store, world.centre.lists
    await store.run(populate)
    async with running(store, folder, ListPace()) as desk:
        await desk.until(lambda desk: bool(desk.published))
    path = desk.published[0].path
    whole = await (await client.get(path)).read()
    response = await client.get(path, headers={"Range": "bytes=4096-"})
    assert (response.status, await response.read()) == (206, whole[4096:])
    assert hashlib.sha256(whole).digest() == desk.published[0].sha256
    assert (await client.get("/v1/lists/fairy/1")).status == 404


async def test_a_packed_list_is_the_same_file(store: Store, tmp_path: Path) -> None:
    """And the manifest says how large it is."""
    await store.run(populate)
    async with running(store, tmp_path / "lists", ListPace()) as desk:
        await desk.until(lambda desk: bool(desk.published))
    plain, packed = (desk.folder / name for name in desk.files)
    assert zlib.decompress(packed.read_bytes()) == plain.read_bytes()
    assert desk.published[-1].packed_bytes == packed.stat().st_size < plain.stat().st_size
