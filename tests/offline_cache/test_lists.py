"""Full lists: believed only as promised, and never replaced by an older one."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from admission.facts import ListInfo
from admission.tickets import TicketStatus
from offline_cache.lists import ListFile, ListRejectedError, ListShelf
from tests.admission.makers import (
    BOX,
    DAY_TICKET,
    ELSEWHERE,
    KEY,
    LIST,
    MEMBER,
    SITE,
    line,
    subject,
    ticket,
)
from tests.offline_cache.box import Box, opened_box
from tests.offline_cache.list_files import build_list


def list_names(folder: Path) -> list[str]:
    """The list files in a box's folder."""
    return sorted(path.name for path in (folder / "lists").glob("*.list"))


async def test_a_list_is_put_in_use(box: Box, tmp_path: Path) -> None:
    """At once, and the part is gone."""
    assert (box.lists.info, box.lists.version) == (None, 0)
    await box.install(7)
    assert (box.lists.info, box.lists.version) == (LIST, 7)
    assert len(list_names(tmp_path)) == 1
    assert not box.lists.new_part().exists()


async def test_a_newer_list_replaces_the_one_in_use(box: Box, tmp_path: Path) -> None:
    """The old file is removed."""
    await box.install(7, tickets={KEY: ticket()})
    await box.install(8)
    assert box.lists.version == 8
    assert box.lists.in_use is not None
    assert await box.database.read(lambda _: box.lists.in_use and box.lists.in_use.ticket(KEY)) is None
    assert [name.split("-")[0] for name in list_names(tmp_path)] == ["8"]


@pytest.mark.parametrize("version", [7, 6, 0])
async def test_an_older_list_is_refused(box: Box, version: int) -> None:
    """A replayed manifest brings nothing back."""
    await box.install(7)
    with pytest.raises(ListRejectedError, match="not newer"):
        await box.install(version)
    assert box.lists.version == 7


async def test_a_list_with_another_content_is_refused(box: Box, tmp_path: Path) -> None:
    """The one in use stays, also over a restart."""
    await box.install(7)
    part = box.lists.new_part()
    promised = build_list(part, version=8)
    part.write_bytes(part.read_bytes() + b"\0")
    with pytest.raises(ListRejectedError, match="another content"):
        await box.lists.install(part, 8, promised)
    assert (box.lists.version, box.lists.problem) == (7, "")
    assert len(list_names(tmp_path)) == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"site_id": "bridges"}, "for site bridges"),
        ({"version": 9}, "version 9, not 8"),
        ({"format_": 2}, "format is 2, not 1"),
    ],
)
async def test_a_list_that_is_not_what_its_manifest_says_is_refused(
    box: Box, tmp_path: Path, content: dict[str, object], why: str
) -> None:
    """Although its hash is right; nothing of it is kept."""
    await box.install(7)
    part = box.lists.new_part()
    arguments: dict[str, object] = {"version": 8} | content
    digest = build_list(part, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ListRejectedError, match=why):
        await box.lists.install(part, 8, digest)
    assert box.lists.version == 7
    assert len(list_names(tmp_path)) == 1


@pytest.mark.parametrize("content", [b"", b"not a list" * 500], ids=["empty", "garbage"])
async def test_a_file_that_is_no_list_is_refused(box: Box, content: bytes) -> None:
    """Whatever its hash."""
    part = box.lists.new_part()
    part.write_bytes(content)
    with pytest.raises(ListRejectedError):
        await box.lists.install(part, 8, hashlib.sha256(content).digest())
    assert box.lists.info is None


async def test_a_part_that_is_not_there_is_refused(box: Box) -> None:
    """By name."""
    with pytest.raises(ListRejectedError, match="cannot be read"):
        await box.lists.install(box.lists.new_part(), 8, bytes(32))


async def test_the_list_in_use_is_found_after_a_restart(tmp_path: Path) -> None:
    """The file was kept, and the box's database knows which it was."""
    async with opened_box(tmp_path) as box:
        await box.install(7)
    async with opened_box(tmp_path) as box:
        assert (box.lists.info, box.lists.problem) == (LIST, "")


@pytest.mark.parametrize("damage", [b"\xa5" * 100, None], ids=["altered", "missing"])
async def test_a_damaged_list_is_left_out_until_it_is_sent_again(
    tmp_path: Path, damage: bytes | None
) -> None:
    """The problem is shown, an older list is still kept out, and the same version repairs it."""
    async with opened_box(tmp_path) as box:
        await box.install(7)
    (kept,) = (tmp_path / "lists").glob("*.list")
    if damage is None:
        kept.unlink()
    else:
        kept.write_bytes(kept.read_bytes()[:-100] + damage)
    async with opened_box(tmp_path) as box:
        assert box.lists.info is None
        assert kept.name in box.lists.problem
        with pytest.raises(ListRejectedError, match="not newer"):
            await box.install(6)
        await box.install(7)
        assert (box.lists.version, box.lists.problem) == (7, "")


async def test_a_box_that_moved_to_another_site_begins_anew(tmp_path: Path) -> None:
    """Versions are counted per site: the old site's list is neither used nor a bar to the new one's."""
    async with opened_box(tmp_path) as box:
        await box.install(7)
        moved = ListShelf(tmp_path / "lists", "bridges", box.database)
        await moved.load()
        assert (moved.info, moved.problem) == (None, "")
        digest = build_list(moved.new_part(), version=1, site_id="bridges")
        await moved.install(moved.new_part(), 1, digest)
        assert moved.version == 1
        await moved.close()


async def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    """Also one that means something in an address."""
    async with opened_box(tmp_path / "a?b#c%20 景区") as box:
        await box.install(7)
        assert box.lists.version == 7


def test_a_list_file_answers_with_values_of_the_core(tmp_path: Path) -> None:
    """Tickets, products, subjects and watermarks as they were written; None or nothing for what it does not hold."""
    rights = subject(memberships=MEMBER, free_visits_used={"first@fairy": 2}, credit_line=line())
    build_list(
        tmp_path / "list",
        watermarks={BOX: 12},
        products=(DAY_TICKET, ELSEWHERE),
        tickets={KEY: ticket(refunded=1)},
        subjects={KEY: rights},
    )
    file = ListFile(tmp_path / "list")
    assert (file.site_id, file.info, file.watermarks) == (
        SITE,
        ListInfo(LIST.version, LIST.as_of_s),
        {BOX: 12},
    )
    assert (file.ticket(KEY), file.ticket(bytes(16))) == (ticket(refunded=1), None)
    assert (file.product("DAY2"), file.product("NONE")) == (ELSEWHERE, None)
    assert (file.subject(KEY), file.subject(bytes(16))) == (rights, subject())
    file.close()


async def test_a_status_of_a_later_release_blocks_the_ticket(tmp_path: Path) -> None:
    """Staff can look the ticket up; a word the box does not know yet must not stop the lane."""
    path = tmp_path / "new.list"
    build_list(path, tickets={KEY: ticket()})
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("UPDATE tickets SET status = 'suspended'")
        sql.commit()
    opened = ListFile(path)
    found = opened.ticket(KEY)
    assert found is not None
    assert found.status is TicketStatus.BLOCKED
    opened.close()
