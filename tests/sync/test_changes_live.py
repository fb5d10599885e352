"""Refunds, new tickets and withdrawn keys on their way from the real centre through a real broker to a scanning box."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from admission.codes import CodeBook, IssuerKey, KeyUse, Rejected, Validity, issue_ticket_code, parse
from admission.decision import decide
from admission.facts import Attempt
from admission.reasons import Reason
from admission.tickets import Outcome
from central.keys import CentreKeys, create_keys
from config.policy_file import load_policy
from offline_cache.capacity import CapacityMemory
from offline_cache.journal import Outbox
from offline_cache.neighbours import Neighbours
from offline_cache.proved_time import ProvedTime
from sync.capacity import CapacityFeed
from sync.centre_link import BoxIdentity, CentreLink, Feeds
from sync.changes import ChangeFeed
from sync.downlink import Downlink
from sync.fetch import Fetcher
from sync.introductions import Introductions
from sync.mqtt import Broker
from sync.protocol import BoxTopics, Health, SiteBoxes
from sync.time_repairs import TimeRepairs
from tests.central.programs import Centre, Mosquitto, free_port
from tests.central.test_settings import POLICY_FILE
from tests.central.world import Box
from tests.offline_cache.listed_rows import Memory, opened_memory
from tests.support.secured import secured, tls_settings
from tests.sync.listening import running, until

pytestmark = pytest.mark.e2e
PRODUCT = {"code": "DAY", "name_zh": "日票", "name_en": "Day ticket", "site_ids": ["fairy"]}
SALE = {"product": "DAY", "valid_from": "2026-06-20", "valid_until": "2036-06-21", "quantity": 9}
POLICY = load_policy(POLICY_FILE)
SELDOM = "[list_pace]\nquiet_ms = 600000\nat_most_ms = 600000\nuses_every_ms = 600000\n"
"""No list comes within a test: whatever the box learns, it learns from changes."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A centre that builds no further list, and a box with its first one, connected and scanning."""

    centre: Centre
    keys: CentreKeys
    memory: Memory

    async def post(self, path: str, body: Any) -> Any:
        """Have a back office say something to the centre."""
        return await asyncio.to_thread(self.centre.post, path, body)

    async def sell(self) -> dict[str, Any]:
        """Sell a ticket."""
        sold: dict[str, Any] = (await self.post("/v1/tickets", SALE))["tickets"][0]
        return sold

    async def show(self, code: str) -> Reason:
        """Present a code, let whoever is admitted pass, and return the reason."""
        issuer = self.keys.issuer.public
        book = CodeBook(
            {issuer.key_id: IssuerKey(issuer.key_id, issuer.key, frozenset(KeyUse))}, (), bytes(32)
        )
        credential = parse(code.encode(), book)
        assert not isinstance(credential, Rejected)
        at_ms = time.time_ns() // 1_000_000
        answer = await self.memory.store.answer(
            Attempt(credential, "1", at_ms, 0, "test"), lambda facts: decide(credential, facts, POLICY, at_ms)
        )
        if answer.admission_id:
            await self.memory.store.close_admission(answer.admission_id, Outcome.PASSED, at_ms)
        return answer.decision.reason

    async def until_shown(self, code: str, reason: Reason) -> float:
        """Present a code again and again until this is the reason; return how many seconds that took."""
        began_s = time.monotonic()

        async def is_so() -> bool:
            return await self.show(code) is reason

        await until(is_so)
        return time.monotonic() - began_s


