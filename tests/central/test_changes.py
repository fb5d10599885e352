"""What the centre tells of changes: every row once in the row of ranges, what is urgent ahead of what is much."""

from __future__ import annotations

import pytest

from admission.changes import ListChanges, MembershipRow, WithdrawnKeyRow
from admission.codes import subject_key
from central import changes
from central.changes import messages_since
from central.rights import current_revision, next_revisions, raise_floor
from central.store import Store
from sync.protocol import CHANGES_PER_MESSAGE, decode_changes
from tests.central.conftest import Client, World
from tests.central.world import KEYS, NOW_MS

PRODUCT = {"code": "DAY", "name_zh": "日票", "name_en": "Day ticket", "site_ids": ["fairy"]}
SALE = {"product": "DAY", "valid_from": "2026-06-20", "valid_until": "2036-06-21"}
JSON = {"Content-Type": "application/json"}


async def sell(client: Client, count: int) -> list[dict[str, str]]:
    """Sell tickets of a product, which is made known first."""
    await client.post("/v1/imports/products", json=[PRODUCT])
    response = await client.post("/v1/tickets", json={**SALE, "count": count})
    tickets: list[dict[str, str]] = (await response.json())["tickets"]
    return tickets


async def told(world: World, since: int = 0) -> tuple[ListChanges, ...]:
    """What is told after a revision."""
    return await world.centre.store.read(lambda connection: messages_since(connection, since))


async def page(client: Client, since: int) -> ListChanges:
    """What the centre answers to a box that asks."""
    response = await client.get(f"/v1/lists/fairy/changes?since={since}")
    key = KEYS.lists.public
    return decode_changes(await response.read(), lambda key_id: key.key if key_id == key.key_id else None)


async def test_every_row_has_a_revision_of_its_own(world: World, client: Client) -> None:
    """So a range of revisions names its rows exactly."""
    await sell(client, 3)
    (message,) = await told(world)
    revisions = [row.revision for row in message.rows]
    assert len(set(revisions)) == 4
    assert message.to_revision == max(revisions)


async def test_ranges_follow_each_other_behind_what_is_urgent(world: World, client: Client) -> None:
    """Of many changes the refund goes first, outside the row of ranges, and once more in its place."""
    sold = await sell(client, CHANGES_PER_MESSAGE + 1)
    refund = {"code": sold[0]["ticket_id"], "refunded": 1}
    await client.post("/v1/imports/refunds", json=[refund])
    ahead, *ranges = await told(world)
    assert (ahead.from_revision, ahead.to_revision) == (0, 0)
    assert [row.refunded for row in ahead.tickets] == [1]
    assert [message.from_revision for message in ranges[1:]] == [
        message.to_revision for message in ranges[:-1]
    ]
    assert ranges[-1].to_revision == await world.centre.store.read(current_revision)
    assert sum(len(message.rows) for message in ranges) == len(sold) + 1


async def test_of_too_much_only_the_urgent_is_told(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gap that this leaves sends boxes to the next list; one that asks is told so."""
    monkeypatch.setattr(changes, "MOST_ROWS", 2)
    sold = await sell(client, 5)
    await client.post("/v1/imports/refunds", json=[{"code": sold[0]["ticket_id"], "refunded": 1}])
    (ahead,) = await told(world)
    assert len(ahead.rows) == 1
    response = await client.get("/v1/lists/fairy/changes?since=0")
    assert (response.status, (await response.json())["error"]["code"]) == (410, "too_far_behind")


async def test_pages_end_with_the_moment_they_hold_for(client: Client) -> None:
    """Until then there is more to fetch; a revision that the centre does not have yet is answered with nothing."""
    await sell(client, CHANGES_PER_MESSAGE + 1)
    first = await page(client, 0)
    last = await page(client, first.to_revision)
    assert (len(first.rows), first.as_of_s) == (CHANGES_PER_MESSAGE, 0)
    assert (len(last.rows), last.as_of_s) == (2, NOW_MS // 1000)
    beyond = await page(client, last.to_revision + 9)
    assert (beyond.rows, beyond.to_revision) == ((), last.to_revision + 9)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/lists/nowhere/changes?since=0", 404),
        ("/v1/lists/fairy/changes", 422),
        ("/v1/lists/fairy/changes?since=-1", 422),
    ],
)
async def test_a_question_that_cannot_be_answered(client: Client, path: str, status: int) -> None:
    """An unknown site, or no revision."""
    assert (await client.get(path)).status == status


async def test_a_key_is_withdrawn_once(world: World, client: Client) -> None:
    """Again changes nothing; what is no key id is not found."""
    answers = [
        await (await client.post("/v1/keys/0a0b/withdraw", data="{}", headers=JSON)).json() for _ in range(2)
    ]
    assert answers == [{"key_id": "0a0b", "withdrawn_s": NOW_MS // 1000}] * 2
    (message,) = await told(world)
    assert [row.key_id for row in message.rows if isinstance(row, WithdrawnKeyRow)] == [b"\x0a\x0b"]
    assert (await client.post("/v1/keys/xyz/withdraw", data="{}", headers=JSON)).status == 404


async def test_a_member_is_removed(world: World, client: Client) -> None:
    """The row stays and covers no time, so that every box hears of it; nobody is removed who was not there."""
    member = {"subject": "anna", "group": "good"}
    times = {"valid_from": "2026-01-01", "valid_until": "2026-12-31"}
    assert (await client.post("/v1/imports/group-removals", json=[member])).status == 422
    await client.post("/v1/imports/groups", json=[{**member, **times}])
    assert (await client.post("/v1/imports/group-removals", json=[member])).status == 200
    (message,) = await told(world)
    assert message.memberships == (MembershipRow(message.to_revision, subject_key("anna"), "good", 0, 0),)


async def test_a_restored_store_gives_no_revision_twice(store: Store) -> None:
    """Every start raises the next revision to the time, which a backup cannot take back."""
    await store.run(lambda connection: raise_floor(connection, 1000))
    assert await store.run(lambda connection: next_revisions(connection, 2)) == range(1000, 1002)
    assert await store.run(lambda connection: next_revisions(connection, 1)) == range(1002, 1003)