@asynccontextmanager
async def linked(memory: Memory, port: int, url: str, box: Box, keys: CentreKeys) -> AsyncIterator[None]:
    """Have the box talk to the centre."""

    async def health() -> Health:
        return Health(list_version=0, list_age_s=0, backlog=0, lanes={}, problems=[])

    public, fetcher = keys.lists.public, Fetcher(url)

    def find_key(key_id: bytes) -> Any:
        return public.key if key_id == public.key_id else None

    async def nobody(_: SiteBoxes) -> None:
        """No neighbours here."""

    link = CentreLink(
        secured(Broker(host="127.0.0.1", port=port, client_id=box.box_id), f"{box.site_id}/{box.box_id}"),
        BoxIdentity(BoxTopics(box.site_id, box.box_id), box.key, "session"),
        Outbox(memory.database),
        Feeds(
            Downlink(memory.shelf, fetcher.fetch, box.site_id, find_key, lambda: 0.0),
            ChangeFeed(memory.overlay, fetcher.get, box.site_id, find_key, lambda: 0.0),
            CapacityFeed(CapacityMemory(memory.database, box.box_id), box.topics, find_key, lambda: 0),
            Introductions(Neighbours(memory.database), box.site_id, find_key, nobody),
            TimeRepairs(ProvedTime(memory.database), box.site_id, find_key, lambda: 0, lambda _: None),
        ),
        health,
        lambda: time.time_ns() // 1_000_000,
        lambda: 0.0,
    )
    async with running(link.run):
        yield


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Start it all; everything is stopped in the end."""
    keys = create_keys(tmp_path / "keys", demo=False)
    broker, box, http_port = Mosquitto(tmp_path), Box(), free_port()
    text = (
        'store = "centre.db"\nlists = "lists"\nkeys = "keys"\n'
        f'policy = "{POLICY_FILE}"\n[http]\nport = {http_port}\n'
        f'[broker]\nhost = "127.0.0.1"\nport = {broker.port}\nclient_id = "centre"\n{tls_settings("central")}'
    )
    settings = tmp_path / "centre.toml"
    centre = Centre(settings)
    await asyncio.to_thread(broker.start)
    try:
        await asyncio.to_thread(settings.write_text, text)
        await asyncio.to_thread(centre.start)
        row = {"box_id": box.box_id, "site_id": box.site_id, "public_key": box.public_text}
        await asyncio.to_thread(centre.post, "/v1/imports/boxes", [row])
        await asyncio.to_thread(centre.post, "/v1/imports/products", [PRODUCT])
        async with (
            opened_memory(tmp_path / "box") as memory,
            linked(memory, broker.port, f"http://127.0.0.1:{http_port}", box, keys),
        ):

            async def is_listed() -> bool:
                return memory.shelf.info is not None

            await until(is_listed)
            await asyncio.to_thread(centre.stop)
            await asyncio.to_thread(settings.write_text, text + SELDOM)
            await asyncio.to_thread(centre.start)
            yield Scene(centre, keys, memory)
    finally:
        if centre.process is not None and centre.process.poll() is None:
            await asyncio.to_thread(centre.stop)
        broker.kill()


async def test_a_refund_flips_the_next_decision(scene: Scene) -> None:
    """A new ticket is known within a moment, and so is its refund, while the box goes on scanning."""
    sold = await scene.sell()

    async def is_known() -> bool:
        rows = await scene.memory.count("changed_tickets")
        return rows == 1

    await until(is_known)
    assert await scene.show(sold["code"]) is Reason.TICKET
    refund = {"code": sold["ticket_id"], "refunded": 9}
    await scene.post("/v1/imports/refunds", [refund])
    assert await scene.until_shown(sold["code"], Reason.REFUNDED) < 5
    assert await scene.show(sold["code"]) is Reason.REFUNDED


async def test_a_withdrawn_key_refers_what_no_list_knows(scene: Scene) -> None:
    """A ticket that the box has heard of still admits."""
    sold = await scene.sell()
    now_s = int(time.time())
    forged = issue_ticket_code(bytes(12), "DAY", Validity(0, 1 << 39, now_s + 3600), scene.keys.issuer)
    assert await scene.show(forged) is Reason.UNLISTED_TICKET
    other = issue_ticket_code(bytes(13), "DAY", Validity(0, 1 << 39, now_s + 3600), scene.keys.issuer)
    await scene.post(f"/v1/keys/{scene.keys.issuer.key_id.hex()}/withdraw", {})
    await scene.until_shown(other, Reason.KEY_WITHDRAWN)
    assert await scene.show(sold["code"]) is Reason.TICKET
